"""Counters that only grow, turned into rates. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Counters", "ratio"]


@dataclass(slots=True)
class Counters:
    """Remembers the last totals and tells how much each grew.

    >>> c = Counters()
    >>> c.growth(10.0, {"out": 100.0})
    (0.0, {})
    >>> c.growth(12.0, {"out": 150.0})
    (2.0, {'out': 50.0})
    >>> c.growth(13.0, {"out": 7.0})  # the counter was reset: nothing is known
    (1.0, {})
    """

    _at: float = 0.0
    _totals: Mapping[str, float] = field(default_factory=dict)

    def growth(self, at: float, totals: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """Seconds since the last totals and the growth of each counter that did not go back."""
        before, elapsed = self._totals, at - self._at
        self._at, self._totals = at, dict(totals)
        if not before or elapsed <= 0:
            return 0.0, {}
        grown = {k: v - before[k] for k, v in totals.items() if k in before and v >= before[k]}
        return elapsed, grown

    def forget(self) -> None:
        """Drop the last totals: the next growth is unknown."""
        self._totals = {}


def ratio(part: float | None, whole: float | None) -> float | None:
    """``part / whole``; ``None`` where either is unknown or the whole is nothing.

    >>> ratio(1.0, 4.0), ratio(1.0, 0.0), ratio(None, 4.0)
    (0.25, None, None)
    """
    return part / whole if part is not None and whole else None
