import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.guard.limit import Aimd, Window


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(), 38.0),
        (Window(answers=10, slow=5, in_flight_max=36), 38.0),
        (Window(answers=10, slow=6, in_flight_max=36), 32.4),
        (Window(answers=10, slow=10, in_flight_max=17), 38.0),
        (Window(answers=10, slow=10, in_flight_max=18), 32.4),
        (Window(answers=10, pool_wait_ms=20.0), 38.0),
        (Window(answers=10, pool_wait_ms=20.1), 32.4),
    ],
    ids=[
        "idle grows",
        "half slow is no majority",
        "mostly slow",
        "slow but little in flight",
        "slow and half the limit in use",
        "pool wait at the bound",
        "pool wait past the bound",
    ],
)
def test_one_window(window: Window, expected: float) -> None:
    assert Aimd(cap=40).after(36.0, window) == pytest.approx(expected)


windows = st.builds(
    Window,
    answers=st.integers(0, 500),
    slow=st.integers(0, 500),
    in_flight_max=st.integers(0, 500),
    pool_wait_ms=st.floats(0, 1e4),
)


@given(st.integers(1, 1000), st.lists(windows, max_size=60))
def test_never_above_the_cap_nor_below_the_floor(cap: int, seen: list[Window]) -> None:
    aimd, limit = Aimd(cap), float(cap)
    for window in seen:
        limit = aimd.after(limit, window)
        assert max(1.0, cap / 4) <= limit <= cap


@given(st.integers(1, 1000))
def test_ramps_back_from_the_floor_within_twenty_windows_and_in_steps(cap: int) -> None:
    aimd = Aimd(cap)
    limit, steps = aimd.within(0.0), 0
    while limit < cap:
        after = aimd.after(limit, Window(answers=20, in_flight_max=int(limit)))
        assert limit < after <= limit + max(1.0, cap / 20) + 1e-9
        limit, steps = after, steps + 1
    assert steps <= 20


def test_keeps_shrinking_to_the_floor_while_overloaded() -> None:
    aimd, limit = Aimd(cap=44), 44.0
    for _ in range(40):
        limit = aimd.after(limit, Window(answers=9, slow=9, in_flight_max=44))
    assert limit == 11.0
