from __future__ import annotations

import pytest

from premortem.load.safety import StopRules, all_loopback, stop_reason
from premortem.load.stats import Second

RULES = StopRules()


def seconds(*failed: int, of: int = 10) -> list[Second]:
    return [Second(s, served=of - f, failed=f) for s, f in enumerate(failed)]


def test_a_site_that_fails_most_users_for_long_enough_ends_the_run() -> None:
    assert stop_reason(seconds(6, 6, 6, 6, 6), [], RULES) == "60 % of the users failed for 5 s"


@pytest.mark.parametrize(
    "rows",
    [
        seconds(6, 6, 6, 6),
        seconds(5, 5, 5, 5, 5),
        seconds(10, 10, 4, 10, 10),
        seconds(1, 1, 1, 1, 1, of=1),
        [],
    ],
    ids=["not yet", "half is not most", "a good second between", "too few users", "nobody"],
)
def test_less_than_that_does_not(rows: list[Second]) -> None:
    assert stop_reason(rows, [], RULES) is None


def test_refusing_politely_is_no_failure() -> None:
    rows = [Second(s, served=1, refused=99) for s in range(5)]
    assert stop_reason(rows, [], RULES) is None


def test_the_ledger_ends_a_run_that_harms_others() -> None:
    named = ["connection_exhaustion"] * 5
    assert stop_reason([], named, RULES) == "the ledger has held connection_exhaustion for 5 s"
    assert stop_reason([], named[:4], RULES) is None
    assert stop_reason([], [*named[:3], None, "connection_exhaustion"], RULES) is None


def test_saturation_is_what_a_load_test_looks_for() -> None:
    assert stop_reason([], ["db_cpu_by_traffic"] * 10, RULES) is None


@pytest.mark.parametrize(
    ("addresses", "own"),
    [
        (["127.0.0.1"], True),
        (["127.8.9.1", "::1"], True),
        (["127.0.0.1", "10.0.0.1"], False),
        (["fe80::1%eth0"], False),
        ([], False),
    ],
)
def test_only_loopback_is_ones_own_without_a_word(addresses: list[str], own: bool) -> None:
    assert all_loopback(addresses) is own
