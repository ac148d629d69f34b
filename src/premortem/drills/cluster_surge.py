"""The seeds' surge on a guarded site on a cluster; where they restarted, it switches over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from premortem.drills.calibrate import (
    CalibrationFailed,
    Trial,
    TrialResult,
    requests_per_journey,
)
from premortem.drills.cluster_faults import switchover
from premortem.drills.cluster_play import Plan
from premortem.drills.play import pace
from premortem.drills.scenario import timeline

__all__ = ["CAP", "SPEED_MIN_PER_S", "Knee", "quick_knee", "surge_plan"]

CAP = 8
"""Requests in flight: what the single server's calibration chose most often on two cores."""
SPEED_MIN_PER_S = 2.5
"""The seeds' 150 minutes in 60 s, as on a single server: the calm before must outlast the ten
seconds of quarantine after which it becomes the baseline."""
USERS_PER_S = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
TRIAL_S = 4
FOLLOWED = 1.25
"""Twice the users must bring a quarter more answers, else the knee is passed (as calibrate)."""

Perform = Callable[[Trial], Awaitable[TrialResult]]


@dataclass(frozen=True, slots=True)
class Knee:
    """What this cluster's site can do, measured briefly: to 20 % or so."""

    rps: float
    users_per_s: float


async def quick_knee(perform: Perform) -> Knee:
    """Double the users until answers in time follow no more. Raises ``CalibrationFailed``.

    The full calibration takes a minute more and is the drill's of the single server; here the knee
    only sets how large three times as much is.
    """
    done: list[TrialResult] = []
    for users_per_s in USERS_PER_S:
        done.append(await perform(Trial(users_per_s, CAP, TRIAL_S, "bracket")))
        if len(done) > 1 and done[-1].goodput_rps < FOLLOWED * done[-2].goodput_rps:
            rps = max(r.goodput_rps for r in done)
            return Knee(rps, rps / requests_per_journey(done))
    raise CalibrationFailed(f"answers still followed at {USERS_PER_S[-1]:g} users/s: no knee found")


def surge_plan(knee: Knee, seed: int, speed_min_per_s: float = SPEED_MIN_PER_S) -> Plan:
    """The seeds' timeline at this knee, with a switchover at the minute of their restart.

    >>> plan = surge_plan(Knee(60.0, 30.0), seed=1)
    >>> plan.calm_s, plan.fault_at_s, [s["seconds"] for s in plan.pace]
    (12.0, 48.0, [12.0, 15.0, 25.0, 24.0])
    """
    line = timeline(speed_min_per_s)
    restart = next(s for s in line.steps if s.action == "restart_database")
    return Plan(
        "surge",
        pace(line, knee.users_per_s),
        -line.start_s,
        switchover,
        fault_at_s=restart.at_s,
        cap=CAP,
        seed=seed,
    )
