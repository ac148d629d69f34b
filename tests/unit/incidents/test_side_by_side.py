"""The table of the three columns."""

from __future__ import annotations

from typing import Any

import pytest

from premortem.incidents.sample import sample_result
from premortem.incidents.side_by_side import NO_VALUE, Row, side_by_side


def rows(result: dict[str, Any]) -> dict[str, Row]:
    return {row.label: row for row in side_by_side(result)}


def test_the_seeds_figures_stand_beside_both_runs() -> None:
    table = rows(sample_result())
    assert table["Cause named"] == Row("Cause named", "minute 90", "36.0 s (minute 90)", "5.5 s")
    assert table["Users failed"][1:] == ("100 %", "94.2 %", "0 %")
    assert table["First failed user"].protected == "nobody failed"
    assert table["First warning"].as_it_happened == "8.4 s, 3.1 s after the first failure"
    assert table["First warning"].protected == "3.2 s, 2.1 s before users failed as it happened"
    assert table["Goodput in the surge"].protected == "78.9 requests/s (98.1 % of the knee)"
    assert table["Back to normal"][1:] == (
        "minute 150",
        "not before the restart; 4.0 s after it",
        "1.0 s after the surge",
    )
    assert table["Writes acknowledged / lost"].protected == "431 / 0"


def test_a_run_that_was_not_played_is_a_dash() -> None:
    result = sample_result() | {"runs": sample_result()["runs"][:1]}
    assert {row.protected for row in side_by_side(result)} == {NO_VALUE}


def test_an_empty_result_is_a_table_of_dashes() -> None:
    assert {r.as_it_happened for r in side_by_side({})} == {NO_VALUE}


@pytest.mark.parametrize("name", [n for n in sample_result()["runs"][0] if n != "mode"])
def test_every_figure_may_be_null(name: str) -> None:
    result = sample_result()
    for run in result["runs"]:
        run[name] = None
    assert len(side_by_side(result)) == len(side_by_side(sample_result()))
    assert "None" not in str(side_by_side(result))
