from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.load.pace import (
    BadPace,
    Constant,
    Pacer,
    Ramp,
    Replay,
    Sine,
    Steps,
    arrivals,
    pace_from,
)

SHAPES = {
    "constant": Constant(30.0, 20.0),
    "ramp": Ramp(5.0, 60.0, 20.0),
    "ramp down": Ramp(60.0, 0.0, 20.0),
    "sine": Sine(30.0, 25.0, 7.0, 20.0),
    "steps": Steps([10.0, 0.0, 50.0, 20.0], 5.0),
    "replay": Replay([100, 20, 300, 0, 80], 4.0),
    "chain": Constant(20.0, 5.0).then(Ramp(20.0, 60.0, 10.0)).then(Constant(10.0, 5.0)),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_count_is_the_integral_of_rate(shape: Pacer) -> None:
    step_s = 0.001
    summed = math.fsum(shape.rate((i + 0.5) * step_s) * step_s for i in range(20_000))
    assert shape.count(20.0) == pytest.approx(summed, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_no_moment_is_above_the_peak(shape: Pacer) -> None:
    assert all(shape.rate(i / 50) <= shape.peak() + 1e-9 for i in range(1000))


@pytest.mark.parametrize("kind", ["poisson", "even"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_arrivals_follow_the_shape(shape: Pacer, kind: str) -> None:
    instants = list(arrivals(shape, 7, kind))  # type: ignore[arg-type]
    assert instants == sorted(instants)
    assert all(0.0 <= at_s < 20.0 for at_s in instants)
    for until_s in (5.0, 10.0, 20.0):
        expected = shape.count(until_s)
        seen = sum(at_s < until_s for at_s in instants)
        # four standard deviations of a Poisson count; the metronome is exact to one user
        slack = 1.0 if kind == "even" else 4.0 * math.sqrt(expected) + 1.0
        assert abs(seen - expected) <= slack


def test_poisson_gaps_are_exponential() -> None:
    instants = list(arrivals(Constant(1000.0, 20.0), 3))
    gaps = [b - a for a, b in itertools.pairwise(instants)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.001, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.03)  # an exponential's deviation is its mean
    assert sum(gap > mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.02)


def test_even_arrivals_keep_time_across_parts() -> None:
    shape = Constant(4.0, 0.6).then(Constant(4.0, 0.6))
    assert list(arrivals(shape, kind="even")) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])


def test_the_same_seed_gives_the_same_run() -> None:
    shape = SHAPES["chain"]
    assert list(arrivals(shape, 5)) == list(arrivals(shape, 5))
    assert list(arrivals(shape, 5)) != list(arrivals(shape, 6))


def test_the_thinned_schedule_splits_exactly_between_processes() -> None:
    whole = list(arrivals(SHAPES["chain"], 5))
    shares = [[a for n, a in enumerate(whole) if n % 3 == which] for which in range(3)]
    assert sorted(itertools.chain(*shares)) == whole


def test_nothing_arrives_at_rate_zero() -> None:
    assert list(arrivals(Constant(0.0, 5.0))) == []
    assert list(arrivals(Constant(0.0, 5.0), kind="even")) == []


@given(
    st.lists(
        st.tuples(st.floats(0, 200), st.floats(0, 200), st.floats(0, 3)), min_size=1, max_size=5
    )
)
def test_a_chain_counts_what_its_parts_count(parts: list[tuple[float, float, float]]) -> None:
    ramps = [Ramp(*part) for part in parts]
    chain: Pacer = ramps[0]
    for ramp in ramps[1:]:
        chain = chain.then(ramp)
    expected = math.fsum(ramp.count(ramp.seconds) for ramp in ramps)
    assert chain.count(chain.seconds) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        ({"kind": "wave"}, "unknown kind"),
        ({"kind": "constant", "rate": -1, "seconds": 1}, "rate must be"),
        ({"kind": "constant", "rate": 1}, "needs 'seconds'"),
        ({"kind": "constant", "rate": "5", "seconds": 1}, "must be a number"),
        ({"kind": "constant", "rate": 1, "seconds": math.inf}, "seconds must be"),
        ({"kind": "constant", "rate": 1e9, "seconds": 1}, "rate must be"),
        ({"kind": "steps", "rates": [], "step_s": 1}, "needs a list"),
        ({"kind": "replay", "users": [1], "interval_s": 0}, "interval must be"),
        ({"kind": "sine", "mean": 1, "swing": 2, "period_s": 1, "seconds": 1}, "swing must be"),
        ({"kind": "sine", "mean": 1, "swing": 1, "period_s": 0, "seconds": 1}, "period must be"),
    ],
)
def test_a_bad_segment_says_which_key(segment: dict[str, object], words: str) -> None:
    with pytest.raises(BadPace, match=words):
        pace_from([segment])


def test_a_pace_needs_a_segment() -> None:
    with pytest.raises(BadPace, match="at least one"):
        pace_from([])
