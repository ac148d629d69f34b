import math

import numpy as np
import pytest

from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Event
from premortem.capacity.growth import fit_seasonal

SHAPE = np.array([1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 7, 6, 6, 5, 5, 4, 3, 2, 2, 1.0])
MONDAY = 4 * DAY_S  # 1970-01-05


def series(days, growth=0.0, weekend=1.0, events=(), noise=0.0, seed=1):
    """Hourly rates from a Monday on; ``events`` are (first hour, last hour, factor)."""
    hours = np.arange(days * 24)
    rates = 10 * SHAPE[hours % 24] * np.exp(growth * hours / 24)
    rates[(hours // 24) % 7 >= 5] *= weekend
    for first, last, factor in events:
        rates[first:last] *= factor
    rates *= np.exp(np.random.default_rng(seed).normal(0, noise, len(hours)))
    return Demand(float(MONDAY), 3600.0, tuple(map(float, rates)))


def ahead(demand, hours, calendar=None):
    calendar = calendar or Calendar()
    at = demand.times(len(demand.rates), len(demand.rates) + hours)
    return fit_seasonal(demand, calendar).median(at, calendar)


def test_a_series_that_repeats_is_forecast_exactly():
    assert ahead(series(28), 48) == pytest.approx(np.tile(10 * SHAPE, 2), rel=1e-6)


def test_weekends_are_known():
    known = ahead(series(26, weekend=0.5), 48)  # ends on Friday night
    assert known[12] / 80 == pytest.approx(0.5, rel=0.2)


def test_a_holiday_is_a_sunday():
    from datetime import date, timedelta

    demand = series(28, weekend=0.5)  # next is a Monday
    holiday = date(1970, 1, 5) + timedelta(days=28)
    plain, off = ahead(demand, 24), ahead(demand, 24, Calendar(holidays=frozenset({holiday})))
    assert off[12] / plain[12] == pytest.approx(0.5, rel=0.25)


def test_growth_is_carried_on():
    known = ahead(series(28, growth=0.02), 7 * 24)
    truth = 10 * SHAPE[12] * math.exp(0.02 * (28 + 6.5))
    assert known[6 * 24 + 12] == pytest.approx(truth, rel=0.06)


def test_a_declared_event_multiplies():
    demand = series(28)
    event = Event("Black Friday", demand.end, demand.end + DAY_S, 3.0)
    assert ahead(demand, 30, Calendar(events=(event,))) == pytest.approx(
        np.concatenate([30 * SHAPE, 10 * SHAPE[:6]]), rel=1e-6
    )


def test_an_event_without_a_factor_is_learned_from_the_last_ones():
    demand = series(28, events=[(7 * 24, 8 * 24, 4.0), (14 * 24, 15 * 24, 4.0)])
    days = [demand.start + d * DAY_S for d in (7, 14, 28)]
    known = Calendar(events=tuple(Event("match", d, d + DAY_S) for d in days))
    model = fit_seasonal(demand, known)
    assert model.factors["match"] == pytest.approx(4.0, rel=0.15)
    assert ahead(demand, 24, known)[12] == pytest.approx(320, rel=0.2)


def test_past_events_do_not_raise_the_ordinary_level():
    demand = series(28, events=[(26 * 24, 27 * 24, 10.0)])
    event = Event("sale", demand.start + 26 * DAY_S, demand.start + 27 * DAY_S, 10.0)
    assert ahead(demand, 24, Calendar(events=(event,))) == pytest.approx(10 * SHAPE, rel=0.05)


def test_gaps_are_left_out():
    demand = series(28)
    rates = list(demand.rates)
    rates[100:130] = [math.nan] * 30
    rates[-1] = math.nan
    assert ahead(Demand(demand.start, 3600.0, tuple(rates)), 24) == pytest.approx(
        10 * SHAPE, rel=0.1
    )


def test_daily_steps_work():
    days = Demand(0.0, float(DAY_S), tuple(float(100 + d) for d in range(40)))
    assert ahead(days, 3) == pytest.approx([140, 141, 142], rel=0.03)


def test_too_little_is_refused():
    with pytest.raises(DemandError, match="two days"):
        fit_seasonal(series(1))
    silent = Demand(0.0, 3600.0, (1.0,) * 48 + (math.nan,) * 48)
    with pytest.raises(DemandError, match="nothing was measured"):
        fit_seasonal(silent)
