"""The page, the table and the postmortem of a cluster drill say what the result holds, no more."""

from __future__ import annotations

import re
from typing import Any

import pytest

from premortem.drills.cluster_report import page, postmortem, rows
from premortem.incidents.record import Record
from premortem.model import Event, Evidence, Verdict

ZERO = 1_764_000_000.0

RESULT: dict[str, Any] = {
    "drill": "failover", "title": "The primary is killed", "what": "kill -9 <of> it.",
    "zero": "the fault", "door": "pooler", "cap": 0, "gap_s": 1.234,
    "users_offered": 200, "users_served": 199, "users_refused": 0, "users_failed": 1,
    "users_served_share": 0.995, "users_failed_share": 0.005, "users_refused_share": 0.0,
    "first_failure_s": 0.7, "attempts_failed": 12, "write_errors": 2,
    "orders_acknowledged": 40, "orders_lost": 0, "writes_acknowledged": 1500, "writes_lost": 0,
    "detected_s": 0.9, "named": [[1.9, "failover_in_progress", "database"]], "named_s": 1.9,
    "from": "node1", "to": "node3", "redundant_again_s": 6.5,
    "response_ms": {"p50": 14.0, "p99": 900.0}, "clients_valid": True, "clients_reason": None,
    "met": True,
    "bars": [{"figure": "gap_s", "text": "longest silence", "unit": "s", "most": 5.0,
              "value": 1.234, "met": True}],
}  # fmt: skip

VERDICT = Verdict(
    "failover_in_progress", "database", "confirmed", "0 members take writes.",
    (Evidence("db.cluster.primaries", 0.0, 1.0, ZERO, "0 members say so"),), "ask them", 0.98,
)  # fmt: skip

RECORD = Record(
    mode="failover",
    ramp_at=ZERO,
    seconds=tuple(
        {"t": t, "offered": 8, "served": 8 - (t == 1), "refused": 0, "failed": int(t == 1),
         "requests_ok": 17, "attempts": 20}
        for t in range(-3, 6)
    ),
    sessions=((0.0, 2.0, 8.0, 100.0), (1.0, 1.0, 9.0, 100.0)),
    events=(
        Event(ZERO, "phase", "node1 is killed", "drill", {"phase": "fault"}),
        Event(ZERO + 0.9, "signal", "a signal", data={"metric": "x"}),
        Event(ZERO + 1.9, "diagnosis", "cause named", data={"cause": "failover_in_progress"}),
    ),
    ledger=(
        (0.0, {"failover_in_progress": "ruled_out"}),
        (2.0, {"failover_in_progress": "confirmed"}),
    ),
    final_ledger=(VERDICT,),
)  # fmt: skip


def test_the_table_tells_the_figures() -> None:
    told = dict(rows(RESULT))
    assert told["longest silence between acknowledged writes"] == "1.23 s"
    assert told["  of them failed"] == "1 (0.5 %)"
    assert told["orders acknowledged / lost"] == "40 / 0"
    assert told["primary"] == "node1 → node3"
    assert told["cause named after"] == "failover_in_progress at +1.9 s"
    assert "rows taken by two servers at once" not in told
    assert "  refused politely" not in told


def test_nobody_failed_is_said() -> None:
    assert dict(rows({**RESULT, "first_failure_s": None}))["first user failed after"] == (
        "nobody failed"
    )


def test_the_postmortem_has_the_sections_of_the_seeds_in_their_order() -> None:
    heads = re.findall(r"^## (.+)$", postmortem(RESULT, RECORD), re.MULTILINE)
    assert heads == [
        "Issue Summary", "Timeline", "Root Cause and Resolution",
        "Corrective and Preventative Measures",
    ]  # fmt: skip


def test_its_timeline_keeps_what_a_person_needs() -> None:
    text = postmortem(RESULT, RECORD)
    assert "| +0.0 s |" in text
    assert "node1 is killed" in text
    assert "a signal" not in text
    assert "Nothing to mend" in text


def test_a_missed_bar_is_a_measure_with_the_command_that_closes_it() -> None:
    missed = {**RESULT["bars"][0], "value": 7.5, "met": False}
    text = postmortem({**RESULT, "bars": [missed], "met": False}, RECORD)
    assert "| longest silence | 7.50 s | 5.00 s | `premortem drill failover --cluster` |" in text


@pytest.mark.parametrize("value", [None, 12.0])
def test_a_bar_that_was_not_measured_is_said_to_be(value: float | None) -> None:
    bar = {"figure": "named_s", "text": "until named", "unit": "s", "most": 10.0,
           "value": value, "met": False}  # fmt: skip
    text = postmortem({**RESULT, "bars": [bar], "met": False}, RECORD)
    assert ("never" in text) == (value is None)


def test_a_generator_in_trouble_is_said() -> None:
    text = postmortem({**RESULT, "clients_valid": False, "clients_reason": "it was late"}, RECORD)
    assert "in trouble: it was late" in text


def test_the_page_is_whole_and_escapes() -> None:
    text = page(RESULT, RECORD)
    assert text.count("<svg") == 2
    assert "seconds from the fault" in text
    assert "start of the ramp" not in text
    assert "kill -9 &lt;of&gt; it." in text
    assert "<script" not in text


def test_a_run_without_anything_still_has_a_page() -> None:
    empty = Record(mode="failover", ramp_at=ZERO)
    bare = {k: RESULT[k] for k in ("drill", "title", "what", "zero", "door", "gap_s", "bars",
                                   "met", "clients_valid", "clients_reason")}  # fmt: skip
    assert "never" in page(bare, empty)
