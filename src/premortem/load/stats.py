"""What a run measured: log-linear histograms, a row a second, and their exact merge.

Counts are integers, so merging what several processes recorded gives to the last digit what one
process would have recorded. Latencies are kept in whole microseconds.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

__all__ = ["Arrived", "Histogram", "Second", "Tally", "merged"]

BITS = 8
"""256 buckets an octave: a bucket is at most 1/256 = 0.4 % wide, its middle 0.2 % off."""
NAMES_MAX = 200
"""Request names kept apart; what comes later is pooled, as a name a product id would be endless."""
OTHER = "(other)"


def bucket(value_us: int) -> int:
    """The bucket of a value: exact up to 511 µs, then 256 buckets an octave.

    >>> bucket(511), bucket(512), bucket(513), bucket(514)
    (511, 512, 512, 513)
    """
    shift = value_us.bit_length() - (BITS + 1)
    return value_us if shift <= 0 else (shift << BITS) + (value_us >> shift)


def middle_us(index: int) -> float:
    """The middle of a bucket, in microseconds: the inverse of :func:`bucket`."""
    shift = (index >> BITS) - 1
    if shift <= 0:
        return float(index)
    low = (index - (shift << BITS)) << shift
    return low + ((1 << shift) - 1) / 2.0


class Histogram:
    """How often each latency was seen. Sparse: a second of traffic touches a few hundred buckets.

    >>> h = Histogram()
    >>> for ms in range(1, 101):
    ...     h.record(ms * 1000)
    >>> round(h.percentile_ms(50)), round(h.percentile_ms(99)), h.total
    (50, 99, 100)
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)

    def record(self, value_us: int) -> None:
        """Count one latency, which must not be negative. Hot: :func:`bucket` without the call."""
        shift = value_us.bit_length() - 9
        self.counts[value_us if shift <= 0 else (shift << 8) + (value_us >> shift)] += 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, other: Histogram) -> None:
        """Take another histogram's counts in: exact."""
        counts = self.counts
        for index, count in other.counts.items():
            counts[index] += count

    def percentile_ms(self, percent: float) -> float:
        """The latency that ``percent`` % of the values do not exceed (nearest rank), in ms.

        Not a number when nothing was recorded.
        """
        total = self.total
        if not total:
            return math.nan
        rank = max(1, math.ceil(total * percent / 100.0))
        for index, seen in self._ascending():
            if seen >= rank:
                return middle_us(index) / 1000.0
        raise AssertionError("the counts add up to the total")

    def mean_ms(self) -> float:
        total = self.total
        summed_us = math.fsum(middle_us(index) * count for index, count in self.counts.items())
        return summed_us / total / 1000.0 if total else math.nan

    def above_ratio(self, limit_ms: float) -> float:
        """The share of values above ``limit_ms``, 0 to 1; 0 when nothing was recorded."""
        total = self.total
        over = sum(n for i, n in self.counts.items() if middle_us(i) > limit_ms * 1000.0)
        return over / total if total else 0.0

    def summary(self) -> dict[str, float | int | None]:
        """The figures people read, in ms; ``None`` where nothing was recorded."""
        if not self.counts:
            return {"count": 0, **dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"))}
        points = {f"p{p}": round(self.percentile_ms(p), 3) for p in (50, 90, 95, 99)}
        return {
            "count": self.total,
            "mean": round(self.mean_ms(), 3),
            **points,
            "p99.9": round(self.percentile_ms(99.9), 3),
            "max": round(self.percentile_ms(100), 3),
        }

    def _ascending(self) -> Iterator[tuple[int, int]]:
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            yield index, seen

    def export(self) -> dict[str, int]:
        """As plain data for another process; :meth:`load` is the inverse."""
        return {str(index): count for index, count in self.counts.items()}

    @classmethod
    def load(cls, data: Mapping[str, int]) -> Histogram:
        new = cls()
        new.counts.update({int(index): count for index, count in data.items()})
        return new

    def values_us(self) -> Iterator[tuple[int, int]]:
        """``(value, count)`` pairs, ascending: what an HdrHistogram wants to be fed."""
        for index in sorted(self.counts):
            yield round(middle_us(index)), self.counts[index]


@dataclass(slots=True)
class Second:
    """What ended in one second of the run; ``offered`` is who arrived in it."""

    second: int
    offered: int = 0
    served: int = 0
    refused: int = 0
    failed: int = 0
    requests_ok: int = 0
    requests_failed: int = 0
    attempts: int = 0
    retries: int = 0
    timeouts: int = 0
    in_flight: int = 0
    """Users on their journey at the end of the second."""
    cpu_ratio: float = 0.0
    """The generator's own processor time ÷ elapsed time."""
    names: defaultdict[str, Histogram] = field(default_factory=partial(defaultdict, Histogram))
    """Response times by request name, from the intended instant to the last byte."""
    response: Histogram = field(default_factory=Histogram)
    """Those of all names together, once the second is over."""

    COUNTS = (
        "offered", "served", "refused", "failed", "requests_ok", "requests_failed",
        "attempts", "retries", "timeouts", "in_flight",
    )  # fmt: skip

    def add(self, other: Second) -> None:
        for name in self.COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cpu_ratio = max(self.cpu_ratio, other.cpu_ratio)
        self.response.add(other.response)

    def line(self) -> dict[str, float | int | None]:
        """The row as it is printed, latencies in ms from the intended instant."""
        some = bool(self.response.counts)
        return {
            "second": self.second,
            **{name: getattr(self, name) for name in self.COUNTS},
            "cpu_ratio": round(self.cpu_ratio, 3),
            "p50_ms": round(self.response.percentile_ms(50), 2) if some else None,
            "p99_ms": round(self.response.percentile_ms(99), 2) if some else None,
        }


@dataclass(slots=True)
class Arrived:
    """What became of the users who arrived in one second."""

    second: int
    offered: int = 0
    served: int = 0
    refused: int = 0
    failed: int = 0
    unfinished: int = 0
    not_started: int = 0

    COUNTS = ("offered", "served", "refused", "failed", "unfinished", "not_started")

    def add(self, other: Arrived) -> None:
        for name in self.COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def line(self) -> dict[str, int]:
        return {"second": self.second, **{name: getattr(self, name) for name in self.COUNTS}}


@dataclass(slots=True)
class Tally:
    """Everything one process recorded."""

    seconds: dict[int, Second] = field(default_factory=dict)
    arrived: dict[int, Arrived] = field(default_factory=dict)
    names: dict[str, Histogram] = field(default_factory=dict)
    """Response times by request name, from the intended instant to the last byte."""
    service: Histogram = field(default_factory=Histogram)
    """From the sending of the last attempt to the last byte."""
    lag: Histogram = field(default_factory=Histogram)
    """From the intended instant to when the generator took it up: the generator's own lateness."""
    wait: Histogram = field(default_factory=Histogram)
    """From taking it up to having a connection, where one had to be waited for."""
    refusals: Histogram = field(default_factory=Histogram)
    errors: Counter[str] = field(default_factory=Counter)
    first_failed_s: float | None = None
    """When the first user failed, in seconds from the start."""

    def at_second(self, second: int) -> Second:
        row = self.seconds.get(second)
        if row is None:
            row = self.seconds[second] = Second(second)
        return row

    def close(self, row: Second) -> None:
        """Keep a second that is over: its response times go to the names and the whole."""
        self.seconds[row.second] = row
        for name, histogram in row.names.items():
            row.response.add(histogram)
            self.name(name).add(histogram)
        row.names.clear()

    def of_arrival(self, second: int) -> Arrived:
        row = self.arrived.get(second)
        if row is None:
            row = self.arrived[second] = Arrived(second)
        return row

    def name(self, name: str) -> Histogram:
        """The histogram of one request name, of which at most ``NAMES_MAX`` are told apart."""
        found = self.names.get(name)
        if found is None:
            name = name if len(self.names) < NAMES_MAX else OTHER
            found = self.names.setdefault(name, Histogram())
        return found

    def response(self) -> Histogram:
        """Response times of all requests together."""
        whole = Histogram()
        for histogram in self.names.values():
            whole.add(histogram)
        return whole

    def total(self, name: str) -> int:
        """The sum of one of the ``Arrived`` counts, or else of the ``Second`` counts."""
        rows: Iterable[Arrived | Second] = (
            self.arrived.values() if name in Arrived.COUNTS else self.seconds.values()
        )
        return sum(getattr(row, name) for row in rows)

    def add(self, other: Tally) -> None:
        """Take in what another process recorded: exact."""
        for second, row in other.seconds.items():
            self.at_second(second).add(row)
        for second, users in other.arrived.items():
            self.of_arrival(second).add(users)
        for name, histogram in other.names.items():
            self.name(name).add(histogram)
        for which in ("service", "lag", "wait", "refusals"):
            getattr(self, which).add(getattr(other, which))
        self.errors.update(other.errors)
        firsts = [f for f in (self.first_failed_s, other.first_failed_s) if f is not None]
        self.first_failed_s = min(firsts, default=None)


def merged(tallies: Iterable[Tally]) -> Tally:
    """One tally of several processes' tallies."""
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
