import math

import numpy as np
import pytest

from premortem.capacity.backtest import backtest, forecast, origins, trust, widths
from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Event
from premortem.capacity.growth import fit_seasonal


def noisy(days, noise=0.1, seed=1, growth=0.0):
    """Hourly rates: a wave with an AR(1) error in logarithms."""
    dice = np.random.default_rng(seed)
    hours = np.arange(days * 24)
    error = np.zeros(len(hours))
    for i in range(1, len(hours)):
        error[i] = 0.8 * error[i - 1] + dice.normal(0, noise * 0.6)
    wave = 2 + np.sin(2 * math.pi * hours / 24)
    return Demand(0.0, 3600.0, tuple(map(float, wave * np.exp(error + growth * hours / 24))))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_interval_covers_what_it_promises(seed):
    score = backtest(noisy(60, seed=seed), Calendar(), horizon=24)
    assert 0.85 <= score.coverage_90 <= 0.95
    assert score.mase < 1
    assert score.n == 24 * score.origins == 24 * 46


def test_events_are_left_out_and_told_apart():
    demand = noisy(40)
    event = Event("x", 30 * DAY_S, 31 * DAY_S, 2.0)  # declared, but nothing happened
    score = backtest(demand, Calendar(events=(event,)), horizon=24)
    assert score.n_events == 24
    assert score.n == 24 * score.origins - 24
    assert score.coverage_90_events < 0.2


def test_a_back_test_sees_only_what_was_known_then():
    demand = noisy(30)
    changed = Demand(0.0, 3600.0, demand.rates[: 20 * 24] + (1000.0,) * (10 * 24))
    before = origins(demand, Calendar(), 24, [20 * 24])[0].predicted
    after = origins(changed, Calendar(), 24, [20 * 24])[0].predicted
    assert list(before) == list(after)


def test_widths_use_only_errors_known_by_then_and_never_shrink_with_the_lead():
    rolled = origins(noisy(30), Calendar(), 48, [24 * d for d in range(10, 20)])
    now = 24 * 20
    wide = widths(rolled, now, 3600.0, 48)
    assert (np.diff(wide) >= 0).all()
    future = origins(noisy(30), Calendar(), 48, [24 * 25])
    assert not widths(future, now, 3600.0, 48).any()


def test_a_forecast_has_ordered_quantiles_and_future_times():
    demand = noisy(30)
    told = forecast(demand, 24)
    assert told.at[0] == demand.end
    assert all(a < b < c for a, b, c in zip(told.low, told.median, told.high, strict=True))


def test_no_width_no_forecast():
    with pytest.raises(DemandError, match="8 days are needed"):
        forecast(noisy(6), 24)


def test_a_model_worse_than_naive_is_not_taken():
    good = noisy(40)
    last_good = fit_seasonal(good)
    hours = np.arange(40 * 24)
    busy = (hours % 24 < 12) == ((hours // 24) % 10 < 5)  # day and night change places every 5 days
    flipping = Demand(0.0, 3600.0, tuple(map(float, np.where(busy, 100.0, 1.0))))
    kept = trust(flipping, Calendar(), last_good)
    assert kept.model is last_good and not kept.fresh
    assert "of seasonal-naive" in kept.reason
    assert trust(good, Calendar(), last_good).fresh


def test_the_last_good_model_stands_in_when_there_is_no_data():
    last_good = fit_seasonal(noisy(30))
    silent = Demand(0.0, 3600.0, noisy(30).rates[:-72] + (math.nan,) * 72)
    kept = trust(silent, Calendar(), last_good)
    assert kept.model is last_good and not kept.fresh
    assert kept.reason.startswith("kept the last good model: nothing was measured")
    with pytest.raises(DemandError):
        trust(silent, Calendar())
