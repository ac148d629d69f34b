"""What statements did between two looks."""

from __future__ import annotations

import pytest

from premortem.sources._pg_statements import Statements, statement_values


def test_growth_is_between_looks_and_the_costliest_comes_first() -> None:
    s = Statements()
    assert s.look(0.0, [1, 2], [10, 10], [100.0, 100.0], [0, 0]) == (0.0, [])
    elapsed_s, grown = s.look(5.0, [1, 2, 3], [20, 110, 1], [110.0, 300.0, 7.0], [5, 5, 1])
    assert elapsed_s == 5.0
    assert [(g.queryid, g.calls, g.ms, g.rows) for g in grown] == [
        (2, 100, 200.0, 5),
        (1, 10, 10.0, 5),
        (3, 1, 7.0, 1),
    ]
    values = statement_values(elapsed_s, grown)
    assert values["db.statements.calls_per_s"] == pytest.approx(111 / 5)
    assert values["db.statements.top_mean_ms"] == pytest.approx(2.0)
    assert values["db.statements.top_calls_per_s"] == pytest.approx(20.0)
    assert values["db.statements.top_time_share"] == pytest.approx(200 / 217)


def test_a_reset_statement_is_left_out() -> None:
    s = Statements()
    s.look(0.0, [1, 2], [10, 10], [100.0, 100.0], [0, 0])
    _, grown = s.look(1.0, [1, 2], [2, 12], [5.0, 104.0], [0, 0])
    assert [g.queryid for g in grown] == [2]


def test_our_own_statements_do_not_count() -> None:
    s = Statements()
    s.look(0.0, [], [], [], [])
    elapsed_s, grown = s.look(1.0, [1, 2], [1, 4], [900.0, 8.0], [1, 1])
    assert statement_values(elapsed_s, grown, ours={1})["db.statements.mean_ms"] == 2.0
    assert statement_values(elapsed_s, grown, ours={1, 2}) == {"db.statements.calls_per_s": 0.0}


def test_after_forgetting_nothing_is_known() -> None:
    s = Statements()
    s.look(0.0, [1], [1], [1.0], [1])
    s.forget()
    elapsed_s, grown = s.look(9.0, [1], [5], [5.0], [5])
    assert statement_values(elapsed_s, grown) == {}
