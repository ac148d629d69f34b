import math
from datetime import date

import pytest

from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Event, at_utc
from premortem.capacity.whatif import whole_day


def test_weekdays_hours_and_holidays_are_local():
    new_year = 1767225600.0  # Thu 2026-01-01 00:00 UTC
    import numpy as np

    at = np.array([new_year - 3600.0, new_year])
    assert list(Calendar().weekdays(at)) == [2, 3]
    assert list(Calendar(utc_offset_h=3).weekdays(at)) == [3, 3]
    holiday = Calendar(utc_offset_h=3, holidays=frozenset({date(2026, 1, 1)}))
    assert list(holiday.weekdays(at)) == [6, 6]
    assert list(Calendar(utc_offset_h=3).slots(at, 3600.0)) == [2, 3]


def test_an_event_ends_where_it_says():
    import numpy as np

    known = Calendar(events=(Event("sale", 100.0, 200.0, 3.0),))
    assert list(known.during(np.array([99.0, 100.0, 199.0, 200.0]))) == [False, True, True, False]


def test_daily_peaks_are_of_whole_local_days():
    hours = [float(h % 24) for h in range(5, 77)]  # starts at 05:00
    peaks = Demand(5 * 3600.0, 3600.0, tuple(hours)).daily_peaks()
    assert peaks.rates == (23.0, 23.0)
    assert peaks.start == DAY_S
    shifted = Demand(0.0, 3600.0, tuple(float(h % 24) for h in range(72))).daily_peaks(3.0)
    assert shifted.start == 21 * 3600.0


def test_a_day_without_a_measurement_has_no_peak():
    rates = [1.0] * 24 + [math.nan] * 24 + [2.0] * 24
    peaks = Demand(0.0, 3600.0, tuple(rates)).daily_peaks().rates
    assert (peaks[0], peaks[2]) == (1.0, 2.0)
    assert math.isnan(peaks[1])


@pytest.mark.parametrize(
    ("step", "rates"), [(7.0, (1.0,)), (3600.0, ()), (3600.0, (-1.0,)), (3600.0, (math.inf,))]
)
def test_a_series_that_is_none_is_refused(step, rates):
    with pytest.raises(DemandError):
        Demand(0.0, step, rates)


def test_whole_days_begin_at_local_midnight():
    event = whole_day("sale", date(2026, 11, 27), date(2026, 11, 28), 3.0, utc_offset_h=3)
    assert at_utc(event.start).isoformat() == "2026-11-26T21:00:00+00:00"
    assert event.end - event.start == 2 * DAY_S


def test_averages_over_longer_steps():
    fine = Demand(
        0.0, 600.0, (1.0, 3.0, math.nan, 2.0, 2.0, 2.0, math.nan, math.nan, math.nan, 5.0)
    )
    coarse = fine.averaged(1800.0).rates
    assert coarse[:2] == (2.0, 2.0)
    assert math.isnan(coarse[2]) and len(coarse) == 3
    with pytest.raises(DemandError, match="no multiple"):
        fine.averaged(700.0)
    with pytest.raises(DemandError, match="shorter"):
        fine.averaged(7200.0)
