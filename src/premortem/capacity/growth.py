"""Demand: what a series of arrival rates will be, hour by hour, with an honest width.

The model is multiplicative: ``level × trend × hour of day × weekday × declared event``, each part
a robust estimate on logarithms. It is short on purpose and takes a millisecond. On the World Cup 98
series it beats Holt-Winters when events are declared and loses to it when nothing is
(``python -m benchmarks.forecast --peer``). Widths come from :mod:`premortem.capacity.backtest`,
never from the model's own opinion of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from premortem.capacity.demand import DAY_S, Bools, Calendar, Demand, DemandError, Floats

__all__ = ["Seasonal", "event_logs", "fit_seasonal"]


HISTORY_DAYS = 28.0
"""Four of every weekday; older habits mislead more than they steady (back-tested)."""
PROFILE_HALF_LIFE_DAYS = 10.0
LEVEL_HALF_LIFE_H = 12.0
"""Back-tested: 6 h follows noise, 24 h lags behind growth."""
TREND_DAYS = 7.0
"""The trend is this week's level against last week's: weekdays cancel out."""
TREND_DAMPING_PER_DAY = 0.98
"""Growth that goes on is assumed to slow (Gardner and McKenzie 1985)."""
OFFSET_STEPS = 2
OFFSET_DECAY_PER_H = 0.95
"""How long the last two steps' departure from the level is believed."""
RATE_MIN = 1e-9


@dataclass(frozen=True, slots=True)
class Seasonal:
    """A fitted model. Logarithms of the rate; predicts any instant after ``fitted_at``."""

    fitted_at: float
    step_s: float
    level: float
    trend_per_day: float
    offset: float
    profile: tuple[float, ...]
    weekday: tuple[float, ...]
    factors: Mapping[str, float]
    """Multiple of each event name that was learned or declared."""

    @staticmethod
    def restored(values: Mapping[str, Any]) -> Seasonal:
        """From the dict that ``dataclasses.asdict`` made of a model (and JSON of that).

        Raises :class:`DemandError` when it is not one.
        """
        try:
            return Seasonal(
                **{
                    **values,
                    "profile": tuple(map(float, values["profile"])),
                    "weekday": tuple(map(float, values["weekday"])),
                    "factors": {str(k): float(v) for k, v in values["factors"].items()},
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DemandError(f"the stored model cannot be read ({error}); fit anew") from None

    def median(self, at: Floats, calendar: Calendar) -> Floats:
        """The middle forecast for the steps that start at ``at``, in the series' unit."""
        days = np.maximum(at - self.fitted_at + self.step_s, 0.0) / DAY_S
        damping = -math.log(TREND_DAMPING_PER_DAY)
        log = self.level + self.trend_per_day * (1 - np.exp(-damping * days)) / damping
        log += self.offset * OFFSET_DECAY_PER_H ** (days * 24)
        log += np.array(self.profile)[calendar.slots(at, self.step_s)]
        log += np.array(self.weekday)[calendar.weekdays(at)]
        middle: Floats = np.exp(log + event_logs(at, calendar, self.factors))
        return middle


def fit_seasonal(demand: Demand, calendar: Calendar | None = None) -> Seasonal:
    """Fit to the whole of ``demand``. Raises :class:`DemandError` below two days of data."""
    calendar = calendar or Calendar()
    keep = int(HISTORY_DAYS * demand.per_day)
    if len(demand.rates) < 2 * demand.per_day:
        raise DemandError(
            f"{len(demand.rates)} steps of {demand.step_s:g} s; two days at least are needed"
        )
    at = demand.times()[-keep:]
    log = np.log(np.maximum(demand.array[-keep:], RATE_MIN))
    if not np.isfinite(log[-2 * demand.per_day :]).any():
        raise DemandError("nothing was measured in the last two days; check the collection")
    event = calendar.during(at)
    age_days = (demand.end - at) / DAY_S
    profile = _profile(log, calendar.slots(at, demand.step_s), event, age_days, demand.per_day)
    flat = log - profile[calendar.slots(at, demand.step_s)]
    weekday = _weekday(flat, calendar.weekdays(at), event, demand.per_day)
    flat -= weekday[calendar.weekdays(at)]
    factors = _factors(flat, at, calendar)
    flat -= event_logs(at, calendar, factors)
    level, trend = _level_and_trend(flat, event, age_days, demand.per_day)
    recent = flat[-OFFSET_STEPS:]
    offset = float(np.nanmean(recent)) - level if np.isfinite(recent).any() else 0.0
    return Seasonal(
        demand.end,
        demand.step_s,
        level,
        trend,
        offset,
        tuple(map(float, profile)),
        tuple(map(float, weekday)),
        factors,
    )


def _profile(
    log: Floats, slot: NDArray[np.int64], event: Bools, age_days: Floats, per_day: int
) -> Floats:
    """Weighted median of each step of the day against the mean of the 24 h around it."""
    if per_day == 1:
        return np.zeros(1)
    around = _moving_mean(log, per_day)
    usable = np.isfinite(log - around) & ~event
    weight = 0.5 ** (age_days / PROFILE_HALF_LIFE_DAYS)
    out = np.zeros(per_day)
    for k in range(per_day):
        here = usable & (slot == k)
        if here.any():
            out[k] = _weighted_median((log - around)[here], weight[here])
    centred: Floats = out - out.mean()
    return centred


def _weekday(flat: Floats, weekday: NDArray[np.int64], event: Bools, per_day: int) -> Floats:
    """Each weekday against the week around it, drawn to 0 while few of it were seen."""
    out = np.zeros(7)
    days = len(flat) // per_day
    if days < 8:
        return out
    start = len(flat) - days * per_day
    rows = np.where(event, np.nan, flat)[start:].reshape(days, per_day)
    seen = np.isfinite(rows).mean(axis=1) > 0.5
    means = np.full(days, np.nan)
    means[seen] = np.nanmean(rows[seen], axis=1)
    kind = weekday[start + per_day // 2 :: per_day]
    week = np.convolve(means, np.full(7, 1 / 7), mode="same")
    week[:3] = week[-3:] = np.nan
    for k in range(7):
        gaps = (means - week)[(kind == k) & np.isfinite(means - week)]
        if len(gaps):
            out[k] = float(np.median(gaps)) * len(gaps) / (len(gaps) + 1)
    return out


def _factors(flat: Floats, at: Floats, calendar: Calendar) -> dict[str, float]:
    """Declared factors, and for the others the median multiple of past events of that name."""
    declared = {e.name: e.factor for e in calendar.events if e.factor is not None}
    seen: dict[str, list[float]] = {}
    calm = ~calendar.during(at) & np.isfinite(flat)
    for e in calendar.events:
        inside = (at >= e.start) & (at < e.end) & np.isfinite(flat)
        before = calm & (at < e.start) & (at >= e.start - DAY_S)
        if e.name not in declared and inside.any() and before.any():
            gap = float(np.median(flat[inside]) - np.median(flat[before]))
            seen.setdefault(e.name, []).append(gap)
    return declared | {name: math.exp(float(np.median(g))) for name, g in seen.items()}


def event_logs(at: Floats, calendar: Calendar, factors: Mapping[str, float]) -> Floats:
    """Log multiple of every instant by the events it lies in; 1x where no factor is known."""
    out = np.zeros(at.shape)
    for e in calendar.events:
        out[(at >= e.start) & (at < e.end)] += math.log(factors.get(e.name, 1.0))
    return out


def _level_and_trend(
    flat: Floats, event: Bools, age_days: Floats, per_day: int
) -> tuple[float, float]:
    """The level now, and its growth per day against ``TREND_DAYS`` ago."""
    calm = np.isfinite(flat) & ~event
    three_days = calm[-3 * per_day :]
    if three_days.sum() < min(per_day, len(three_days) / 3):
        calm = np.isfinite(flat)  # a long event is the new normal
    half_life = max(LEVEL_HALF_LIFE_H / 24, 1.0 / per_day)
    weight = np.where(calm, 0.5 ** (age_days / half_life), 0.0)
    level = float(np.nansum(weight * np.where(calm, flat, 0.0)) / weight.sum())
    past = calm & ~event & (age_days > TREND_DAYS)
    weight = np.where(past, 0.5 ** ((age_days - TREND_DAYS) / (2 * half_life)), 0.0)
    if weight.sum() < 1:
        return level, 0.0
    then = float(np.sum(weight * np.where(past, flat, 0.0)) / weight.sum())
    return level, (level - then) / TREND_DAYS


def _moving_mean(values: Floats, width: int) -> Floats:
    """Mean over ``width`` values around each, gaps left out, narrower at the ends."""
    known = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(known)])
    i = np.arange(len(values))
    low, high = np.maximum(i - width // 2, 0), np.minimum(i + width // 2, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = (total[high] - total[low]) / (count[high] - count[low])
    return mean


def _weighted_median(values: Floats, weight: Floats) -> float:
    order = np.argsort(values)
    climb = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(climb, climb[-1] / 2)])
