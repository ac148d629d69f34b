"""A history of arrivals, and what is known beforehand about the days to come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DAY_S",
    "STEPS_MAX",
    "Bools",
    "Calendar",
    "Demand",
    "DemandError",
    "Event",
    "Floats",
    "at_utc",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

DAY_S = 86_400
SUNDAY = 6
STEPS_MAX = 1_000_000
"""Bound on a series: a year of half-minutes."""


class DemandError(ValueError):
    """The series cannot be used; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Event:
    """A stretch of time of which it is known beforehand that demand will differ.

    ``factor`` is the declared multiple ("Black Friday, 3×"); ``None`` means: learn it from earlier
    events of the same name.
    """

    name: str
    start: float
    end: float
    factor: float | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """What is known about time where the users live. Holidays behave like Sundays."""

    utc_offset_h: float = 0.0
    holidays: frozenset[date] = field(default_factory=frozenset)
    events: tuple[Event, ...] = ()

    def weekdays(self, at: Floats) -> NDArray[np.int64]:
        """0 = Monday … 6 = Sunday of every instant; a holiday counts as Sunday."""
        local = at + self.utc_offset_h * 3600
        days = (local // DAY_S).astype(np.int64)
        weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
        for holiday in self.holidays:
            weekday[days == (holiday - date(1970, 1, 1)).days] = SUNDAY
        return weekday

    def slots(self, at: Floats, step_s: float) -> NDArray[np.int64]:
        """Which step of its day every instant is."""
        local = at + self.utc_offset_h * 3600
        return ((local % DAY_S) // step_s).astype(np.int64)

    def during(self, at: Floats) -> Bools:
        """Which instants lie in a declared event."""
        inside = np.zeros(at.shape, dtype=np.bool_)
        for event in self.events:
            inside |= (at >= event.start) & (at < event.end)
        return inside


@dataclass(frozen=True)
class Demand:
    """Arrival rates at equal steps, oldest first; ``nan`` where nothing was measured.

    Scale the *rate* of arrivals, not the number of users: users wait, arrivals do not.
    Raises :class:`DemandError` for a series that is empty, negative, infinite or too long, or a
    step that does not divide a day.
    """

    start: float
    step_s: float
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.step_s <= 0 or DAY_S % self.step_s:
            raise DemandError(f"a step of {self.step_s:g} s does not divide a day; resample first")
        if not 0 < len(self.rates) <= STEPS_MAX:
            raise DemandError(f"{len(self.rates)} steps; between 1 and {STEPS_MAX} are needed")
        if any(r < 0 or math.isinf(r) for r in self.rates):
            raise DemandError("an arrival rate is negative or infinite; mend the series")

    @property
    def end(self) -> float:
        """The end of the last step."""
        return self.start + self.step_s * len(self.rates)

    @property
    def per_day(self) -> int:
        """Steps a day."""
        return int(DAY_S // self.step_s)

    @cached_property
    def array(self) -> Floats:
        return np.array(self.rates, dtype=np.float64)

    def times(self, first: int = 0, last: int | None = None) -> Floats:
        """Start of the steps ``first`` … ``last`` (may lie beyond the series)."""
        steps = np.arange(first, len(self.rates) if last is None else last, dtype=np.float64)
        return self.start + self.step_s * steps

    def until(self, count: int) -> Demand:
        """The first ``count`` steps: what was known then."""
        return Demand(self.start, self.step_s, self.rates[:count])

    def averaged(self, step_s: float) -> Demand:
        """Means over longer steps (a multiple of this one); a last partial step is left out."""
        if step_s < self.step_s or step_s % self.step_s:
            raise DemandError(f"{step_s:g} s is no multiple of the step of {self.step_s:g} s")
        width = int(step_s // self.step_s)
        whole = len(self.rates) // width
        if whole < 1:
            raise DemandError(f"the series is shorter than one step of {step_s:g} s")
        rows = self.array[: whole * width].reshape(whole, width)
        known = np.isfinite(rows)
        with np.errstate(invalid="ignore"):
            means = np.where(known, rows, 0.0).sum(axis=1) / known.sum(axis=1)
        return Demand(self.start, step_s, tuple(map(float, means)))

    def daily_peaks(self, utc_offset_h: float = 0.0) -> Demand:
        """The highest step of every complete local day, one step a day."""
        shift = (self.start + utc_offset_h * 3600) % DAY_S
        skip = int(-(-(DAY_S - shift) // self.step_s)) if shift else 0
        whole = (len(self.rates) - skip) // self.per_day
        if whole < 1:
            raise DemandError("the series does not hold one complete day; collect more of it")
        rows = self.array[skip : skip + whole * self.per_day].reshape(whole, self.per_day)
        measured = ~np.all(np.isnan(rows), axis=1)
        peaks = np.full(whole, np.nan)
        peaks[measured] = np.nanmax(rows[measured], axis=1)
        return Demand(self.start + skip * self.step_s, DAY_S, tuple(map(float, peaks)))


def at_utc(seconds: float) -> datetime:
    """``seconds`` since the epoch as an aware UTC time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
