"""Figures and bars of the cluster's drills, from made-up seconds and events."""

from __future__ import annotations

from typing import Any

import pytest

from premortem.drills.calibrate import CalibrationFailed, Trial, TrialResult
from premortem.drills.cluster_faults import FAULTS
from premortem.drills.cluster_score import (
    BARS,
    causes_named,
    figures,
    goodput_rps,
    judge,
    met,
    named,
    users,
)
from premortem.drills.cluster_surge import quick_knee, surge_plan
from premortem.drills.cluster_writer import Gap, longest_gap, overlaps
from premortem.drills.trial import trial_result
from premortem.model import Event

ZERO = 1_000.0


def second(t: float, served: int, failed: int = 0, refused: int = 0) -> dict[str, float]:
    offered = served + failed + refused
    return {"t": t, "offered": offered, "served": served, "failed": failed, "refused": refused,
            "requests_ok": served * 2, "attempts": offered * 2}  # fmt: skip


def naming(at: float, cause: str | None, tier: str = "database") -> Event:
    return Event(ZERO + at, "diagnosis", "", data={"cause": cause, "tier": tier})


FINAL = {
    "attempts": 120, "requests_ok": 100, "retries": 15, "timeouts": 3, "errors": {"500": 17},
    "response_ms": {"p50": 12.0, "p99": 800.0}, "valid": True, "reason": None,
}  # fmt: skip


def test_users_count_from_zero_on() -> None:
    rows = [second(-1.0, 5, 5), second(0.0, 6, 2, 1), second(1.0, 11)]
    assert users(rows, 0.0) == {
        "users_offered": 20, "users_served": 17, "users_refused": 1, "users_failed": 2,
        "users_served_share": 0.85, "users_refused_share": 0.05, "users_failed_share": 0.1,
    }  # fmt: skip


def test_without_users_there_are_no_shares() -> None:
    assert "users_failed_share" not in users([], 0.0)


def test_a_cause_named_before_zero_does_not_count() -> None:
    events = [naming(-3.0, "failover_in_progress"), naming(1.5, "database_down"), naming(4.0, None)]
    assert causes_named(events, ZERO) == [(1.5, "database_down", "database")]
    assert named(events, ZERO, ("failover_in_progress",)) is None
    assert named(events, ZERO, (), tier="database") == 1.5
    assert named(events, ZERO, (), tier="") is None


@pytest.mark.parametrize(
    ("at", "since", "until", "seconds"),
    [
        ([9.0, 10.02, 10.04, 12.0, 12.02], 10.03, 12.1, 1.96),  # the silence around the fault
        ([9.9], 10.0, 15.0, 5.1),  # never again
        ([], 10.0, 12.5, 2.5),  # never at all
        ([9.0, 9.98, 10.0, 10.02], 10.0, 10.03, 0.02),  # none
    ],
)
def test_the_longest_silence(at: list[float], since: float, until: float, seconds: float) -> None:
    assert longest_gap(at, since, until).seconds == pytest.approx(seconds)


def test_a_silence_before_the_fault_is_another_matter() -> None:
    assert longest_gap([1.0, 8.0, 10.0, 10.5], 9.9, 10.6) == Gap(8.0, 10.0)
    assert longest_gap([1.0, 8.0, 9.9, 10.5], 9.9, 10.6) == Gap(9.9, 10.5)


def test_two_that_take_rows_at_once_are_counted() -> None:
    assert overlaps({"a": [1.0, 2.0], "b": [5.0, 6.0], "c": []}) == 0
    assert overlaps({"a": [1.0, 5.5, 7.0], "b": [5.0, 6.0], "c": []}) == 2


def made(**changed: Any) -> dict[str, Any]:
    found = figures(
        seconds=[second(-1.0, 5, 1), second(0.0, 8, 2), second(1.0, 10)],
        events=[
            Event(ZERO - 5, "signal", "an old one"),
            Event(ZERO + 0.8, "signal", "a metric"),
            naming(2.2, "failover_in_progress"),
            Event(ZERO + 1.25, "phase", "a user fails", data={"phase": "first_failure"}),
        ],
        zero=ZERO,
        fault_at=ZERO,
        gap=(ZERO + 0.1, ZERO + 1.6),
        causes=("failover_in_progress",),
        tier="",
        final=FINAL,
    )
    kept = {"orders_lost": 0, "writes_lost": 0, "write_errors": 0}
    return found | kept | changed


def test_the_figures_of_a_run() -> None:
    found = made()
    assert found["gap_s"] == 1.5
    assert found["gap_from_s"] == 0.1
    assert found["detected_s"] == 0.8
    assert found["named_s"] == 2.2
    assert found["first_failure_s"] == 1.25
    assert found["users_failed_before"] == 1
    assert found["attempts_failed"] == 20


def test_a_good_failover_meets_its_bars() -> None:
    assert met(judge("failover", made()))


@pytest.mark.parametrize(
    ("drill", "changed"),
    [
        ("failover", {"gap_s": 5.01}),
        ("failover", {"orders_lost": 1}),
        ("failover", {"writes_lost": 1}),
        ("failover", {"named_s": None}),
        ("failover", {"named_s": 10.5}),
        ("switchover", {"users_failed": 1}),
        ("switchover", {"users_failed": 0, "write_errors": 1}),
        ("etcd-down", {"users_failed": 0, "gap_s": 1.2}),
        ("partition", {"rows_by_two": 3}),
        ("partition", {}),  # without a witness nobody knows
        ("surge", {"users_failed_share": 0.02}),
    ],
)
def test_each_bar_can_be_missed(drill: str, changed: dict[str, Any]) -> None:
    assert not met(judge(drill, made(**changed)))


def test_every_drill_has_bars_and_bars_their_drill() -> None:
    assert set(BARS) == {*FAULTS, "surge"}


def test_goodput_is_of_the_stretch() -> None:
    rows = [second(0, 100), second(1, 10), second(2, 20), second(3, 30), second(4, 100)]
    assert goodput_rps(rows, 1, 4) == 40
    assert goodput_rps([], 0, 1) == 0


def brought(trial: Trial, rps: float) -> TrialResult:
    users = int(trial.users_per_s * trial.seconds)
    served = users if rps >= 2 * trial.users_per_s else users // 2
    return TrialResult(trial, trial.users_per_s, rps, int(2 * users), users, served)


async def test_the_knee_is_where_answers_stop_following() -> None:
    tried: list[float] = []

    async def perform(trial: Trial) -> TrialResult:
        tried.append(trial.users_per_s)
        return brought(trial, min(2 * trial.users_per_s, 50.0))

    knee = await quick_knee(perform)
    assert (knee.rps, knee.users_per_s) == (50.0, 25.0)
    assert tried == [8.0, 16.0, 32.0, 64.0]


async def test_a_machine_without_a_knee_says_so() -> None:
    async def perform(trial: Trial) -> TrialResult:
        return brought(trial, 2 * trial.users_per_s)

    with pytest.raises(CalibrationFailed, match="no knee"):
        await quick_knee(perform)


def test_a_trial_leaves_its_first_second_out() -> None:
    rows = [{"second": s, "requests_ok": ok} for s, ok in enumerate([99, 10, 20, 30, 99])]
    final = {"offered": 32, "requests_ok": 60, "served": 30}
    result = trial_result(Trial(8.0, 8, 4, "bracket"), rows, final)
    assert (result.goodput_rps, result.users, result.served) == (20.0, 32, 30)


async def test_where_the_seeds_restarted_the_surge_switches_over() -> None:
    plan = surge_plan(await _knee(), seed=3)
    assert plan.fault_at_s == 48.0  # minute 120 at 2.5 minutes a second
    assert plan.fault.__name__ == "switchover"
    assert max(s.get("to", s.get("rate", 0)) for s in plan.pace) == 75.0


async def _knee() -> Any:
    async def perform(trial: Trial) -> TrialResult:
        return brought(trial, min(2 * trial.users_per_s, 50.0))

    return await quick_knee(perform)
