"""From intervals of demand and capacity to a dated statement and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from premortem.capacity.dates import Full, say, when_full
from premortem.capacity.demand import Calendar, Demand, DemandError, Floats
from premortem.capacity.estimate import Estimate
from premortem.capacity.growth import fit_seasonal
from premortem.capacity.intervals import Peak, peak
from premortem.capacity.regret import Choice, Prices, choose
from premortem.capacity.site import Capacity, Database, Site, capacity, pool_findings
from premortem.capacity.steps import Effect, Step, apply, effects
from premortem.capacity.trend import Worlds, futures
from premortem.capacity.usl import Curve, Fit, fit
from premortem.capacity.whatif import WhatIf

__all__ = ["Answer", "Plan", "make_plan"]

HORIZON_DAYS = 365
RECENT_DAYS = 7
"""Headroom is held against the busiest moment of the last week: every weekday once."""
WORLDS = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a ``--what-if`` does."""

    what_if: WhatIf
    site: Site
    result: Capacity
    demand_peak_per_s: float
    full: Full
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is said of one site at one moment. Rates in requests per second."""

    made_at: float
    site: Site
    fitted: Fit
    knee: Peak
    now: Capacity
    capacity_per_s: Estimate
    at_least: bool
    """The curve's peak was not passed: ``capacity_per_s`` is a lower bound."""
    peak_now_per_s: float
    headroom_ratio: float
    """Share of the capacity that the busiest moment of the last week left free."""
    worlds: Worlds
    full: Full
    effects: tuple[Effect, ...]
    target: date
    target_peak_per_s: Estimate
    choice: Choice | None
    answers: tuple[Answer, ...]
    findings: tuple[str, ...]
    calendar: Calendar
    day_shape: tuple[float, ...]
    """The usual day as shares of its peak, one value a step; empty for daily data."""
    statement: str


def make_plan(
    now: float,
    demand: Demand,
    curve: Curve,
    site: Site,
    *,
    calendar: Calendar | None = None,
    what_ifs: Sequence[WhatIf] = (),
    target: date | None = None,
    observed_over_modelled: Estimate | None = None,
    prices: Prices | None = None,
    seed: int = 1,
) -> Plan:
    """Plan for ``site``; its ``database`` is replaced by what ``curve`` says.

    ``demand`` is the arrival rate in the unit of the curve's throughput (requests per second). The
    plan starts on the day after the series ends. Raises ``DemandError`` when the history is too
    short, ``ValueError`` for values no site can have.
    """
    calendar = calendar or Calendar()
    fitted = fit(curve)
    knee = peak(curve, fitted, seed=seed)
    site = replace(site, database=Database.measured(curve, fitted.usl, knee))
    present = capacity(site)
    factor = observed_over_modelled or Estimate.exactly(1.0)
    room = _capacity(present, knee, factor)
    peaks = demand if demand.per_day == 1 else demand.daily_peaks(calendar.utc_offset_h)
    worlds = futures(peaks, calendar, days=HORIZON_DAYS, worlds=WORLDS, seed=seed)
    recent = float(np.nanmax(peaks.array[-RECENT_DAYS:]))
    full = when_full(worlds, room, seed=seed)
    day = _target(target, worlds, full)
    needed = _highest_until(worlds, day)
    scale = room.scaled(1 / present.best_per_s)
    choice = choose(site, needed, scale, prices=prices, seed=seed)
    answers = tuple(_answer(w, site, room, present, worlds, recent, seed) for w in what_ifs)
    low, mid, high = map(float, np.quantile(needed, (0.05, 0.5, 0.95)))
    return Plan(
        now,
        site,
        fitted,
        knee,
        present,
        room,
        knee.abstained,
        recent,
        1 - recent / room.mid,
        worlds,
        full,
        tuple(effects(site)),
        day,
        Estimate(low, mid, high),
        choice,
        answers,
        tuple(pool_findings(site)),
        calendar,
        _day_shape(demand, calendar),
        say(full, room, present, knee),
    )


def _capacity(present: Capacity, knee: Peak, factor: Estimate) -> Estimate:
    """Best throughput with the interval of X* carried over, times observed ÷ modelled."""
    low = high = 1.0
    if knee.x_interval and knee.x_max:
        low = min(1.0, knee.x_interval.low / knee.x_max)
        high = max(1.0, knee.x_interval.high / knee.x_max)
    down = math.hypot(math.log(low), math.log(factor.low / factor.mid))
    up = math.hypot(math.log(high), math.log(factor.high / factor.mid))
    mid = present.best_per_s * factor.mid
    return Estimate(mid * math.exp(-down), mid, mid * math.exp(up))


def _day_shape(demand: Demand, calendar: Calendar) -> tuple[float, ...]:
    if demand.per_day == 1:
        return ()
    try:
        profile = np.exp(np.array(fit_seasonal(demand, calendar).profile))
    except DemandError:
        return ()
    return tuple(map(float, profile / profile.max()))


def _target(target: date | None, worlds: Worlds, full: Full) -> date:
    """The day to be ready for: as asked, else the end of the interval, else the horizon."""
    return min(max(target or full.high or worlds.last, worlds.date_of(0)), worlds.last)


def _highest_until(worlds: Worlds, day: date) -> Floats:
    count = (day - worlds.date_of(0)).days + 1
    highest: Floats = worlds.peaks[:, : max(1, count)].max(axis=1)
    return highest


def _answer(
    what: WhatIf,
    site: Site,
    room: Estimate,
    before: Capacity,
    worlds: Worlds,
    recent: float,
    seed: int,
) -> Answer:
    changed = site
    if what.field:
        changed = apply(site, Step(what.text, {what.field: what.value(site)}))
    after = capacity(changed)
    room = room.scaled(after.best_per_s / before.best_per_s)
    full = when_full(worlds, room, surge=what.surge, seed=seed)
    peak_per_s = recent * what.surge
    served = min(1.0, room.mid / peak_per_s)
    if peak_per_s > room.mid and after.surge_per_s is not None:
        served = min(1.0, after.surge_per_s * room.mid / after.best_per_s / peak_per_s)
    text = (
        f"{what.text}: peak {peak_per_s:.4g}/s against a capacity of {room.mid:.4g}/s; "
        + (
            f"{served:.0%} of it would be served"
            if peak_per_s > room.mid
            else "all of it is served"
        )
        + (f"; first {after.first}" if peak_per_s > room.mid else "")
        + (
            f"; {after.sessions} sessions, past the knee at {after.knee:.0f}"
            if after.past_knee
            else ""
        )
    )
    return Answer(what, changed, after, peak_per_s, full, text)
