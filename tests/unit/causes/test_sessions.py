"""A leak creeps; pools and bursts come in one step."""

from __future__ import annotations

import pytest

from premortem.causes._sessions import climbs, crept, unused
from premortem.model import History, Metric, Reading

METRICS = [
    Metric("pool.in_use", "connections", "Handed out."),
    Metric("db.sessions.active", "sessions", "Active."),
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 10, 11, 13, 15, 17, 19, 21, 23], True),
        ([10, 10, 10, 97, 97, 97, 97, 97, 97], False),  # a step makes two levels
        ([10, 11, 10, 11, 10, 11, 10, 11, 10], False),
        ([10, 20, 30], False),  # too few to have thirds
    ],
)
def test_climbing_is_three_rising_levels(values: list[float], expected: bool) -> None:
    assert climbs(values) is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 14, 18, 22, 26], True),
        ([10, 55, 95, 95, 95], False),  # a pool opens within two seconds
        ([12, 10, 14, 12, 18, 22, 21, 26, 31], True),  # with noise on the way
        ([10, 10, 10], False),
        ([30, 20, 10], False),
        ([], False),
    ],
)
def test_creeping_has_no_second_that_brought_it_all(values: list[float], expected: bool) -> None:
    assert crept(values) is expected


def test_unused_pairs_two_sources_by_time() -> None:
    history = History(METRICS)
    for second in range(5):
        history.observe(Reading("pool", "site", 100.0 + second, {"pool.in_use": 2.0 + second}))
        history.observe(Reading("pg", "db", 100.3 + second, {"db.sessions.active": 1.0}))
    history.advance(105.0)
    assert unused(history, 60.0) == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_silent_database_pairs_with_nothing() -> None:
    history = History(METRICS)
    history.observe(Reading("pg", "db", 100.0, {"db.sessions.active": 1.0}))
    history.observe(Reading("pool", "site", 110.0, {"pool.in_use": 8.0}))
    history.advance(110.0)
    assert unused(history, 60.0) == []
