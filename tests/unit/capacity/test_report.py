import json

import pytest

from premortem.capacity.inputs import BadSetting, plan_from_csv, public_holidays, site_from
from premortem.capacity.report import usl_from_csv, usl_text
from premortem.capacity.whatif import BadWords


def table(curve):
    rows = zip(curve.loads, curve.throughputs, strict=True)
    return "load,throughput\n" + "\n".join(f"{n},{x}" for n, x in rows)


def test_the_peak_with_its_interval(curves):
    told = json.loads(json.dumps(usl_from_csv(table(curves["specsdm91"])), allow_nan=False))
    assert told["sigma"] == pytest.approx(0.0277285, abs=5e-7)
    assert told["abstained"] is False and told["reason"] == ""
    low, high = told["intervals"]["n_max"]
    assert low < told["n_max"] < high
    assert "highest throughput 1884" in usl_text(told)


def test_an_abstention_is_json_too(curves):
    told = json.loads(json.dumps(usl_from_csv(table(curves["raytracer"])), allow_nan=False))
    assert told["abstained"] is True
    assert told["n_max"] is told["x_max"] is told["intervals"]["n_max"] is None
    assert told["standard_errors"]["kappa"] is None
    assert told["at_least"] == {"load": 64, "throughput": 310}
    assert "no peak is quoted: the curve did not bend" in usl_text(told)


def test_settings_are_checked_by_name_and_type(select_database):
    assert site_from({"web_servers": 3, "in_flight_max": None}, select_database).web_servers == 3
    with pytest.raises(BadSetting, match="'webservers' is unknown; known are web_servers"):
        site_from({"webservers": 3}, select_database)
    with pytest.raises(BadSetting, match=r"web_servers = 'three': int is needed"):
        site_from({"web_servers": "three"}, select_database)
    with pytest.raises(ValueError, match="web_servers = 0"):
        site_from({"web_servers": 0}, select_database)


def test_a_plan_from_two_texts(curves, growing):
    at = growing.times()
    rows = zip(at, growing.rates, strict=True)
    history = "time,rate\n" + "\n".join(f"{int(t)},{r / 1}" for t, r in rows)
    plan = plan_from_csv(
        history=history, usl=table(curves["tpcb"]), declared={"web_servers": 2}, country="KE"
    )
    assert plan.made_at == growing.end
    assert plan.calendar.holidays
    assert plan.full.mid is not None


def test_holidays_of_a_country():
    from datetime import date

    assert date(2026, 12, 12) in public_holidays("KE", [2026])  # Jamhuri Day
    with pytest.raises(BadWords, match="'XX': not known"):
        public_holidays("XX", [2026])
