"""Performs what a knee search asks for: trials against a real site, with its tiers sampled.

>>> from premortem.load.knee import Bars
>>> find_knee.__annotations__["bars"]
'Bars'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean
from types import MappingProxyType

from premortem.load.attack import Result, attack
from premortem.load.engine import Engine
from premortem.load.knee import Bars, Knee, Measured, Trial, search
from premortem.load.pace import Constant
from premortem.load.spec import Attack
from premortem.load.workers import attack_many

__all__ = ["Levels", "find_knee", "measured_from"]

Levels = Callable[[], Mapping[str, float]]
"""How loaded each resource was since the last call, 0 to 1 (see ``bottleneck``)."""


def measured_from(
    trial: Trial, result: Result, slow_ms: float, levels: Mapping[str, float]
) -> Measured:
    """What a trial showed: a user is in trouble who was not served, or met a request slower than
    ``slow_ms`` (counted by request, so it errs on the side of trouble)."""
    tally = result.tally
    offered, served = tally.total("offered"), tally.total("served")
    response = tally.response()
    slow = round(response.above_ratio(slow_ms) * response.total)
    during = [row for row in tally.seconds.values() if row.second < trial.seconds]
    served_per_s = sum(row.served for row in during) / max(1.0, trial.seconds)
    in_flight = [row.in_flight for row in during]
    # Little's law, as users in flight are known and their journeys are not timed one by one
    journey_s = fmean(in_flight) / served_per_s if in_flight and served_per_s else 0.0
    lost = tally.total("unfinished") + tally.total("not_started")
    own = [reason for reason in result.reasons if "had not finished" not in reason]
    return Measured(
        trial.users_per_s,
        trial.seconds,
        offered,
        served,
        min(offered, tally.total("failed") + tally.total("refused") + lost + slow),
        max(in_flight, default=0),
        served_per_s,
        journey_s,
        "; ".join(own) or None,
        MappingProxyType(dict(levels)),
    )


def find_knee(
    plan: Attack,
    bars: Bars,
    *,
    slow_ms: float,
    levels: Levels = dict,
    processes: int = 1,
    on_trial: Callable[[Trial, Measured], None] = lambda trial, measured: None,
    stop: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> Knee:
    """Search the knee of the site with the journeys and settings of ``plan``; its pace is not used.

    ``levels`` is called before (to forget) and after each trial; ``on_trial`` after each;
    ``stop`` is handed, trial by trial, what ends the run early. A stopped search abstains.
    """
    steps = search(bars)
    trial = next(steps)
    for number in range(bars.trials_max + 1):
        pace = Constant(trial.users_per_s, trial.seconds)
        now = replace(plan, pace=pace, crowd=0, seed=plan.seed + number, start_at=None)
        levels()
        result = _performed(now, processes, stop)
        measured = measured_from(trial, result, slow_ms, levels())
        on_trial(trial, measured)
        try:
            trial = steps.send(measured)
        except StopIteration as end:
            knee: Knee = end.value
            return knee
    raise AssertionError("the search is bounded by its number of trials")


def _performed(plan: Attack, processes: int, stop: Callable[[Callable[[], None]], None]) -> Result:
    if processes > 1:
        return attack_many(plan, processes, stop=stop)

    def watch(engine: Engine) -> None:
        stop(engine.stop)

    return attack(plan, stop=watch)
