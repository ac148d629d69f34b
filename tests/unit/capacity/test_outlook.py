import json
import math
from dataclasses import replace

import pytest

from premortem.capacity.demand import DAY_S, Calendar, Demand, DemandError, Event
from premortem.capacity.growth import Seasonal
from premortem.capacity.outlook import look_ahead, outlook_dict, outlook_from_csv, outlook_text


def csv_of(demand):
    rows = zip(demand.times(), demand.rates, strict=True)
    return "time,rate\n" + "\n".join(f"{int(t)},{r}" for t, r in rows)


def test_the_next_peak_with_its_coverage(growing):
    told = outlook_from_csv(csv_of(growing), days=2)
    text = outlook_text(told)
    assert len(told.forecast.at) == 48
    assert 0.85 <= told.tested.coverage_90 <= 0.97
    assert "at 2026-11-19 1" in text  # planted to peak at 15:00
    assert f"covered {told.tested.coverage_90:.0%}" in text
    low, mid, high = told.growth_per_day
    assert low <= mid <= high and mid == pytest.approx(0.006, abs=0.001)


def test_it_survives_json_and_comes_back_as_the_last_good_model(growing):
    told = look_ahead(growing.until(24 * 30), Calendar(), days=1)
    kept = json.loads(json.dumps(outlook_dict(told), allow_nan=False))
    assert Seasonal.restored(kept["model"]) == told.trusted.model
    with pytest.raises(DemandError, match="fit anew"):
        Seasonal.restored({"profile": 3})


def test_an_event_nobody_knows_is_said(growing):
    month = growing.until(24 * 30)
    event = Event("launch", month.end, month.end + DAY_S)
    told = look_ahead(month, Calendar(events=(event,)), days=1)
    assert told.unknown_events == ("launch",)
    assert "declare one" in outlook_text(told)
    declared = Calendar(events=(replace(event, factor=2.0),))
    assert look_ahead(month, declared, days=1).unknown_events == ()


def test_little_history_is_refused_and_gaps_are_not(growing):
    with pytest.raises(DemandError):
        look_ahead(growing.until(24 * 7), Calendar())
    rates = list(growing.rates)
    rates[600:640] = [math.nan] * 40
    gapped = Demand(growing.start, 3600.0, tuple(rates))
    assert look_ahead(gapped, Calendar(), days=1).forecast.median[0] > 0
