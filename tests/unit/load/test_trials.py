from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import pytest

from premortem.load.attack import Result, peak_cpu, reasons_against
from premortem.load.journey import Choice, Plain
from premortem.load.knee import Knee, Measured, Trial
from premortem.load.pace import Constant
from premortem.load.spec import Attack
from premortem.load.stats import Arrived, Second, Tally
from premortem.load.trials import drive as perform_all
from premortem.load.trials import levelled, measured_from

PLAN = Attack("http://h", (Choice(Plain("/")),), Constant(10, 2))


def tally_of(*, served: int = 18, failed: int = 1, refused: int = 1, slow: int = 2) -> Tally:
    tally = Tally()
    for second in (0, 1):
        row = Second(second, served=served // 2, in_flight=4)
        for number in range(served // 2):
            row.names["a"].record(900_000 if number < slow / 2 else 10_000)
        tally.close(row)
    offered = served + failed + refused
    tally.arrived[0] = Arrived(0, offered, served, refused, failed)
    return tally


def result_of(tally: Tally, *reasons: str) -> Result:
    return Result(tally, 0.0, 2.0, 0.1, 0.1, reasons)


def test_a_trial_counts_all_who_met_trouble() -> None:
    trial = Trial(10.0, 2.0, "bracket")
    found = measured_from(trial, result_of(tally_of()), 300.0)
    assert (found.offered, found.served, found.violations) == (20, 18, 4)
    assert (found.served_per_s, found.in_flight_peak, found.invalid) == (9.0, 4, None)
    assert found.journey_s == pytest.approx(4 / 9)
    # Little: 18 requests, 2 of 900 ms and 16 of 10 ms, in 2 s
    assert found.requests_in_flight == pytest.approx(0.98, rel=0.01)


def test_a_trial_that_was_ended_early_is_judged_by_what_it_saw() -> None:
    tally = tally_of()
    tally.arrived[0].unfinished = 7
    early = Result(tally, 0.0, 2.0, 0.1, 0.1, ("the run was stopped",), frozenset(), stopped=True)
    found = measured_from(Trial(10.0, 20.0, "confirm"), early, 300.0)
    assert (found.seconds, found.violations, found.invalid) == (2.0, 4, None)


def test_levels_are_those_of_the_trial_without_its_first_second() -> None:
    asked: list[tuple[float, float]] = []

    def levels(start: float, end: float) -> dict[str, float]:
        asked.append((start, end))
        return {"db.cpu": 0.4}

    trial = replace(
        measured_from(Trial(10.0, 2.0, "bracket"), result_of(tally_of()), 300.0), started_at=100.0
    )
    knee = levelled(Knee(None, None, None, (trial,), ""), levels)
    assert asked == [(101.0, 102.5)]
    assert knee.trials[0].levels == {"db.cpu": 0.4}


def test_what_a_search_yields_is_performed_until_it_returns() -> None:
    def steps() -> Generator[Trial, Measured, Knee]:
        first = yield Trial(1.0, 2.0, "bracket")
        second = yield Trial(2.0, 2.0, "bracket")
        return Knee(None, None, None, (first, second), "done")

    knee = perform_all(steps(), lambda trial: Measured(trial.users_per_s, 2.0, 2, 2, 0))
    assert [t.users_per_s for t in knee.trials] == [1.0, 2.0]


def test_users_who_never_finish_are_the_sites_trouble_not_the_generators() -> None:
    trial = Trial(10.0, 2.0, "bracket")
    unfinished = result_of(tally_of(), "3 users had not finished when the run ended")
    assert measured_from(trial, unfinished, 300.0).invalid is None
    late = result_of(tally_of(), "the generator was late: send lag p99 20 ms, bound 10 ms")
    assert measured_from(trial, late, 300.0).invalid is not None


def test_the_reasons_against_a_run() -> None:
    tally = tally_of()
    assert reasons_against(PLAN, tally, set(), 0.5, stopped=False) == ()
    tally.lag.record(50_000)
    tally.arrived[0].unfinished = 2
    told = reasons_against(PLAN, tally, {"EMFILE"}, 0.95, stopped=True)
    words = ("ran out of EMFILE", "late: send lag p99 50", "CPU 0.95", "2 users had not", "stopped")
    assert all(word in reason for word, reason in zip(words, told, strict=True))


def test_the_peak_is_that_of_three_seconds() -> None:
    tally = Tally()
    for second, ratio in enumerate((0.1, 0.9, 0.9, 0.6, 0.1)):
        tally.seconds[second] = Second(second, cpu_ratio=ratio)
    assert peak_cpu(tally) == pytest.approx(0.8)
    assert peak_cpu(Tally()) == 0.0
