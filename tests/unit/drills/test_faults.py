"""The pure parts of rehearsing faults: switches, the lossy line, the score."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from premortem.drills.faults._fault import Expects, SiteKind
from premortem.drills.faults._path import LossyPath
from premortem.drills.faults._relay import Line, swapped
from premortem.drills.rehearse import Times, _pace, case_of
from premortem.drills.rehearse_score import score_case
from premortem.drills.rehearse_stack import cores_of
from premortem.drills.sites._edge import burn
from premortem.drills.sites.shop.popular import paths
from premortem.drills.sites.switches import Live, Switches, read_switches, write_switches
from premortem.drills.stack import Layout
from premortem.model import Diagnosis, Signal, State, Tier, Verdict
from premortem.pipeline import Tick

TRUTH = Expects("slow_query", "database")


def tick(now: float, cause: str | None = None, tier: Tier | None = None, **states: State) -> Tick:
    """A second in which ``cause`` was named and the ledger held ``states``."""
    tiers: dict[str, Tier] = {"slow_query": "database", "web_cpu": "web"}
    held = {**states, **({cause: "confirmed"} if cause else {})}
    ledger = tuple(
        Verdict(name, tiers.get(name, "pool"), state, "because.")  # type: ignore[arg-type]
        for name, state in held.items()
    )
    return Tick(now, (), Diagnosis(now, ledger, (), cause, tier), ())


def warned(now: float) -> Tick:
    signal = Signal("threshold", "db.wait.cpu", 5.0, 1.0, now)
    return Tick(now, (), Diagnosis(now, (), (signal,)), ())


def test_the_cause_named_for_most_seconds_is_the_named_one() -> None:
    score = score_case(
        [
            tick(103, "web_cpu", "web"),
            tick(104, "slow_query", "database"),
            tick(105, "slow_query", "database"),
        ],
        TRUTH, onset=100.0, until=120.0, first_failure=None,
    )  # fmt: skip
    assert (score.named, score.first_named, score.named_s) == ("slow_query", "web_cpu", 4.0)
    assert score.top1 and score.top3 and score.tier_right and score.tier == "database"
    assert score.wrong_confirmed == ("web_cpu",)
    assert not score.true_cause_ruled_out


def test_nothing_named_is_not_right() -> None:
    score = score_case([tick(105)], TRUTH, onset=100.0, until=120.0, first_failure=None)
    assert (score.named, score.named_s, score.tier) == (None, None, None)
    assert not (score.top1 or score.top3 or score.tier_right or score.warned_before_failure)


def test_what_was_named_before_the_fault_is_a_false_alarm_and_no_score() -> None:
    ticks = [tick(90, "slow_query", "database"), tick(105)]
    score = score_case(ticks, TRUTH, onset=100.0, until=120.0, first_failure=None)
    assert score.calm_named == ("slow_query",) and not score.top1


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        ([tick(103, "web_cpu", "web", slow_query="ruled_out"), tick(110)], True),
        ([tick(103, slow_query="ruled_out"), tick(110, slow_query="cannot_exclude")], False),
        ([tick(103), tick(110, slow_query="ruled_out")], True),
    ],
)
def test_the_truth_is_excluded_beside_another_name_or_at_the_end(
    ticks: list[Tick], expected: bool
) -> None:
    score = score_case(ticks, TRUTH, onset=100.0, until=120.0, first_failure=None)
    assert score.true_cause_ruled_out is expected


@pytest.mark.parametrize(("failed", "expected"), [(None, True), (105.0, True), (101.0, False)])
def test_a_warning_counts_when_it_comes_before_the_first_failed_user(
    failed: float | None, expected: bool
) -> None:
    score = score_case([warned(104)], TRUTH, onset=100.0, until=120.0, first_failure=failed)
    assert score.warned_s == 4.0
    assert score.warned_before_failure is expected


def test_switches_are_read_back_and_unknown_ones_ignored(tmp_path: Path) -> None:
    file = tmp_path / "switches.json"
    assert read_switches(file) == Switches()
    write_switches(file, Switches(wait_ms=300.0))
    assert read_switches(file).wait_ms == 300.0
    file.write_text(json.dumps({"burn_ms": 2.0, "of another version": 1}))
    assert read_switches(file) == Switches(burn_ms=2.0)


def test_a_live_site_sees_a_switch_turn(tmp_path: Path) -> None:
    file = tmp_path / "switches.json"
    live = Live(file)
    live.watch()
    write_switches(file, Switches(cache=False))
    deadline = time.monotonic() + 5
    while live.now.cache and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not live.now.cache


def packet(number: int) -> bytes:
    return bytes([0x45]) + bytes(11) + b"\x0a\x00\x00\x01\x0a\x00\x00\x02" + bytes([number])


def test_a_line_swaps_the_ends_and_keeps_the_rest() -> None:
    back = swapped(packet(7))
    assert back is not None
    assert (back[12:16], back[16:20], back[20:]) == (b"\x0a\0\0\x02", b"\x0a\0\0\x01", b"\x07")
    assert swapped(b"\x60" + bytes(60)) is None
    assert swapped(b"\x45") is None


def test_a_line_loses_its_share_and_delays_the_rest_in_order() -> None:
    line = Line(loss_ratio=0.2, delay_s=0.5)
    for number in range(200):
        line.take(packet(number), now=10.0)
    assert 130 < len(line.held) < 185
    assert line.due(10.4) == []
    assert line.wait_s(10.4) == pytest.approx(0.05, abs=0.05)
    assert len(line.due(11.0)) == line.count
    assert line.held == []


def test_a_path_file_is_replaced_whole(tmp_path: Path) -> None:
    LossyPath("10.0.0.2", tmp_path / "path.json").set(loss_ratio=0.1)
    assert json.loads((tmp_path / "path.json").read_text()) == {"loss_ratio": 0.1, "delay_ms": 0.0}


def test_on_two_cores_one_tier_has_a_core_without_the_users() -> None:
    plan = Layout((0,), (1,), (1,))
    assert cores_of(SiteKind(), plan) == plan
    assert cores_of(SiteKind(alone="site"), plan).clients == (0,)
    assert cores_of(SiteKind(alone="site"), Layout((0,), (1,), (2,))).clients == (2,)


def test_changing_traffic_rises_around_its_share() -> None:
    times = Times(calm_s=20, fault_s=20, after_s=0)
    (steady,), (rising,) = _pace(10.0, times, changing=False), _pace(10.0, times, changing=True)
    assert steady["rate"] == 10.0
    assert (rising["from"], rising["to"]) == (7.0, 13.0)
    assert rising["seconds"] == steady["seconds"] >= 40


def test_an_unknown_fault_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no fault is called 'x': choose one of .*web_cpu"):
        case_of("x", 1)


def test_burning_uses_the_processor() -> None:
    before = time.thread_time()
    burn(0.02)
    assert 0.02 <= time.thread_time() - before < 0.2


def test_the_popular_pages_are_few() -> None:
    assert 40 <= len(paths()) == len(set(paths())) <= 100
