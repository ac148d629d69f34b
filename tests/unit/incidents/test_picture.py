"""Axes, moments and stretches of the picture."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from premortem.incidents.picture import Mark, frame_of, marks_of, stagger, stretches
from premortem.incidents.record import PROTECTED, Record
from premortem.incidents.sample import sample_runs

THEIRS, OURS = sample_runs()


def test_one_frame_holds_both_runs() -> None:
    both, one = frame_of([THEIRS, OURS]), frame_of([THEIRS])
    assert (both.start_s, both.end_s) == (-12.0, 63.0)
    assert both.users_max >= one.users_max > 60
    assert both.sessions_max == 100.0


def test_the_moments_are_marked_in_order() -> None:
    assert [m.text for m in marks_of(OURS)] == [
        "ramp",
        "first warning",
        "cause named",
        "shed",
        "surge ends",
    ]
    assert Mark(30.0, "workers added") in marks_of(THEIRS)
    assert Mark(48.0, "restart") in marks_of(THEIRS)


def test_a_run_without_events_has_no_marks() -> None:
    assert marks_of(Record(PROTECTED, 0.0)) == ()


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(1, 20)), max_size=8))
def test_no_label_stands_on_another_or_on_its_line(spans: list[tuple[int, int]]) -> None:
    placed = sorted((float(left), float(left + width)) for left, width in spans)
    rows = stagger(placed, rows_max=8)
    for n, (_, right) in enumerate(placed):
        for m in range(n + 1, len(placed)):
            low, high = rows[m], rows[n]
            assert low is not None and high is not None
            assert placed[m][0] >= right or low < high


def test_neighbours_of_one_verdict_are_one_stretch() -> None:
    ledger = ((0.0, {"a": "suspected"}), (1.0, {"a": "suspected"}), (4.0, {"a": "confirmed"}))
    run = replace(OURS, ledger=ledger)
    assert stretches(run, "a", 9.0) == [("suspected", 0.0, 4.0), ("confirmed", 4.0, 9.0)]
    assert stretches(run, "b", 9.0) == [("cannot_exclude", 0.0, 9.0)]
    assert stretches(replace(run, ledger=()), "a", 9.0) == []
