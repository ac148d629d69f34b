import numpy as np
import pytest

from premortem.capacity.intervals import peak, throughput_interval
from premortem.capacity.usl import Curve, Usl


@pytest.mark.parametrize("name", ["specsdm91", "synthetic", "select", "tpcb"])
def test_a_peak_that_was_crossed_is_quoted_with_its_interval(curves, name):
    found = peak(curves[name])
    assert not found.abstained and found.reason == ""
    assert found.n_interval.holds(found.n_max)
    assert found.x_interval.holds(found.x_max)


def test_no_peak_without_a_bend(curves):
    found = peak(curves["raytracer"])
    assert found.abstained
    assert (found.n_max, found.x_max, found.n_interval, found.x_interval) == (None,) * 4
    assert "did not bend" in found.reason and "at least 310" in found.reason


def test_one_point_past_the_peak_is_not_enough(curves):
    found = peak(curves["pg91"])
    assert found.abstained
    assert "only 1 load past the peak" in found.reason
    assert (found.n_seen, found.x_seen) == (20, 46926.75)


@pytest.mark.parametrize("name", ["specsdm91", "raytracer", "synthetic", "pg91", "tpcb"])
def test_the_lower_two_thirds_alone_are_refused(curves, name):
    curve = curves[name]
    assert peak(curve.first(len(curve.loads) - len(curve.loads) // 3)).abstained


def test_the_lower_two_thirds_of_select_hold_the_true_peak(curves):
    found = peak(curves["select"].first(6))
    assert found.x_interval.holds(23755)
    assert found.n_interval.low < 9 < found.n_interval.high + 1


def test_noise_that_hides_the_bend_is_refused():
    dice = np.random.default_rng(4)
    true = Usl(0.02, 0.0003, 10.0)  # peak at 57
    loads = (1, 8, 16, 32, 48, 60, 64, 70)
    noisy = tuple(true.throughput(n) * (1 + 0.15 * dice.standard_normal()) for n in loads)
    assert peak(Curve(loads, noisy)).abstained


def test_the_same_seed_gives_the_same_interval(curves):
    curve = curves["specsdm91"]
    assert peak(curve, seed=3) == peak(curve, seed=3)
    assert peak(curve, seed=3) != peak(curve, seed=4)


def test_nothing_is_said_beyond_what_was_measured(curves):
    curve = curves["select"]
    assert throughput_interval(curve, 257) is None
    assert throughput_interval(curve, 0.5) is None
    assert throughput_interval(curve, 64).holds(11733)


def test_throughput_that_never_grows_has_no_peak():
    assert peak(Curve((1, 2, 3, 4), (5, 5, 5, 5))).abstained
