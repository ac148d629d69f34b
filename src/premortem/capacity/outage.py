"""The outage a site would have on a given day, minute by minute, from its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from premortem.capacity.plan import Plan

__all__ = ["Outage", "outage"]

WARN_RATIO = 0.8
"""Utilisation at which queueing delay is five times the service time (M/M/1: 1/(1−ρ))."""
SURGE_OVER = 1.2
"""Without a date the outage told is that of a surge a fifth above what breaks the site."""
MINUTES = 1440


@dataclass(frozen=True, slots=True)
class Outage:
    """One predicted overload. Minutes of the local day; rates in requests per second."""

    day: date
    dated: bool
    """``False``: no date is forecast; the day is the next one and the surge is assumed."""
    surge: float
    """Multiple of the usual peak that was assumed (1 when dated)."""
    peak_per_s: float
    capacity_per_s: float
    left_per_s: float
    """Throughput while overloaded."""
    warn_min: int | None
    start_min: int | None
    worst_min: int | None
    end_min: int | None
    """``None``: the day's shape is not known (daily data)."""
    arrived: float
    failed: float
    """Requests between start and end, and those of them not served. Retries are not modelled, so
    both are lower bounds."""

    @property
    def minutes(self) -> int | None:
        if self.start_min is None or self.end_min is None:
            return None
        return self.end_min - self.start_min


def outage(plan: Plan) -> Outage:
    """The first day of the plan's middle date; without one, the next day with a surge."""
    room = plan.capacity_per_s.mid
    left = plan.now.surge_per_s if plan.now.surge_per_s is not None else plan.now.best_per_s
    left *= room / plan.now.best_per_s
    if plan.full.mid is not None:
        index = (plan.full.mid - plan.worlds.date_of(0)).days
        column = plan.worlds.peaks[:, index]
        over = column[column > room]
        peak = float(np.median(over)) if len(over) else room * 1.01
        return _play(plan, plan.full.mid, True, 1.0, peak, room, left)
    surge = SURGE_OVER * max(1.0, room / plan.peak_now_per_s)
    return _play(
        plan, plan.worlds.date_of(0), False, surge, plan.peak_now_per_s * surge, room, left
    )


def _play(
    plan: Plan, day: date, dated: bool, surge: float, peak: float, room: float, left: float
) -> Outage:
    demand = _minutes(plan.day_shape, peak)
    if not demand:
        return Outage(day, dated, surge, peak, room, left, None, None, None, None, 0.0, 0.0)
    start = next(i for i, d in enumerate(demand) if d > room)
    end = next((i for i in range(start, MINUTES) if demand[i] < left), MINUTES)
    warn = next(i for i, d in enumerate(demand) if d > WARN_RATIO * room)
    during = demand[start:end]
    failed = sum(max(0.0, d - left) * 60 for d in during)
    worst = start + max(range(len(during)), key=during.__getitem__)
    return Outage(
        day, dated, surge, peak, room, left, warn, start, worst, end, sum(during) * 60, failed
    )


def _minutes(shape: Sequence[float], peak: float) -> list[float]:
    """The day's demand each minute, straight lines between the middles of the steps."""
    if not shape:
        return []
    step = MINUTES / len(shape)
    middles = (np.arange(len(shape)) + 0.5) * step
    line = np.interp(np.arange(MINUTES), middles, np.array(shape), period=MINUTES)
    return [float(v) for v in line / line.max() * peak]
