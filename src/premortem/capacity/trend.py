"""Growth over weeks and months: many possible futures of the daily peak.

``log(peak) = a + g·day + weekday + event + noise``. The growth ``g`` is the median of slopes
between days (Theil–Sen), its uncertainty a block bootstrap, and the whole fan is widened until it
would have covered the recent past. Yearly seasons are not in it: declare them as events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date

import numpy as np

from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Floats, at_utc

__all__ = ["Worlds", "futures"]

HISTORY_DAYS_MAX = 84
"""Twelve weeks: growth older than a season says little about the next."""
HISTORY_DAYS_MIN = 21
"""Three of every weekday."""
HORIZON_PER_HISTORY = 2.0
"""No date is given further ahead than twice what was looked back upon."""
BLOCK_DAYS = 7
"""Days come in weeks: a busy Monday is followed by a busy Tuesday."""
INFLATION_MAX = 5.0
"""Bound on the widening; a fan that needs more is useless and shows it."""
Z_90 = 1.645
BACKTEST_EVERY_DAYS = 3


@dataclass(frozen=True, slots=True)
class Worlds:
    """Futures of the daily peak: one row a world, one column a day, in the series' unit."""

    first_day: float
    """Start of the first day, seconds since the epoch."""
    peaks: Floats
    growth_per_day: tuple[float, float, float]
    """Daily growth as a ratio (0.01 = 1 % a day): 5 %, median, 95 %."""
    inflation: float
    """How much wider than its own statistics the fan was made to cover the past."""

    utc_offset_h: float = 0.0

    def date_of(self, index: int) -> date:
        """The local date of a column."""
        return at_utc(self.first_day + DAY_S * index + 3600 * self.utc_offset_h).date()

    @property
    def last(self) -> date:
        """The horizon."""
        return self.date_of(self.peaks.shape[1] - 1)


@dataclass(frozen=True, slots=True)
class _Line:
    intercept: float
    """At the day after the last."""
    slope: float
    weekday: Floats
    residuals: Floats
    """Of the days that were calm and measured, oldest first."""
    days_ago: Floats


def futures(
    peaks: Demand, calendar: Calendar, *, days: int, worlds: int = 400, seed: int = 1
) -> Worlds:
    """Draw ``worlds`` futures of ``days`` days from a series of daily peaks.

    The horizon is cut to :data:`HORIZON_PER_HISTORY` times the history used. Raises
    :class:`DemandError` below three weeks of measured, ordinary days.
    """
    line = _fit(peaks, calendar)
    days = max(1, min(days, int(HORIZON_PER_HISTORY * (line.days_ago.max()))))
    inflation = _inflation(peaks, calendar)
    dice = np.random.default_rng(seed)
    a, g = _bootstrap(line, dice, worlds)
    at = peaks.times(len(peaks.rates), len(peaks.rates) + days)
    ahead = np.arange(days)
    known = line.weekday[calendar.weekdays(at)] + event_logs(at, calendar)
    middle = line.intercept + line.slope * ahead
    fan = (a[:, None] + g[:, None] * ahead) - middle
    noise = _blocks(line.residuals, dice, worlds, days)
    logs = middle + known + inflation * (fan + noise)
    growth = np.expm1(line.slope + inflation * (np.quantile(g, (0.05, 0.5, 0.95)) - line.slope))
    low, mid, high = map(float, growth)
    return Worlds(float(at[0]), np.exp(logs), (low, mid, high), inflation, calendar.utc_offset_h)


def event_logs(at: Floats, calendar: Calendar) -> Floats:
    """Log factor of every day by the events declared on it (the largest, not the product)."""
    out = np.zeros(at.shape)
    for e in calendar.events:
        if e.factor is not None:
            touched = (at < e.end) & (at + DAY_S > e.start)
            out[touched] = (
                np.maximum(out[touched], math.log(e.factor))
                if e.factor > 1
                else (out[touched] + math.log(e.factor))
            )
    return out


def _fit(peaks: Demand, calendar: Calendar) -> _Line:
    values = peaks.array[-HISTORY_DAYS_MAX:]
    at = peaks.times()[-HISTORY_DAYS_MAX:]
    eventful = np.zeros(at.shape, dtype=np.bool_)
    for e in calendar.events:
        eventful |= (at < e.end) & (at + DAY_S > e.start)
    usable = (np.nan_to_num(values) > 0) & ~eventful
    if usable.sum() < HISTORY_DAYS_MIN:
        raise DemandError(
            f"{int(usable.sum())} ordinary days were measured; growth needs {HISTORY_DAYS_MIN}"
        )
    x = np.arange(len(values), dtype=np.float64)[usable] - len(values)
    y = np.log(values[usable])
    kind = calendar.weekdays(at)[usable]
    weekday = np.zeros(7)
    for _ in range(2):  # weekday and slope disturb each other little: twice is enough
        slope, intercept = _theil_sen(x, y - weekday[kind])
        rest = y - intercept - slope * x
        for k in range(7):
            here = rest[kind == k]
            weekday[k] = float(np.median(here)) if len(here) > 1 else 0.0
    slope, intercept = _theil_sen(x, y - weekday[kind])
    residuals = y - weekday[kind] - intercept - slope * x
    return _Line(intercept, slope, weekday, residuals, -x)


def _theil_sen(x: Floats, y: Floats) -> tuple[float, float]:
    """Median of all slopes, and the median intercept at x = 0."""
    i, j = np.triu_indices(len(x), 1)
    slope = float(np.median((y[j] - y[i]) / (x[j] - x[i])))
    return slope, float(np.median(y - slope * x))


def _bootstrap(line: _Line, dice: np.random.Generator, worlds: int) -> tuple[Floats, Floats]:
    """Slopes and intercepts of lines through resampled weeks of residuals."""
    x = -line.days_ago
    noise = _blocks(line.residuals, dice, worlds, len(x))
    y = line.intercept + line.slope * x + noise
    centred = x - x.mean()
    g = y @ centred / (centred @ centred)
    a = y.mean(axis=1) - g * x.mean()
    # least squares is used here for speed; only its spread is, so it is put around the line
    return a - a.mean() + line.intercept, g - g.mean() + line.slope


def _blocks(pool: Floats, dice: np.random.Generator, rows: int, days: int) -> Floats:
    """``rows`` × ``days`` residuals in runs of a week."""
    count = -(-days // BLOCK_DAYS)
    starts = dice.integers(0, len(pool), (rows, count))
    index = (starts[:, :, None] + np.arange(BLOCK_DAYS)) % len(pool)
    drawn: Floats = pool[index].reshape(rows, -1)[:, :days]
    return drawn


def _inflation(peaks: Demand, calendar: Calendar) -> float:
    """90 % point of |error| ÷ stated half-width at origins in the last weeks; at least 1."""
    n = len(peaks.rates)
    lead = min(28, n // 3)
    ratios: list[float] = []
    for count in range(max(HISTORY_DAYS_MIN + 3, n - 2 * lead), n - 3, BACKTEST_EVERY_DAYS):
        try:
            line = _fit(peaks.until(count), calendar)
        except DemandError:
            continue
        ahead = np.arange(min(lead, n - count))
        at = peaks.times(count, count + len(ahead))
        known = line.weekday[calendar.weekdays(at)] + event_logs(at, calendar)
        truth = peaks.array[count : count + len(ahead)]
        spread = float(np.std(line.residuals))
        x = -line.days_ago
        of_slope = spread / math.sqrt(float(((x - x.mean()) ** 2).sum()) / BLOCK_DAYS)
        width = Z_90 * np.sqrt(
            spread**2 * (1 + BLOCK_DAYS / len(x)) + (of_slope * (ahead - x.mean())) ** 2
        )
        usable = (np.nan_to_num(truth) > 0) & (width > 0)
        error = np.abs(
            np.log(np.where(usable, truth, 1.0)) - line.intercept - line.slope * ahead - known
        )
        ratios += list((error / np.maximum(width, 1e-12))[usable])
    if not ratios:
        return 1.0
    return float(min(INFLATION_MAX, max(1.0, np.quantile(ratios, 0.9))))
