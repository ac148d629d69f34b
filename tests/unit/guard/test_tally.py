import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.guard.tally import SAMPLES_MAX, Repeats, Tally


def test_counts_the_last_whole_second_only() -> None:
    tally = Tally()
    for tenth in range(30):
        tally.at(tenth / 10 + 0.01).requests += 1
    tally.at(3.01).requests += 1  # a tenth that is not over yet does not count
    assert tally.values(3.05)["web.requests_per_s"] == 10
    assert tally.values(3.55)["web.requests_per_s"] == 6
    assert tally.values(9.0)["web.requests_per_s"] == 0


def test_every_value_in_its_unit() -> None:
    tally = Tally()
    bucket = tally.at(10.0)
    bucket.requests, bucket.served, bucket.errors = 10, 4, 1
    bucket.refused, bucket.abandoned, bucket.repeats, bucket.lag_max_s = 3, 2, 5, 0.025
    tally.waited(10.0, 0.010)
    tally.waited(10.0, 0.030)
    for took_s in (0.1, 0.2, 9.0):
        tally.responded(10.0, took_s)
    tally.downstream(10.0, 0.5)
    assert tally.values(10.2) == pytest.approx(
        {
            "web.requests_per_s": 10.0,
            "web.served_per_s": 4.0,
            "web.errors_per_s": 1.0,
            "web.refused_per_s": 3.0,
            "web.queue_wait_ms": 20.0,
            "web.loop_lag_ms": 25.0,
            "web.repeat_ratio": 0.5,
            "web.abandoned_ratio": 0.2,
            "web.response_ms": 200.0,
            "web.downstream_ms": 500.0,
        }
    )


def test_without_samples_there_is_no_median() -> None:
    assert "web.response_ms" not in Tally().values(1.0)


def test_samples_are_bounded() -> None:
    tally = Tally()
    for _ in range(SAMPLES_MAX * 2):
        tally.responded(1.0, 0.1)
        tally.downstream(1.0, 0.1)
    assert len(tally.at(1.0).responses_s) == len(tally.at(1.0).downstream_s) == SAMPLES_MAX


@pytest.mark.parametrize(("gap_s", "repeated"), [(0.0, True), (5.0, True), (5.1, False)])
def test_repeats_within_five_seconds(gap_s: float, repeated: bool) -> None:
    repeats = Repeats()
    repeats.seen("a", 103.0)
    assert not repeats.seen("b", 103.0)
    assert repeats.seen("a", 103.0 + gap_s) is repeated


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 4)), max_size=60))
def test_repeats_agree_with_an_unbounded_memory(asked: list[tuple[int, float]]) -> None:
    repeats, last, now = Repeats(), dict[int, float](), 50.0
    for what, gap_s in asked:
        now += gap_s
        assert repeats.seen(what, now) == (what in last and now - last[what] <= 5.0)
        last[what] = now


def test_repeats_are_bounded_whatever_comes() -> None:
    repeats = Repeats(clients_max=100)
    for client in range(1000):
        repeats.seen(client, 1.0)
    assert len(repeats) <= 200
