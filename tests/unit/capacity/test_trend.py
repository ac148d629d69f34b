import math
from datetime import date

import numpy as np
import pytest

from premortem.capacity import trend
from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Event
from premortem.capacity.trend import futures


def daily(days, growth=0.01, noise=0.03, seed=1):
    dice = np.random.default_rng(seed)
    d = np.arange(days)
    rates = 100 * np.exp(growth * d + dice.normal(0, noise, days))
    return Demand(0.0, float(DAY_S), tuple(map(float, rates)))


def test_the_growth_is_found_with_its_interval():
    low, mid, high = futures(daily(70), Calendar(), days=30).growth_per_day
    assert low < math.expm1(0.01) < high
    assert mid == pytest.approx(0.01, abs=0.002)


def test_the_dated_interval_covers_the_planted_day():
    held = 0
    for seed in range(20):
        whole = daily(200, growth=0.008, noise=0.05, seed=seed)
        limit = 100 * math.exp(0.008 * 110)
        worlds = futures(whole.until(70), Calendar(), days=130, worlds=200, seed=seed)
        over = worlds.peaks > limit
        first = np.where(over.any(axis=1), over.argmax(axis=1), 999)
        low, high = np.quantile(first, (0.05, 0.95), method="inverted_cdf")
        held += low <= int((whole.array[70:] > limit).argmax()) <= high
    assert held >= 15


def test_a_declared_event_lifts_its_day_only():
    demand = daily(60, growth=0.0)
    event = Event("sale", demand.end + 5 * DAY_S, demand.end + 6 * DAY_S, 3.0)
    plain = futures(demand, Calendar(), days=10)
    lifted = futures(demand, Calendar(events=(event,)), days=10)
    assert lifted.peaks[:, 5] == pytest.approx(3 * plain.peaks[:, 5])
    assert lifted.peaks[:, 4] == pytest.approx(plain.peaks[:, 4])


def test_past_events_are_no_growth():
    demand = daily(60, growth=0.0)
    rates = list(demand.rates)
    rates[-5:] = [r * 5 for r in rates[-5:]]
    event = Event("sale", demand.end - 5 * DAY_S, demand.end)
    worlds = futures(Demand(0.0, float(DAY_S), tuple(rates)), Calendar(events=(event,)), days=5)
    assert np.median(worlds.peaks) == pytest.approx(100, rel=0.1)


def test_nothing_is_said_further_ahead_than_twice_the_history():
    worlds = futures(daily(30), Calendar(), days=365)
    assert worlds.peaks.shape[1] == 60
    assert worlds.last == date(1970, 1, 1).fromordinal(date(1970, 1, 31).toordinal() + 59)


def test_a_break_in_the_past_widens_the_fan(monkeypatch):
    calm = futures(daily(70, growth=0.0), Calendar(), days=20)
    rates = list(daily(70, growth=0.0).rates)
    jumped = tuple(r * (1.6 if i >= 50 else 1.0) for i, r in enumerate(rates))
    shaken = futures(Demand(0.0, float(DAY_S), jumped), Calendar(), days=20)
    assert shaken.inflation > 1.5 > calm.inflation
    monkeypatch.setattr(trend, "INFLATION_MAX", 1.0)
    plain = futures(Demand(0.0, float(DAY_S), jumped), Calendar(), days=20)
    spread = [float(np.log(w.peaks[:, 9]).std()) for w in (shaken, plain)]
    assert spread[0] / spread[1] == pytest.approx(shaken.inflation)


def test_three_weeks_are_needed():
    with pytest.raises(DemandError, match="growth needs 21"):
        futures(daily(20), Calendar(), days=5)


def test_the_same_seed_draws_the_same_futures():
    one, two = (futures(daily(40), Calendar(), days=5, seed=9) for _ in range(2))
    assert (one.peaks == two.peaks).all()
