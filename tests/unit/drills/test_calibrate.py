"""The calibration against simulated sites whose knee is known."""

import random
from dataclasses import replace

import pytest

from premortem.drills.calibrate import (
    Calibration,
    CalibrationFailed,
    Trial,
    TrialResult,
    calibrate,
    choose_cap,
    remeasured,
)

PER_JOURNEY = 2.0


def site(knee_rps: float, best_cap: int, noise: float = 0.03, seed: int = 1):  # type: ignore[no-untyped-def]
    """A site that answers up to its knee and, below ``best_cap`` in flight, less."""
    dice = random.Random(seed)

    async def perform(trial: Trial) -> TrialResult:
        top = knee_rps * min(1.0, 0.8 + 0.2 * trial.cap / best_cap)
        offered = trial.users_per_s * PER_JOURNEY
        goodput = min(offered, top) * (1 + dice.uniform(-noise, noise))
        users = int(trial.users_per_s * trial.seconds)
        served = users if offered < top * 0.95 else int(users * min(1.0, top / offered) * 0.99)
        return TrialResult(
            trial, trial.users_per_s, goodput, int(users * PER_JOURNEY), users, served
        )

    return perform


@pytest.mark.parametrize("knee", [40.0, 95.0, 180.0, 400.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_knee_is_found_within_a_tenth(knee: float, seed: int) -> None:
    found = await calibrate(site(knee, 8, seed=seed))
    assert found.knee_rps == pytest.approx(knee, rel=0.1)
    assert found.requests_per_journey == pytest.approx(PER_JOURNEY, rel=0.05)
    assert found.knee_users_per_s == pytest.approx(found.knee_rps / found.requests_per_journey)


async def test_a_site_without_a_knee_in_reach_is_told() -> None:
    with pytest.raises(CalibrationFailed, match="still rose at 1024 users/s"):
        await calibrate(site(1e6, 8))


async def test_a_neighbour_during_the_first_trials_costs_one_more() -> None:
    calm, tried = site(80.0, 8), []

    async def disturbed(trial: Trial) -> TrialResult:
        tried.append(trial)
        result = await calm(trial)
        if trial.purpose != "calm":
            return replace(result, served=int(0.9 * result.served))
        return result

    found = await calibrate(disturbed)
    assert [t.purpose for t in tried].count("calm") == 1
    assert found.requests_per_journey == pytest.approx(PER_JOURNEY, rel=0.05)


async def test_a_site_that_never_answers_is_told() -> None:
    async def dead(trial: Trial) -> TrialResult:
        return TrialResult(trial, trial.users_per_s, 0.0, 0, 10, 0)

    with pytest.raises(CalibrationFailed):
        await calibrate(dead)


def test_the_smallest_cap_that_gives_all_is_chosen() -> None:
    def result(cap: int, rps: float) -> TrialResult:
        return TrialResult(Trial(50, cap, 4, "cap"), 50, rps, 100, 50, 25)

    assert choose_cap([result(8, 80), result(16, 100)]) == 16
    assert choose_cap([result(8, 94), result(16, 100)]) == 8


def test_the_knee_is_the_median_of_what_was_measured_beside_the_run() -> None:
    def trial(cap: int, served: int, *goodputs: float) -> TrialResult:
        return TrialResult(Trial(50, cap, 4, "knee"), 50, 0.0, 100, 50, served, goodputs)

    found = Calibration(
        90.0, 45.0, 2.0, 8, (trial(8, 25, 90, 91), trial(8, 50, 10), trial(16, 20, 300))
    )
    assert remeasured(found, [trial(8, 25, 70, 71), trial(8, 25, 80, 81)])[0] == 75.5
    assert remeasured(Calibration(90.0, 45.0, 2.0, 8, ()), []) == (90.0, 90.0, 90.0)
    assert found.plateau.users_per_s == 90.0
