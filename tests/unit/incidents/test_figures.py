"""Numbers are stated with their unit, and only those the record holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.incidents.figures import Figure, facts, fill, numbers_in, unsupported_numbers
from premortem.incidents.record import Record

BARE = Record("protected", 1_677_668_400.0, result={"named_s": 5.5})


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.924, "92.4 %"), (0.9996, "99.96 %"), (0.00004, "0.004 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, shown: str) -> None:
    assert str(Figure(share, "%", "")) == shown


@given(st.floats(0, 1e7), st.sampled_from(["s", "users", "requests/s", "ms", "times"]))
def test_what_a_figure_shows_is_read_back_whole(value: float, unit: str) -> None:
    assert len(numbers_in(str(Figure(value, unit, "")))) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-12.0 s and +4.2 s", ["-12.0 s", "4.2 s"]),
        ("2023-03-01, 11:00:04 to 11:05", ["2023-03-01", "11:00:04", "11:05"]),
        ("Sev-1, H2, p99, v1.2.3", []),
        ("one <!-- 12 users --> 5 users", ["5 users"]),
        ("83.4 requests/s, not 83 requests", ["83.4 requests/s", "83 requests"]),
        ("7.", ["7"]),
    ],
)
def test_numbers_in(text: str, found: list[str]) -> None:
    assert numbers_in(text) == found


def test_a_number_with_another_unit_is_another_number() -> None:
    assert unsupported_numbers("named after 5.5 s", BARE) == []
    assert unsupported_numbers("named after 5.5 minutes", BARE) == ["5.5 minutes"]
    assert unsupported_numbers("named after 5.6 s", BARE) == ["5.6 s"]


def test_a_sentence_that_lacks_a_figure_is_not_written() -> None:
    assert fill("named at {named_s}", facts(BARE)) == "named at 5.5 s"
    assert fill("named at {named_s}, {knee_rps}", facts(BARE)) == ""


@pytest.mark.parametrize("value", [None, "5", True, float("nan"), float("inf")])
def test_what_is_not_a_number_is_no_figure(value: object) -> None:
    assert "named_s" not in facts(Record("protected", 0.0, result={"named_s": value}))
