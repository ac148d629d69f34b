"""Blocking trees and queries without what users typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.sources._pg_sessions import blocking, session_row, without_literals

EDGES = st.dictionaries(st.integers(1, 12), st.lists(st.integers(1, 12), min_size=1, max_size=3))


def test_a_chain_and_a_crowd_lead_to_one_root() -> None:
    waits_for = {pid: [pid - 1] for pid in range(2, 13)}
    assert blocking(waits_for) == {1: frozenset(range(2, 13))}


def test_two_roots_share_a_waiter() -> None:
    assert blocking({3: [1, 2], 4: [2]}) == {1: frozenset({3}), 2: frozenset({3, 4})}


def test_a_deadlock_has_no_root() -> None:
    assert blocking({1: [2], 2: [1]}) == {}


@given(EDGES)
def test_roots_wait_for_nobody_and_block_whoever_waits_for_whom_they_block(
    waits_for: dict[int, list[int]],
) -> None:
    for root, waiters in blocking(waits_for).items():
        assert root not in waits_for
        direct = {w for w, blockers in waits_for.items() if root in blockers}
        through = {w for w, blockers in waits_for.items() if waiters & set(blockers)}
        assert waiters == direct | through


@pytest.mark.parametrize(
    ("query", "bare"),
    [
        ("select 1", "select ?"),
        ("select 'it''s', 2.5e-3", "select ?, ?"),
        (r"select E'a\'b', 3", "select ?, ?"),
        ("select $$secret$$, $t$more$t$", "select ?, ?"),
        ("update t2 set a1 = $1 where b = -5", "update t2 set a1 = $1 where b = ?"),
        ("insert into x values ('cut off in the mid", "insert into x values (?"),
        ("select /* ann@example.org */ 1 -- 4111", "select ?"),
        ("select\n   a,\tb", "select a, b"),
        ("select x'1F', n'y'", "select ?, ?"),
        ("", ""),
    ],
)
def test_literals_are_left_out(query: str, bare: str) -> None:
    assert without_literals(query) == bare


@given(st.text(alphabet="abc '$\\-/*1", max_size=60))
def test_what_stands_between_quotes_never_comes_through(text: str) -> None:
    escaped = text.replace("'", "''")
    assert "secret" not in without_literals(f"select '{escaped}secret'")


def test_a_long_query_is_cut() -> None:
    bare = without_literals("select " + "a, " * 200)
    assert len(bare) == 120
    assert bare.endswith("…")


def test_a_row_names_the_session_and_its_root() -> None:
    found = {
        "pid": 7,
        "state": "active",
        "wait": "Lock:tuple",
        "age_s": 3.0,
        "application": "shop",
        "role": "site",
        "query": "update t set a = 'x'",
        "blocked_by": [5],
    }
    assert session_row(found, root=5) == {
        "kind": "session",
        "pid": 7,
        "state": "active",
        "wait": "Lock:tuple",
        "age_s": 3.0,
        "application": "shop",
        "user": "site",
        "query": "update t set a = ?",
        "blocked_by": [5],
        "root": 5,
    }
