"""Two sides compared: documents, stretches, refusals, the series of knees."""

from __future__ import annotations

import pytest

from premortem.app.load_compare import Plan, compared, knee_series, sides_of_files, spoken
from premortem.load.compare import NotComparable
from premortem.load.outputs.document import BadResult

PLAN = Plan("capacity", 4, 5.0, 20.0, 16, 0.05, 1)


def document(
    served: int, pace: str = "Constant(20)", invalid: str | None = None
) -> dict[str, object]:
    rows = [
        {"second": s, "served": served + s % 3, "p50_ms": 10.0 + s % 3, "p99_ms": 20.0}
        for s in range(41)
    ]
    return {
        "site": "shop", "conditions": {"pace": pace}, "invalid": invalid, "seconds": 41.0,
        "rows": rows, "final": {"served": served * 41, "response_ms": {"p50": 10.0}},
    }  # fmt: skip


def test_two_saved_runs_are_compared_stretch_by_stretch() -> None:
    sides = sides_of_files([document(400)], [document(320)], "capacity")
    assert len(sides.baseline) == len(sides.candidate) == 8
    assert "stretches" in sides.note
    found = compared(sides, PLAN)
    assert found.verdict == "worse"
    assert "worse: capacity -20.0%" in spoken(found, PLAN)
    assert "p50 +" not in spoken(found, PLAN)


def test_four_files_a_side_are_four_values() -> None:
    sides = sides_of_files(
        [document(400 + i) for i in range(4)], [document(400 + i) for i in range(4)], "capacity"
    )
    assert sides.baseline == (400.0, 401.0, 402.0, 403.0) and not sides.note


def test_apples_and_pears_are_refused_with_what_differs() -> None:
    with pytest.raises(NotComparable, match="pace: 'Constant\\(20\\)' against 'Constant\\(30\\)'"):
        sides_of_files([document(400)], [document(320, "Constant(30)")], "capacity")


def test_a_run_that_is_not_to_be_believed_is_not_compared() -> None:
    with pytest.raises(BadResult, match="invalid: late"):
        sides_of_files([document(400)], [document(320, invalid="late")], "capacity")


def test_percentiles_are_not_pooled() -> None:
    with pytest.raises(BadResult, match="not p95"):
        sides_of_files([document(400)], [document(320)], "p95")


def test_the_series_holds_what_was_searched_under_the_newest_conditions() -> None:
    def search(value: float | None, hashed: str) -> dict[str, object]:
        return {"kind": "search", "comparability": hashed, "knee": {"users_per_s": value}}

    runs = [(float(i), search(400.0 + i % 3, "a")) for i in range(8)]
    runs += [(8.0, search(100.0, "other")), (9.0, {"kind": "run"}), (9.5, search(None, "a"))]
    runs += [(10.0 + i, search(320.0 + i % 3, "a")) for i in range(8)]
    series, changed = knee_series(runs)
    assert len(series) == 16
    assert changed == (8,)
    assert knee_series([]) == ([], ())
