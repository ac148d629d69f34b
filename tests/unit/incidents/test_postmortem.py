"""The draft: the seeds' sections, and no number the record does not hold."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from premortem.drills.report import with_result
from premortem.incidents.figures import EVENTS_MAX
from premortem.incidents.measures import measures
from premortem.incidents.postmortem import draft, unsupported_numbers
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED, Record
from premortem.incidents.sample import sample_result, sample_runs
from premortem.incidents.severity import due, severity
from premortem.model import Event

THEIRS, OURS = (with_result(run, sample_result()) for run in sample_runs())
EMPTY = Record(PROTECTED, 1_677_668_400.0)

HEADINGS = [
    "## Issue Summary",
    "## Timeline",
    "## Root Cause and Resolution",
    "## Corrective and Preventative Measures",
    "### List of tasks to address the issue",
]

ALL = pytest.mark.parametrize("record", [THEIRS, OURS, EMPTY], ids=["theirs", "ours", "empty"])


def without(record: Record, *names: str) -> Record:
    return replace(record, result={k: v for k, v in record.result.items() if k not in names})


def changed(record: Record, **figures: Any) -> Record:
    return replace(record, result={**record.result, **figures})


@ALL
def test_the_sections_are_the_seeds_in_their_order(record: Record) -> None:
    found = [line for line in draft(record).splitlines() if line.startswith("#")]
    assert found[0].startswith("# Postmortem: ")
    assert found[1:] == HEADINGS


@ALL
def test_every_number_is_in_the_record(record: Record) -> None:
    assert unsupported_numbers(draft(record), record) == []


def test_a_number_that_nobody_measured_is_found() -> None:
    forged = draft(THEIRS).replace("3.0 times", "4.0 times")
    assert set(unsupported_numbers(forged, THEIRS)) == {"4.0 times"}


def test_each_figure_is_traced_to_its_source() -> None:
    text = draft(OURS)
    assert "78.9 requests/s | surge_goodput_rps | result.surge_goodput_rps" in text
    assert text.rstrip().endswith("-->")


@pytest.mark.parametrize("name", sorted(sample_result()["runs"][0]))
def test_any_figure_may_be_missing(name: str) -> None:
    for record in (without(THEIRS, name), without(OURS, name), changed(OURS, **{name: None})):
        assert unsupported_numbers(draft(record), record) == []


def test_every_event_is_a_row_with_its_source() -> None:
    rows = [line for line in draft(THEIRS).splitlines() if re.match(r"\| [+-]\d", line)]
    timeline = rows[: len(THEIRS.events)]
    assert all(event.text in "\n".join(timeline) for event in THEIRS.events)
    assert "| +30.0 s | 11:00:30 | web workers are added: 3 instead of 1 |" in draft(THEIRS)


def test_the_timeline_is_bounded_and_says_so() -> None:
    many = tuple(Event(EMPTY.ramp_at + n, "note", f"line {n}") for n in range(EVENTS_MAX + 7))
    record = replace(EMPTY, events=many)
    assert "7 events more are in the record." in draft(record)
    assert f"line {EVENTS_MAX}" not in draft(record)
    assert unsupported_numbers(draft(record), record) == []


def test_no_user_failed_is_only_said_when_the_record_says_so() -> None:
    assert "no user failed" in draft(OURS)
    assert "no user failed" not in draft(THEIRS)
    assert "no user failed" not in draft(EMPTY)
    one = replace(OURS, seconds=(*OURS.seconds, {"t": 63, "offered": 1, "failed": 1}))
    assert "no user failed" not in draft(changed(one, users_failed_share_in_surge=0.0004))


def test_minutes_lost_are_stated_and_addressed() -> None:
    assert "Lost to wrong hypotheses: 85.0 minutes." in draft(THEIRS)
    assert any(m.kind == "diagnose" and "85.0 minutes" in m.why for m in measures(THEIRS))
    assert "wrong hypotheses" not in draft(OURS)


def test_what_was_ruled_out_is_stated_with_the_observation() -> None:
    for verdict in OURS.final_ledger:
        assert f"| `{verdict.cause}` | {verdict.tier} |" in draft(OURS)
        assert verdict.because in draft(OURS)


def test_a_restart_is_not_the_cause() -> None:
    assert "not why it happened" in draft(THEIRS)
    assert "restart" not in draft(OURS).split("## Root Cause")[1].split("without a restart")[0]


def test_a_restart_that_did_not_help_is_not_called_the_end() -> None:
    record = without(THEIRS, "recovered_after_restart_s")
    text = draft(record)
    assert "no recovery after the restart either" in text and "what ended it" not in text
    assert any("not even after the restart" in m.why for m in measures(record))


def test_a_remedy_that_could_not_be_applied_is_not_hidden() -> None:
    refused = Event(OURS.ramp_at + 6, "effect", "cap_pool could not be applied: refused")
    text = draft(replace(OURS, events=(*OURS.events, refused)))
    assert "Tried, but not done:\n\n- cap_pool could not be applied: refused" in text
    assert "Tried" not in draft(OURS)


def test_a_warning_after_the_first_failure_is_no_warning() -> None:
    assert "so it was no warning" in draft(THEIRS)
    early = changed(OURS, first_failure_s=9.25)
    assert "6.0 s before the first user failed" in draft(early)


@pytest.mark.parametrize("record", [THEIRS, OURS])
def test_every_task_has_what_lint_asks_for(record: Record) -> None:
    found = measures(record)
    assert found
    for m in found:
        assert m.why.endswith(".") and m.task and m.owner and m.priority
        assert m.kind in {"prevent", "detect", "diagnose", "mitigate"}
        assert m.verified_by.startswith("`premortem ")
    assert draft(record).count(f"| {due(record)} |") == len(found)


def test_measures_follow_from_the_record() -> None:
    tasks = " ".join(m.task for m in measures(OURS))
    assert "at 8, which calibration found" in tasks
    assert "Page on `db.wait.cpu`" in tasks
    assert measures(EMPTY) == ()


def test_workers_that_helped_are_no_lesson() -> None:
    rows = tuple({**r, "served": r["offered"] if r["t"] >= 30 else 0} for r in THEIRS.seconds)
    helped = replace(THEIRS, seconds=rows)
    assert any("web capacity" in m.task for m in measures(THEIRS))
    assert not any("web capacity" in m.task for m in measures(helped))


def test_lost_writes_come_first() -> None:
    assert "acknowledged before it was safe" in measures(changed(OURS, writes_lost=3))[0].task


@pytest.mark.parametrize(
    ("share", "name", "day"),
    [
        (0.94, "Sev-1", date(2023, 3, 4)),
        (0.5, "Sev-2", date(2023, 3, 8)),
        (0.0, "Sev-3", date(2023, 3, 8)),
        (None, "Sev-2", date(2023, 3, 8)),
    ],
)
def test_the_sev_clock(share: float | None, name: str, day: date) -> None:
    record = changed(THEIRS, users_failed_share_in_surge=share)
    assert (severity(record).name, due(record)) == (name, day)


def test_hostile_text_stays_in_its_cell() -> None:
    text = "a | b\n# c <script>--> x"
    record = replace(EMPTY, events=(Event(EMPTY.ramp_at, "note", text),))
    row = next(line for line in draft(record).splitlines() if line.startswith("| +0.0 s"))
    assert row == "| +0.0 s | 11:00:00 | a \\| b # c &lt;script>--> x | note, premortem |"


def test_the_operators_run_and_ours_are_told_apart() -> None:
    assert "by the operators" in draft(THEIRS) and THEIRS.mode == AS_IT_HAPPENED
    assert "by premortem" in draft(OURS)
