"""What happened in the last second, and who asked the same thing twice. Bounded, pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

__all__ = ["Bucket", "Repeats", "Tally"]

BUCKETS_PER_S = 10
"""The second slides in tenths: figures are at most 0.1 s old."""

SAMPLES_MAX = 200
"""Response times kept a tenth of a second: all of them up to 2,000 requests/s."""

REPEAT_WITHIN_S = 5.0
"""The same client asking the same thing again within so long is repeating itself."""

CLIENTS_MAX = 10_000
"""Requests remembered a generation; two generations take about 2 MB."""


@dataclass(slots=True)
class Bucket:
    """Counts of one tenth of a second."""

    number: int = -1
    requests: int = 0
    served: int = 0
    errors: int = 0
    refused: int = 0
    abandoned: int = 0
    repeats: int = 0
    waits: int = 0
    wait_sum_s: float = 0.0
    lag_max_s: float = 0.0
    responses_s: list[float] = field(default_factory=list)
    downstream_s: list[float] = field(default_factory=list)


def _median(samples: list[float]) -> float:
    """The upper median; the statistics module would triple the cost of importing the guard."""
    return sorted(samples)[len(samples) // 2]


class Tally:
    """A ring of buckets that covers the last whole second."""

    def __init__(self) -> None:
        self._ring = [Bucket() for _ in range(BUCKETS_PER_S + 1)]
        self._current = self._ring[0]

    def at(self, now: float) -> Bucket:
        """The bucket in which what happens at ``now`` is counted."""
        number = int(now * BUCKETS_PER_S)
        if self._current.number != number:
            self._current = self._ring[number % len(self._ring)] = Bucket(number)
        return self._current

    def waited(self, now: float, wait_s: float) -> None:
        """A request was admitted, refused or dropped after ``wait_s``."""
        bucket = self.at(now)
        bucket.waits += 1
        bucket.wait_sum_s += wait_s

    def responded(self, now: float, took_s: float) -> None:
        """A request was answered by the application ``took_s`` after it arrived."""
        samples = self.at(now).responses_s
        if len(samples) < SAMPLES_MAX:
            samples.append(took_s)

    def downstream(self, now: float, took_s: float) -> None:
        """A call to another service took ``took_s``."""
        samples = self.at(now).downstream_s
        if len(samples) < SAMPLES_MAX:
            samples.append(took_s)

    def values(self, now: float) -> dict[str, float]:
        """The ``web.*`` metrics of the last second, without those that had nothing to count."""
        newest = int(now * BUCKETS_PER_S)
        past = [b for b in self._ring if newest - BUCKETS_PER_S <= b.number < newest]
        requests = sum(b.requests for b in past)
        ended = sum(b.served + b.errors + b.refused + b.abandoned for b in past)
        waits = sum(b.waits for b in past)
        values = {
            "web.requests_per_s": float(requests),
            "web.served_per_s": float(sum(b.served for b in past)),
            "web.errors_per_s": float(sum(b.errors for b in past)),
            "web.refused_per_s": float(sum(b.refused for b in past)),
            "web.queue_wait_ms": 1000 * sum(b.wait_sum_s for b in past) / max(1, waits),
            "web.loop_lag_ms": 1000 * max((b.lag_max_s for b in past), default=0.0),
            "web.repeat_ratio": sum(b.repeats for b in past) / max(1, requests),
            "web.abandoned_ratio": sum(b.abandoned for b in past) / max(1, ended),
        }
        for name, samples in (
            ("web.response_ms", [s for b in past for s in b.responses_s]),
            ("web.downstream_ms", [s for b in past for s in b.downstream_s]),
        ):
            if samples:
                values[name] = 1000 * _median(samples)
        return values


class Repeats:
    """Remembers who asked what for 5 s, in two generations of bounded size.

    >>> repeats = Repeats()
    >>> repeats.seen("me GET /", 0.0), repeats.seen("me GET /", 4.0), repeats.seen("me GET /", 10.0)
    (False, True, False)
    """

    def __init__(self, clients_max: int = CLIENTS_MAX) -> None:
        self._clients_max = clients_max
        self._young: dict[int, float] = {}
        self._old: dict[int, float] = {}
        self._turned_s = 0.0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def seen(self, what: Hashable, now: float) -> bool:
        """Whether the same was asked within the last 5 s; remembers that it was asked now."""
        if now >= self._turned_s + REPEAT_WITHIN_S or len(self._young) >= self._clients_max:
            self._old, self._young, self._turned_s = self._young, {}, now
        key = hash(what)
        before = self._young.get(key)
        if before is None:
            before = self._old.get(key)
        self._young[key] = now
        return before is not None and now - before <= REPEAT_WITHIN_S
