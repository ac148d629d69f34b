from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import replace
from statistics import median

import pytest

from premortem.load.knee import Bars, Knee, Measured, Trial, held, hopeless, search, trial_seconds

Site = Callable[[Trial, random.Random], Measured]


def drive(steps: Generator[Trial, Measured, Knee], site: Site, seed: int = 1) -> Knee:
    dice = random.Random(seed)
    try:
        trial = next(steps)
        while True:
            trial = steps.send(site(trial, dice))
    except StopIteration as end:
        knee: Knee = end.value
        return knee


def queue_site(workers: int, service_s: float, patience_s: float = 1.0) -> Site:
    """Poisson users at ``workers`` servers, exponential service: M/M/c, simulated."""

    def site(trial: Trial, dice: random.Random) -> Measured:
        free = [0.0] * workers
        at_s, ends, waits, violations = 0.0, [], [], 0
        in_flight: list[float] = []
        peak = 0
        while (at_s := at_s + dice.expovariate(trial.users_per_s)) < trial.seconds:
            begin = max(at_s, heapq.heappop(free))
            end = begin + dice.expovariate(1.0 / service_s)
            heapq.heappush(free, end)
            ends.append(end)
            waits.append(end - at_s)
            violations += end - at_s > patience_s
            while in_flight and in_flight[0] <= at_s:
                heapq.heappop(in_flight)
            heapq.heappush(in_flight, end)
            peak = max(peak, len(in_flight))
        done = sum(end <= trial.seconds for end in ends)
        return Measured(
            trial.users_per_s, trial.seconds, len(ends), done, violations, peak,
            done / trial.seconds, median(waits) if waits else 0.0,
        )  # fmt: skip

    return site


@pytest.mark.parametrize(("workers", "service_s"), [(1, 0.02), (4, 0.02), (16, 0.1), (2, 0.005)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_capacity_of_a_queue_is_found_without_a_bar(
    workers: int, service_s: float, seed: int
) -> None:
    capacity = workers / service_s
    bars = Bars(violation_ratio_max=1.0)
    knee = drive(search(bars), queue_site(workers, service_s), seed)
    assert knee.users_per_s == pytest.approx(capacity, rel=0.12), knee.reason
    assert knee.low_per_s is not None and knee.high_per_s is not None
    assert knee.high_per_s / knee.low_per_s <= 1.0 + bars.precision + 1e-9


def test_a_promise_of_latency_is_broken_before_the_capacity() -> None:
    site = queue_site(1, 0.02, patience_s=0.1)
    knee = drive(search(Bars(violation_ratio_max=0.05)), site)
    # M/M/1: P(T > t) = exp(-(mu - lambda) t) = 0.05 at lambda = 50 - ln(20) / 0.1 = 20
    assert knee.users_per_s == pytest.approx(20.0, rel=0.25)


def step_site(capacity: float, journey_s: float = 0.1) -> Site:
    """Holds up to the capacity and fails a tenth of its users beyond: no chance at all."""

    def site(trial: Trial, dice: random.Random) -> Measured:
        offered = round(trial.users_per_s * trial.seconds)
        bad = -(-offered // 10) if trial.users_per_s > capacity else 0
        delivered = min(capacity, trial.users_per_s)
        return Measured(
            trial.users_per_s, trial.seconds, offered, offered - bad, bad,
            trial.users_per_s * journey_s, delivered, journey_s,
        )  # fmt: skip

    return site


@pytest.mark.parametrize("capacity", [0.9, 3.0, 47.3, 412.0, 6000.0])
def test_the_interval_holds_the_capacity(capacity: float) -> None:
    bars = Bars(precision=0.02)
    knee = drive(search(bars), step_site(capacity))
    assert knee.low_per_s is not None and knee.high_per_s is not None
    assert knee.low_per_s <= capacity < knee.high_per_s
    assert knee.high_per_s / knee.low_per_s <= 1.02 + 1e-9


def test_both_ends_were_measured_again_at_full_length() -> None:
    bars = Bars()
    knee = drive(search(bars), step_site(100.0))
    full = {t.users_per_s for t in knee.trials if t.seconds >= bars.full_s}
    assert {knee.low_per_s, knee.high_per_s} <= full


def test_it_takes_less_than_half_the_time_of_a_staircase() -> None:
    bars = Bars()
    knee = drive(search(bars), step_site(412.0))
    steps = []
    rate = bars.start_per_s
    while rate <= 412.0 * 1.05:
        steps.append(bars.full_s)
        rate *= 1.05
    assert knee.seconds < 0.5 * sum(steps)


def test_no_more_than_the_ceiling_is_offered() -> None:
    knee = drive(search(Bars(rate_max_per_s=50.0)), step_site(1e9))
    assert knee.abstained
    assert "did not bend up to the ceiling of 50/s" in knee.reason
    assert max(t.users_per_s for t in knee.trials) == 50.0


def test_a_site_that_serves_nobody_has_no_knee() -> None:
    knee = drive(search(Bars()), step_site(0.0))
    assert knee.abstained and "broken even at" in knee.reason


def test_a_generator_at_its_limit_abstains() -> None:
    def limited(trial: Trial, dice: random.Random) -> Measured:
        invalid = "send lag p99 40 ms" if trial.users_per_s > 100 else None
        return Measured(trial.users_per_s, trial.seconds, 100, 100, 0, invalid=invalid)

    knee = drive(search(Bars()), limited)
    assert knee.abstained and "generator was the limit at 128/s: send lag" in knee.reason


def test_a_site_that_gets_worse_while_it_is_measured_has_no_knee() -> None:
    seen: list[float] = []

    def fading(trial: Trial, dice: random.Random) -> Measured:
        seen.append(trial.users_per_s)
        tired = 1.0 if trial.purpose == "bracket" or len(set(seen)) == len(seen) else 0.0
        return step_site(100.0 * tired)(trial, dice)

    knee = drive(search(Bars()), fading)
    assert knee.abstained and "what held once did not hold again" in knee.reason


def test_a_site_that_bears_far_more_at_length_is_followed_there() -> None:
    def warming(trial: Trial, dice: random.Random) -> Measured:
        return step_site(1000.0 if trial.purpose == "confirm" else 100.0)(trial, dice)

    knee = drive(search(Bars()), warming)
    assert knee.low_per_s is not None and knee.high_per_s is not None
    assert knee.low_per_s <= 1000.0 < knee.high_per_s
    assert len(knee.trials) <= 20


def test_a_late_generator_may_try_again_but_not_for_ever() -> None:
    late = iter([True, False, True, True, False])

    def busy(trial: Trial, dice: random.Random) -> Measured:
        measured = step_site(100.0)(trial, dice)
        return replace(measured, invalid="late") if next(late, False) else measured

    knee = drive(search(Bars()), busy)
    assert not knee.abstained and all(t.invalid is None for t in knee.trials)


def test_a_stopped_search_says_why() -> None:
    def stopped(trial: Trial, dice: random.Random) -> Measured:
        return replace(step_site(100.0)(trial, dice), stopped="interrupted")

    knee = drive(search(Bars()), stopped)
    assert knee.abstained and "stopped at 4/s: interrupted" in knee.reason


def test_a_trial_that_cannot_hold_any_more_is_told_apart_from_one_that_may() -> None:
    trial = Trial(100.0, 25.0, "confirm", calm_journey_s=0.1)
    fine = Measured(100.0, 3.0, 300, 290, 5, in_flight_peak=20)
    assert not hopeless(fine, trial, Bars())
    assert hopeless(replace(fine, violations=26), trial, Bars())
    assert hopeless(replace(fine, in_flight_peak=200), trial, Bars())


def test_a_short_trial_that_flattered_is_corrected_at_full_length() -> None:
    def flattering(trial: Trial, dice: random.Random) -> Measured:
        return step_site(100.0 if trial.purpose == "confirm" else 110.0)(trial, dice)

    knee = drive(search(Bars()), flattering)
    assert knee.low_per_s is not None and knee.high_per_s is not None
    assert knee.low_per_s <= 100.0 < knee.high_per_s


def test_trials_are_bounded() -> None:
    knee = drive(search(Bars(trials_max=3)), step_site(412.0))
    assert knee.abstained and len(knee.trials) == 3


def test_a_trial_nobody_came_to_says_nothing_against_the_site() -> None:
    assert held(Measured(0.1, 2.0, 0, 0, 0), Bars(), 0.1)


def test_a_growing_backlog_breaks_the_promise_without_one_failure() -> None:
    fine = Measured(100, 30, 3000, 2950, 0, in_flight_peak=50)
    drowning = Measured(100, 30, 3000, 2700, 0, in_flight_peak=300)
    assert held(fine, Bars(), 0.1)
    assert not held(drowning, Bars(), 0.1)


def test_trial_length_is_bounded() -> None:
    bars = Bars()
    assert trial_seconds(1e6, 0.5, bars) == bars.short_s
    assert trial_seconds(0.01, 0.01, bars) == bars.full_s_max
