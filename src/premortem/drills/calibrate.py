"""Find this machine's knee: raise the arrival rate until goodput stops rising.

Three stages, each a few short runs of the same users the drill plays: double the rate until
goodput no longer follows (a bracket); try in-flight caps at twice that rate (the cap); climb in
small steps with that cap (the knee). The choice is pure; ``calibrate`` performs the trials.

A shared machine drifts: the same site was measured between 82 and 131 requests/s within minutes.
So the drill measures the plateau again right before and right after the protected run, and
``remeasured`` takes the median over every second of the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = [
    "Calibration",
    "CalibrationFailed",
    "Trial",
    "TrialResult",
    "calibrate",
    "choose_cap",
    "knee",
    "remeasured",
]

BRACKET_USERS_PER_S = (16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
CAPS = (8, 16)
"""For a database with one core. The knee was measured at 4 × cores for reads and 16 × for writes;
below 8 a core idles between two requests (0.90 to 0.97 busy at 4, 0.98 at 8)."""
STEP_SHARES = (0.8, 1.0, 1.3, 1.6)
CALM_SHARES = (0.3, 0.2, 0.1)
"""Tried in turn when no trial before served its users: well below the knee all are served."""
CAP_RISE = 1.1
"""A larger cap must bring 10 %: less is noise, and it costs waiting (twice the answer's time)."""
PLATEAU_SHARE = 2.0
"""Of the knee's users: well past it, where goodput no longer depends on what is offered."""
PLATEAU_S = 10


class CalibrationFailed(RuntimeError):
    """No knee was found: says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One short run to perform: users per second, in-flight cap, seconds."""

    users_per_s: float
    cap: int
    seconds: int
    purpose: str


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial brought."""

    trial: Trial
    offered_users_per_s: float
    goodput_rps: float
    """Median over its seconds, the first left out, of requests answered in time."""
    requests: int
    users: int
    served: int
    goodputs: tuple[float, ...] = ()
    """Requests answered in time, second by second, the first left out."""

    @property
    def untroubled(self) -> bool:
        """Nearly every user was served: only then do requests ÷ users say how long a journey is.
        One in twenty who was not changes that by a twentieth at most."""
        return self.users > 0 and self.served >= 0.95 * self.users


@dataclass(frozen=True, slots=True)
class Calibration:
    """What this machine can do."""

    knee_rps: float
    knee_users_per_s: float
    requests_per_journey: float
    cap: int
    trials: tuple[TrialResult, ...]

    @property
    def plateau(self) -> Trial:
        """The trial that measures this knee again."""
        return Trial(self.knee_users_per_s * PLATEAU_SHARE, self.cap, PLATEAU_S, "plateau")


Perform = Callable[[Trial], Awaitable[TrialResult]]


async def calibrate(perform: Perform) -> Calibration:
    """Perform the trials one after the other and conclude.

    Raises :class:`CalibrationFailed` when goodput was still rising at the highest rate tried or
    no trial, not even a tenth of the knee, served its users.
    """
    done: list[TrialResult] = []

    async def run(users_per_s: float, cap: int, seconds: int, purpose: str) -> TrialResult:
        result = await perform(Trial(users_per_s, cap, seconds, purpose))
        done.append(result)
        return result

    rough = await _bracket(run)
    trials = [await run(rough * PLATEAU_SHARE, cap, 4, "cap") for cap in CAPS]
    cap = choose_cap(trials)
    for share in STEP_SHARES:
        await run(rough * share, cap, 4, "knee")
    for share in CALM_SHARES:
        if any(r.untroubled for r in done):
            break
        await run(rough * share, cap, 4, "calm")  # a neighbour took the machine meanwhile
    steps = [r for r in done if r.trial.purpose == "knee"]
    per_journey = requests_per_journey(done)
    rps = knee([*steps, next(t for t in trials if t.trial.cap == cap)])
    return Calibration(rps, rps / per_journey, per_journey, cap, tuple(done))


async def _bracket(run: Callable[[float, int, int, str], Awaitable[TrialResult]]) -> float:
    """Double the users per second until goodput follows by less than a quarter; the users per
    second that the best goodput stands for."""
    best = await run(BRACKET_USERS_PER_S[0], 8, 3, "bracket")
    for users_per_s in BRACKET_USERS_PER_S[1:]:
        now = await run(users_per_s, 8, 3, "bracket")
        if now.goodput_rps < 1.25 * best.goodput_rps:
            top = max(now.goodput_rps, best.goodput_rps)
            return best.trial.users_per_s * top / max(best.goodput_rps, 1e-9)
        best = now
    raise CalibrationFailed(
        f"goodput still rose at {best.trial.users_per_s:g} users/s "
        f"({best.goodput_rps:.0f} requests/s): this machine is faster than the drill expects, "
        "or the site answers without its database"
    )


def choose_cap(trials: Sequence[TrialResult]) -> int:
    """The smallest cap within 10 % of the best goodput: the rest only adds waiting."""
    best = max(t.goodput_rps for t in trials)
    return min(t.trial.cap for t in trials if t.goodput_rps * CAP_RISE >= best)


def knee(steps: Sequence[TrialResult]) -> float:
    """Goodput in requests per second where it stopped rising.

    The median of the steps that were offered more than they could answer (the plateau), so that
    one second of a busy neighbour does not decide; with fewer than two such steps, the best step.
    """
    plateau = [s.goodput_rps for s in steps if saturated(s)]
    return float(median(plateau)) if len(plateau) >= 2 else max(s.goodput_rps for s in steps)


def saturated(result: TrialResult) -> bool:
    """Whether a trial offered clearly more users than could be served."""
    return result.users > 1.2 * result.served


def remeasured(found: Calibration, later: Sequence[TrialResult]) -> tuple[float, float, float]:
    """The knee around the protected run in requests per second: median, lower, upper quartile.

    Over every second of the plateaus measured beside it; the calibration's own figure three times
    where there are none.
    """
    seconds = sorted(g for t in later for g in t.goodputs)
    if len(seconds) < 4:
        return found.knee_rps, found.knee_rps, found.knee_rps
    low, mid, high = quantiles(seconds, n=4)
    return mid, low, high


def requests_per_journey(results: Sequence[TrialResult]) -> float:
    """Mean requests of a journey, from the trials in which the users were served.

    Raises :class:`CalibrationFailed` when there is no such trial.
    """
    whole = [r for r in results if r.untroubled]
    users = sum(r.users for r in whole)
    if not users:
        raise CalibrationFailed("not even the smallest load was served in full: see the site's log")
    return sum(r.requests for r in whole) / users
