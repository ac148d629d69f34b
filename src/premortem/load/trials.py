"""Performs what a knee search asks for: trials against a real site, with its tiers sampled.

A trial ends early when it can no longer hold: that halves the time of a search and spares the site.
After one that did not hold the site is left alone until a lone visitor is answered as on a calm
day, as what waits in its queues would be the next trial's trouble.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from types import MappingProxyType

from premortem.load.attack import Result
from premortem.load.knee import Bars, Knee, Measured, Trial, held, hopeless, search
from premortem.load.pace import Constant
from premortem.load.spec import Attack
from premortem.load.stats import Histogram, Second
from premortem.load.workers import attack_many

__all__ = ["Levels", "Surroundings", "find_knee", "levelled", "measured_from", "perform_trial"]

Levels = Callable[[float, float], Mapping[str, float]]
"""How loaded each resource was between two instants (epoch seconds; see ``levels``)."""
SETTLE_IN_S = 1.0
"""The first second of a trial still shows what was before it; a reading covers one second."""

START_IN_S = 0.35
"""Until the generator's processes are there: forking one and looking through its memory once took
up to 0.15 s on a busy machine, and a late start is a late user."""
SETTLE_S_MAX = 20.0
"""A site that has not recovered by then is measured as it is."""
SETTLE_UNKNOWN_S_MAX = 2.0
"""While no trial held yet there is nothing to return to."""
SETTLED_RATIO = 2.0
"""Of the calm journey: twice as slow is half busy (M/M/1)."""
LONE_IN_S = 0.1
LONE_S = 0.2
"""Long enough for several visits of a lone visitor to a quick page."""
TICK_MS = 5.0
"""Of a lone visitor's time the luck of a busy machine."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a search needs besides its trials."""

    on_trial: Callable[[Trial, Measured], None] = lambda trial, measured: None
    on_second: Callable[[Trial, Second], None] = lambda trial, row: None
    why_stop: Callable[[], str | None] = lambda: None
    """Asked every second: why the search must end now, if it must."""


def measured_from(trial: Trial, result: Result, slow_ms: float) -> Measured:
    """What a trial showed: a user is in trouble who was not served, or met a request slower than
    ``slow_ms`` (counted by request, so it errs on the side of trouble)."""
    tally = result.tally
    seconds = min(trial.seconds, result.elapsed_s) if result.stopped else trial.seconds
    rows = [row for row in tally.seconds.values() if row.second < seconds]
    lost = tally.total("unfinished") + tally.total("not_started")
    ended = tally.total("failed") + tally.total("refused") + (0 if result.stopped else lost)
    found = _so_far(trial, rows, tally.response(), ended, seconds, slow_ms)
    own = [r for r in result.reasons if "had not finished" not in r and "was stopped" not in r]
    return replace(
        found,
        offered=tally.total("offered"),
        served=tally.total("served"),
        violations=min(tally.total("offered"), found.violations),
        invalid="; ".join(own) or None,
        started_at=result.started_at,
    )


def _so_far(
    trial: Trial,
    rows: list[Second],
    response: Histogram,
    ended_badly: int,
    seconds: float,
    slow_ms: float,
) -> Measured:
    slow = round(response.above_ratio(slow_ms) * response.total)
    served_per_s = sum(row.served for row in rows) / max(1.0, seconds)
    in_flight = [row.in_flight for row in rows]
    # Little's law, as users in flight are known and their journeys are not timed one by one
    journey_s = fmean(in_flight) / served_per_s if in_flight and served_per_s else 0.0
    return Measured(
        trial.users_per_s,
        seconds,
        sum(row.offered for row in rows),
        sum(row.served for row in rows),
        ended_badly + slow,
        max(in_flight, default=0),
        served_per_s,
        journey_s,
        requests_per_s=response.total / max(1.0, seconds),
        requests_in_flight=_in_flight(response, max(1.0, seconds)),
        p50_ms=response.percentile_ms(50) if response.total else None,
        p99_ms=response.percentile_ms(99) if response.total else None,
    )


def _in_flight(response: Histogram, seconds: float) -> float:
    return response.total * response.mean_ms() / 1000.0 / seconds if response.total else 0.0


@dataclass(slots=True)
class _UnderWay:
    """A trial second by second, and its end when there is nothing left to learn."""

    trial: Trial
    bars: Bars
    slow_ms: float
    around: Surroundings
    rows: list[Second] = field(default_factory=list)
    response: Histogram = field(default_factory=Histogram)
    stop: Callable[[], None] = lambda: None
    why: str | None = None

    def hold(self, stop: Callable[[], None]) -> None:
        self.stop = stop

    def take(self, row: Second) -> None:
        self.around.on_second(self.trial, row)
        self.rows.append(row)
        self.response.add(row.response)
        self.why = self.why or self.around.why_stop()
        if row.second + 1 >= self.trial.seconds:
            return
        badly = sum(row.failed + row.refused for row in self.rows)
        so_far = _so_far(
            self.trial, self.rows, self.response, badly, row.second + 1.0, self.slow_ms
        )
        if self.why is not None or hopeless(so_far, self.trial, self.bars):
            self.stop()


def perform_trial(
    plan: Attack,
    trial: Trial,
    bars: Bars,
    *,
    slow_ms: float,
    seed: int,
    processes: int = 1,
    around: Surroundings | None = None,
) -> Measured:
    """One trial at a constant rate, with the journeys and settings of ``plan``."""
    around = around or Surroundings()
    under_way = _UnderWay(trial, bars, slow_ms, around)
    pace = Constant(trial.users_per_s, trial.seconds)
    now = replace(plan, pace=pace, crowd=0, seed=seed, start_at=time.time() + START_IN_S)
    result = attack_many(now, processes, under_way.take, under_way.hold)
    found = measured_from(trial, result, slow_ms)
    why = under_way.why or around.why_stop()
    return found if why is None else replace(found, stopped=why)


def settle(plan: Attack, calm_s: float, why_stop: Callable[[], str | None]) -> float:
    """Wait until a lone visitor's journey is calm again (while calm is unknown: until there is an
    answer at all); how long that took, in seconds."""
    begun = time.monotonic()
    limit_s = SETTLED_RATIO * calm_s + TICK_MS / 1000.0 if calm_s else math.inf
    seconds = max(LONE_S, 3.0 * calm_s)
    patience_s = SETTLE_S_MAX if calm_s else SETTLE_UNKNOWN_S_MAX
    while (took := time.monotonic() - begun) < patience_s and why_stop() is None:
        lone = replace(plan, pace=Constant(0.0, seconds), crowd=1, start_at=time.time() + LONE_IN_S)
        served = attack_many(lone, 1).tally.total("served")
        if served and seconds / served <= limit_s:
            break
    return took


def drive(steps: Generator[Trial, Measured, Knee], perform: Callable[[Trial], Measured]) -> Knee:
    """Perform what a search yields until it returns."""
    trial = next(steps)
    while True:
        try:
            trial = steps.send(perform(trial))
        except StopIteration as end:
            knee: Knee = end.value
            return knee


def find_knee(
    plan: Attack,
    bars: Bars,
    *,
    slow_ms: float,
    processes: int = 1,
    around: Surroundings | None = None,
) -> Knee:
    """Search the knee of the site with the journeys and settings of ``plan``; its pace is not used.

    A stopped search abstains. Blocks for as long as the search takes.
    """
    around = around or Surroundings()
    seed = plan.seed

    def perform(trial: Trial) -> Measured:
        nonlocal seed
        seed += 1
        measured = perform_trial(
            plan, trial, bars, slow_ms=slow_ms, seed=seed, processes=processes, around=around
        )
        around.on_trial(trial, measured)
        if measured.stopped is None and not held(
            measured, bars, trial.calm_journey_s or measured.journey_s
        ):
            settle(plan, trial.calm_journey_s, around.why_stop)
        return measured

    return drive(search(bars), perform)


def levelled(knee: Knee, levels: Levels) -> Knee:
    """The knee with the levels of each trial, which may be had only after it."""

    def of(trial: Measured) -> Measured:
        begin = trial.started_at + min(SETTLE_IN_S, trial.seconds / 2.0)
        found = levels(begin, trial.started_at + trial.seconds + SETTLE_IN_S / 2.0)
        return replace(trial, levels=MappingProxyType(dict(found)))

    return replace(knee, trials=tuple(of(trial) for trial in knee.trials))
