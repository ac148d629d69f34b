from __future__ import annotations

import pytest

from premortem.load.bars import BadBar, judge, parse_bar
from premortem.load.stats import Arrived, Second, Tally


def tally_of(times_ms: list[list[int]], failed: int = 0) -> Tally:
    """A second for each list of answers; those who failed all came and went in the first."""
    tally = Tally()
    for second, answers in enumerate(times_ms):
        row = Second(second, offered=len(answers), served=len(answers))
        row.failed = failed if second == 0 else 0
        for ms in answers:
            row.names["page"].record(ms * 1000)
        tally.close(row)
        tally.arrived[second] = Arrived(
            second, len(answers) + row.failed, len(answers), 0, row.failed
        )
    return tally


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("p99<300ms", 300.0),
        ("p99 < 0.3 s", 300.0),
        ("p99.9<=1s", 1000.0),
        ("failed<0.1%", 0.001),
        ("served>99%", 0.99),
        ("served/s>200", 200.0),
        ("served/s>200/s", 200.0),
        ("max<2s", 2000.0),
    ],
)
def test_a_bar_is_read_with_its_unit(text: str, limit: float) -> None:
    assert parse_bar(text).limit == pytest.approx(limit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99<300",
        "p99<300%",
        "failed<0.1",
        "failed<1ms",
        "p100<1s",
        "fast",
        "p99<300ms over 0s",
    ],
)
def test_a_bar_that_cannot_be_read_says_how_to_write_it(text: str) -> None:
    with pytest.raises(BadBar, match="bar"):
        parse_bar(text)


def test_a_percentile_is_held_against_the_whole_run() -> None:
    tally = tally_of([[10] * 990 + [500] * 10])
    assert judge(parse_bar("p99<300ms"), tally, 1.0).held
    tally = tally_of([[10] * 985 + [500] * 15])
    judged = judge(parse_bar("p99<300ms"), tally, 1.0)
    assert not judged.held and judged.value == pytest.approx(500, rel=0.01)


def test_a_tail_of_too_few_answers_says_so() -> None:
    assert "p99 needs 1000" in judge(parse_bar("p99<300ms"), tally_of([[10] * 100]), 1.0).note
    assert judge(parse_bar("p99<300ms"), tally_of([[10] * 1000]), 1.0).note == ""


def test_users_who_never_came_back_failed() -> None:
    tally = tally_of([[10] * 98], failed=1)
    tally.arrived[0].offered += 1
    tally.arrived[0].unfinished = 1
    judged = judge(parse_bar("failed<1%"), tally, 1.0)
    assert judged.value == pytest.approx(0.02) and not judged.held


def test_a_bad_half_minute_cannot_hide_in_a_calm_run() -> None:
    tally = tally_of([[10] * 10] * 30 + [[900] * 10] * 3 + [[10] * 10] * 67)
    assert judge(parse_bar("p95<300ms"), tally, 100.0).held
    judged = judge(parse_bar("p95<300ms over 5s"), tally, 100.0)
    assert not judged.held and judged.second is not None and 26 <= judged.second <= 32


def test_windows_of_a_lower_bound_look_for_the_lowest() -> None:
    tally = tally_of([[10] * 10] * 5 + [[10] * 2] * 2 + [[10] * 10] * 5)
    judged = judge(parse_bar("served/s>5 over 2s"), tally, 12.0)
    assert judged.value == pytest.approx(2.0) and judged.second == 5 and not judged.held


def test_a_run_that_nobody_answered_keeps_no_promise() -> None:
    for text in ("p99<300ms", "failed<1%", "p99<300ms over 1s", "served/s>1"):
        assert not judge(parse_bar(text), tally_of([[]]), 1.0).held


def test_a_run_shorter_than_the_window_keeps_no_promise_about_it() -> None:
    judged = judge(parse_bar("p99<300ms over 10s"), tally_of([[10]] * 3), 3.0)
    assert not judged.held and "shorter than 10 s" in judged.note


def test_seconds_after_the_last_arrival_belong_to_no_window() -> None:
    tally = tally_of([[10] * 10] * 3 + [[5000]])
    assert judge(parse_bar("max<1s over 1s"), tally, 3.0).held
