"""Small worlds in which a cause must speak or must hold its tongue.

An :class:`Example` is a calm stretch followed by a stretch of trouble, written as plain values;
``readings`` turns it into what sources would have reported, one reading a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from premortem.model import Metric, Reading

__all__ = ["Example", "Level", "metrics_of"]

Level = float | tuple[float, float]
"""A value, or where it starts and ends. An ``int`` is exact (a limit, a clamped count)."""


@dataclass(frozen=True, slots=True)
class Example:
    """A described world: ``calm`` and ``trouble`` hold one value (or a from-to pair) a metric.

    A metric absent from both is missing evidence; one named in ``gone`` stops being reported
    when the trouble starts. ``errors`` are what sources failed with during the trouble, as
    (source, error) pairs, once a second. Whole numbers written as ``int`` are exact, ``float``
    values jitter by ``noise``.
    """

    world: str
    calm: Mapping[str, float]
    trouble: Mapping[str, Level] = field(default_factory=dict)
    errors: tuple[tuple[str, str], ...] = ()
    rows: Mapping[str, tuple[Mapping[str, object], ...]] = field(default_factory=dict)
    calm_s: int = 40
    trouble_s: int = 12
    noise: float = 0.03
    """Relative jitter of every value: healthy systems are never flat."""
    gone: tuple[str, ...] = ()
    """Metrics (or prefixes such as ``db.``) that are not reported during the trouble."""

    def without(self, *prefixes: str) -> Example:
        """The same world seen without the metrics whose names start with one of ``prefixes``."""
        return replace(
            self,
            calm={n: v for n, v in self.calm.items() if not n.startswith(prefixes)},
            trouble={n: v for n, v in self.trouble.items() if not n.startswith(prefixes)},
        )

    def names(self) -> frozenset[str]:
        """Every metric this world reports at some time."""
        return frozenset(self.calm) | frozenset(self.trouble)

    def readings(
        self, seed: int = 1, start: float = 1_000_000.0
    ) -> Iterator[tuple[float, list[Reading]]]:
        """Yield ``(now, readings)`` once per simulated second, calm first."""
        dice = _dice(seed)
        for second in range(self.calm_s + self.trouble_s):
            values = self._values(second, dice)
            batch = [Reading("example", "site", start + second, values)]
            if second >= self.calm_s:
                batch += [Reading(s, "site", start + second, error=e) for s, e in self.errors]
                batch += [Reading(s, "site", start + second, rows=r) for s, r in self.rows.items()]
            yield start + second, batch

    def _values(self, second: int, dice: Iterator[float]) -> dict[str, float]:
        levels: dict[str, Level] = dict(self.calm)
        share = (second - self.calm_s + 1) / self.trouble_s
        if share > 0:
            levels.update(self.trouble)
            levels = {
                n: v for n, v in levels.items() if not (self.gone and n.startswith(self.gone))
            }
        return {n: _at(v, min(max(share, 0.0), 1.0), self.noise, dice) for n, v in levels.items()}


def _dice(seed: int) -> Iterator[float]:
    """Numbers from -1 to 1, the same for the same seed (Park and Miller 1988, minimal standard)."""
    state = seed % 2147483646 + 1
    while True:
        state = state * 48271 % 2147483647
        yield state / 1073741823.5 - 1


def _at(level: Level, share: float, noise: float, dice: Iterator[float]) -> float:
    low, high = level if isinstance(level, tuple) else (level, level)
    value = low + (high - low) * share
    exact = isinstance(low, int) and isinstance(high, int)
    return value if exact else value * (1 + noise * next(dice))


def metrics_of(examples: Iterable[Example]) -> list[Metric]:
    """Declare every metric the examples name, for a :class:`~premortem.model.History`."""
    names = sorted({name for example in examples for name in example.names()})
    return [Metric(name, "any", "Named in an example.") for name in names]
