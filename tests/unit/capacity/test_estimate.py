import numpy as np
import pytest

from premortem.capacity.estimate import Estimate, calibration


def test_draws_have_the_ends_as_their_5_and_95_percent_points():
    drawn = Estimate(80, 100, 150).draw(np.random.default_rng(1), 40_000)
    assert np.quantile(drawn, (0.05, 0.5, 0.95)) == pytest.approx([80, 100, 150], rel=0.02)


def test_a_known_number_is_drawn_as_itself():
    assert set(Estimate.exactly(7.0).draw(np.random.default_rng(1), 5)) == {7.0}


@pytest.mark.parametrize("ends", [(0, 1, 2), (2, 1, 3), (1, 2, float("inf")), (1, 3, 2)])
def test_what_is_no_interval_is_refused(ends):
    with pytest.raises(ValueError, match="0 < low <= mid <= high"):
        Estimate(*ends)


def test_calibration_is_the_median_ratio_and_is_wide_for_few_pairs():
    few = calibration([80, 100], [100, 100])
    assert few.mid == pytest.approx(0.9)
    assert few.low < 0.8 and few.high > 1.0
    many = calibration([80, 90, 90, 90, 100], [100] * 5)
    assert (many.low, many.mid, many.high) == pytest.approx((0.8, 0.9, 1.0))
    assert calibration([], []) == Estimate.exactly(1.0)
    with pytest.raises(ValueError, match="positive"):
        calibration([0.0], [1.0])
