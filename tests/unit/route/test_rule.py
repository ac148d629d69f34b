"""Where to read: never behind one's own write, never staler than allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.route import Replica, Token, choose, parse_lsn
from premortem.route.rule import UNKNOWN, read_probe

lsn = st.integers(0, 2**63)


@given(lsn)
def test_a_token_survives_being_text(value: int) -> None:
    assert parse_lsn(str(Token(value))) == Token(value)


@given(lsn, lsn)
def test_tokens_order_as_positions_do(a: int, b: int) -> None:
    assert (Token(a) < Token(b)) is (a < b)


@given(
    replayed=lsn,
    after=lsn,
    stale_s=st.none() | st.floats(0, 100),
    bound_s=st.floats(0, 100),
    waited_s=st.floats(0, 1),
)
def test_a_replica_is_chosen_only_when_it_may_answer(
    replayed: int, after: int, stale_s: float | None, bound_s: float, waited_s: float
) -> None:
    seen = Replica(True, Token(replayed), stale_s)
    choice = choose(seen, stale_s_max=bound_s, after=Token(after), waited_s=waited_s, wait_s=0.1)
    fresh = bound_s > 0 and stale_s is not None and stale_s <= bound_s
    assert (choice == "replica") is (fresh and replayed >= after)
    if choice == "wait":
        assert waited_s < 0.1


def test_a_promoted_replica_is_as_fresh_as_can_be() -> None:
    seen = Replica(False)
    assert choose(seen, stale_s_max=1, after=Token(9), waited_s=0, wait_s=0.1) == "replica"


def test_after_a_write_at_an_unknown_position_nothing_is_waited_for() -> None:
    seen = Replica(True, Token(9), 0.0)
    assert choose(seen, stale_s_max=1, after=UNKNOWN, waited_s=0, wait_s=0.1) == "primary"


def test_no_answer_means_the_primary() -> None:
    assert choose(None, stale_s_max=1, waited_s=0, wait_s=0.1) == "primary"


def test_the_probe_is_read() -> None:
    assert read_probe((True, "0/10", 1.5)) == Replica(True, Token(16), 1.5)
    assert read_probe((True, None, None)) == Replica(True, Token(), None)
    assert read_probe(None) is None


@pytest.mark.parametrize("text", ["", "12", "x/y", "1/"])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_lsn(text)
