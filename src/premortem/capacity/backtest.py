"""How wide a forecast must be, found by forecasting the past; and whether the model may be used.

Rolling origin: at each past origin only what was known then is used. The widths are conformal:
quantiles of the errors made at earlier origins, by lead time, so they do not depend on the model
being right (Vovk et al. 2005; the level is adapted as in Gibbs and Candès 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from premortem.capacity.demand import Calendar, Demand, DemandError, Floats
from premortem.capacity.growth import Seasonal, fit_seasonal

__all__ = ["Backtest", "Forecast", "Origin", "Trusted", "backtest", "forecast", "trust"]

COVERAGE = 0.90
ORIGINS_CALIBRATION = 21
"""Three weeks of daily origins: every weekday three times."""
ORIGINS_MIN = 5
"""Fewer past origins than this and a forecast has no width, so there is none."""
LEAD_BUCKETS_H = (3.0, 6.0, 12.0, 24.0, 48.0, 96.0, 168.0, 336.0, math.inf)
"""Errors grow with the lead; within a bucket they are pooled."""
ADAPT_PER_ORIGIN = 0.03
"""How much the nominal level moves after an origin that covered too little or too much."""
ORIGINS_MAX = 400
"""Bound on the origins of one back-test."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One forecast of the past and what then happened."""

    count: int
    """Steps known at the time."""
    predicted: Floats
    actual: Floats
    judged: tuple[bool, ...]
    """Steps that count: measured, and outside declared events."""

    def errors(self) -> Floats:
        """log(actual / predicted) of each lead; ``nan`` where it does not count."""
        with np.errstate(divide="ignore", invalid="ignore"):
            raw = np.log(np.maximum(self.actual, 1e-9)) - np.log(self.predicted)
        return np.where(np.array(self.judged), raw, np.nan)


def origins(
    demand: Demand, calendar: Calendar, horizon: int, counts: Sequence[int]
) -> list[Origin]:
    """Forecast ``horizon`` steps from each of ``counts`` known steps."""
    out = []
    for count in counts:
        model = fit_seasonal(demand.until(count), calendar)
        at = demand.times(count, count + horizon)
        actual = np.full(horizon, np.nan)
        known = demand.array[count : count + horizon]
        actual[: len(known)] = known
        judged = np.isfinite(actual) & ~calendar.during(at)
        out.append(Origin(count, model.median(at, calendar), actual, tuple(map(bool, judged))))
    return out


def widths(past: Sequence[Origin], now: int, step_s: float, horizon: int) -> Floats:
    """Half-widths in log units for each lead, from errors that were known after ``now`` steps."""
    errors = np.full((len(past), horizon), np.nan)
    for i, origin in enumerate(past):
        known = max(0, min(horizon, now - origin.count))
        errors[i, :known] = np.abs(origin.errors()[:known])
    lead_h = (np.arange(horizon) + 1) * step_s / 3600
    bucket = np.searchsorted(np.array(LEAD_BUCKETS_H), lead_h)
    level = _adapted_level(errors, bucket)
    out = np.zeros(horizon)
    widest = 0.0
    for b in np.unique(bucket):
        pool = errors[:, bucket == b]
        pool = pool[np.isfinite(pool)]
        if len(pool):
            rank = min(1.0, level * (1 + 1 / len(pool)))
            widest = max(widest, float(np.quantile(pool, rank)))
        out[bucket == b] = widest  # a later lead is never surer than an earlier one
    return out


def _adapted_level(errors: Floats, bucket: NDArray[np.intp]) -> float:
    """Raise the level after origins that were missed more often than promised, and back."""
    level = COVERAGE
    for i in range(ORIGINS_MIN, len(errors)):
        row, before = errors[i], errors[:i]
        for b in np.unique(bucket):
            here, pool = row[bucket == b], before[:, bucket == b]
            here, pool = here[np.isfinite(here)], pool[np.isfinite(pool)]
            if len(here) and len(pool):
                inside = float(np.mean(here <= np.quantile(pool, min(1.0, level))))
                level = min(0.99, max(0.7, level + ADAPT_PER_ORIGIN * (COVERAGE - inside)))
    return level


@dataclass(frozen=True, slots=True)
class Forecast:
    """Rates to come with a 90 % interval for each step."""

    at: tuple[float, ...]
    low: tuple[float, ...]
    median: tuple[float, ...]
    high: tuple[float, ...]


def forecast(
    demand: Demand, horizon: int, calendar: Calendar | None = None, model: Seasonal | None = None
) -> Forecast:
    """Forecast ``horizon`` steps past the end of ``demand``, widths from its last three weeks.

    ``model`` is fitted to ``demand`` unless given (the last good one, see :func:`trust`).

    Raises :class:`DemandError` while there are too few days to measure a width on.
    """
    calendar = calendar or Calendar()
    end = len(demand.rates)
    first = end - demand.per_day * ORIGINS_CALIBRATION
    counts = [c for c in range(first, end, demand.per_day) if c >= 3 * demand.per_day]
    if len(counts) < ORIGINS_MIN:
        raise DemandError(
            f"{end / demand.per_day:.1f} days of history; {3 + ORIGINS_MIN} days are needed to "
            "measure how wrong the forecast is"
        )
    past = origins(demand, calendar, horizon, counts)
    at = demand.times(end, end + horizon)
    middle = (model or fit_seasonal(demand, calendar)).median(at, calendar)
    width = widths(past, end, demand.step_s, horizon)
    return Forecast(
        tuple(map(float, at)),
        tuple(map(float, middle * np.exp(-width))),
        tuple(map(float, middle)),
        tuple(map(float, middle * np.exp(width))),
    )


@dataclass(frozen=True, slots=True)
class Backtest:
    """What forecasts of the past were worth, outside declared events."""

    coverage_90: float
    """Share of the values inside the 90 % interval."""
    mase: float
    """Mean absolute error over that of the better seasonal-naive forecast (day or week ago)."""
    mase_day: float
    mase_week: float
    n: int
    origins: int
    coverage_90_events: float | None
    """The same inside declared events, for honesty; ``None`` without any."""
    n_events: int


def backtest(demand: Demand, calendar: Calendar, *, horizon: int, first_day: int = 14) -> Backtest:
    """Forecast ``horizon`` steps from every day since ``first_day`` and compare."""
    per_day = demand.per_day
    last = len(demand.rates) - horizon
    tested = list(range(first_day * per_day, last + 1, per_day))[-ORIGINS_MAX:]
    if not tested:
        raise DemandError(
            f"{len(demand.rates) / per_day:.1f} days of history; {first_day} and the horizon are "
            "needed for a back-test"
        )
    warm = range(max(3 * per_day, tested[0] - ORIGINS_CALIBRATION * per_day), tested[0], per_day)
    if len(warm) < ORIGINS_MIN:
        raise DemandError("too few days before the first tested origin to measure a width")
    rolled = origins(demand, calendar, horizon, [*warm, *tested])
    inside, off, day, week, eventful = [], [], [], [], []
    for i in range(len(warm), len(rolled)):
        origin = rolled[i]
        past = rolled[max(0, i - ORIGINS_CALIBRATION) : i]
        width = widths(past, origin.count, demand.step_s, horizon)
        counts = np.array(origin.judged)
        error = np.abs(np.log(np.maximum(origin.actual, 1e-9) / origin.predicted))
        inside.append((error <= width)[counts])
        eventful.append((error <= width)[~counts & np.isfinite(origin.actual)])
        off.append(np.abs(origin.actual - origin.predicted)[counts])
        day.append(_naive_error(demand, origin, per_day)[counts])
        week.append(_naive_error(demand, origin, 7 * per_day)[counts])
    held, missed = np.concatenate(inside), np.concatenate(off)
    events = np.concatenate(eventful)
    by_day = float(np.mean(missed) / np.nanmean(np.concatenate(day)))
    by_week = float(np.mean(missed) / np.nanmean(np.concatenate(week)))
    return Backtest(
        float(held.mean()),
        max(by_day, by_week),
        by_day,
        by_week,
        len(held),
        len(tested),
        float(events.mean()) if len(events) else None,
        len(events),
    )


def _naive_error(demand: Demand, origin: Origin, season: int) -> Floats:
    """Error of repeating the last whole season known at the origin."""
    lead = np.arange(len(origin.actual))
    return np.abs(origin.actual - demand.array[origin.count - season + lead % season])


@dataclass(frozen=True, slots=True)
class Trusted:
    """The model in use, and why it is this one."""

    model: Seasonal
    fresh: bool
    reason: str


def trust(demand: Demand, calendar: Calendar, last_good: Seasonal | None = None) -> Trusted:
    """A new model if it beat seasonal-naive on the last two weeks, else the last good one.

    Raises :class:`DemandError` when neither can be had.
    """
    try:
        model = fit_seasonal(demand, calendar)
        days = len(demand.rates) // demand.per_day
        score = backtest(demand, calendar, horizon=demand.per_day, first_day=max(8, days - 14))
    except DemandError as error:
        if last_good is None:
            raise
        return Trusted(last_good, False, f"kept the last good model: {error}")
    if score.mase < 1 or last_good is None:
        return Trusted(model, True, f"error is {score.mase:.2f} of seasonal-naive")
    return Trusted(
        last_good,
        False,
        f"kept the last good model: the new one's error is {score.mase:.2f} of seasonal-naive",
    )
