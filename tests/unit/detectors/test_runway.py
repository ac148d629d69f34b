from __future__ import annotations

import pytest

from premortem.detectors._robust import Reference, departure, theil_sen, thin
from premortem.detectors.runway import Runway
from premortem.model import Series

CALM = [30, 36, 33, 28, 35, 31, 38, 33, 29, 34] * 3


def test_seconds_to_a_known_limit(past) -> None:
    slots = Runway("used", limit_metric="max", sigma_min=2.0)
    history = past(used=[10] * 30 + [10, 20, 30, 40, 50, 60], max=[100] * 36)
    (signal,) = slots.detect(history)
    assert signal.runway_s == pytest.approx((100 - 55) / 10, abs=0.6)
    assert signal.limit == 100
    assert "80 % interval" in signal.note


def test_capacity_follows_from_the_utilisation_law(past) -> None:
    rate = Runway("x", busy_metric="u", noise="poisson")
    ramp = [40, 52, 63, 75]
    (signal,) = rate.detect(past(x=CALM + ramp, u=[v / 83 for v in CALM] + [0.5, 0.6, 0.8, 0.9]))
    assert signal.limit == pytest.approx(83, rel=0.05)
    assert signal.runway_s < 3


def test_noise_and_flat_levels_do_not_signal(past) -> None:
    rate = Runway("x", limit=60, noise="poisson")
    assert not list(rate.detect(past(x=[*CALM, 45, 40, 44, 39])))
    assert not list(Runway("x", limit=60, sigma_min=1).detect(past(x=[10] * 30 + [20] * 30)))


def test_past_the_limit_the_runway_is_zero(past) -> None:
    slots = Runway("used", limit=50.0, sigma_min=2.0)
    (signal,) = slots.detect(past(used=[10] * 30 + [20, 40, 60, 61]))
    assert signal.runway_s == 0


def test_a_limit_far_away_is_no_news(past) -> None:
    slots = Runway("used", limit=10_000.0, sigma_min=2.0)
    assert not list(slots.detect(past(used=[10] * 30 + [20, 30, 40, 50, 60])))


def test_too_little_past_or_no_limit(past) -> None:
    assert not list(Runway("used", limit=50.0).detect(past(used=[1, 2, 3])))
    slots = Runway("used", limit_metric="max", sigma_min=2.0)
    assert not list(slots.detect(past(used=[10] * 30 + [20, 40, 60, 80], max=[0])))


def test_one_outlier_does_not_bend_the_trend() -> None:
    at = tuple(float(i) for i in range(12))
    trend = theil_sen(Series(at, (*(2.0 * t for t in at[:-1]), 900.0)))
    assert trend is not None
    assert trend.slope == pytest.approx(2.0)
    assert trend.low <= trend.slope <= trend.high


def test_long_windows_are_thinned_to_bounded_work() -> None:
    at = tuple(float(i) for i in range(1000))
    few = thin(Series(at, at))
    assert len(few) <= 24
    assert few.at == few.values


def test_departure_counts_standard_errors() -> None:
    assert departure([14.0, 14.0, 14.0, 14.0], Reference(10.0, 2.0)) == pytest.approx(4.0)
