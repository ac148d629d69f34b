from datetime import date

import pytest

from premortem.capacity.demand import DAY_S
from premortem.capacity.whatif import BadWords, parse_date, parse_event, parse_what_if


@pytest.mark.parametrize("text", ["surge 3x", "SURGE 3.0 x", "3x", " surge 3× "])
def test_a_surge(text):
    assert parse_what_if(text).surge == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("web_servers +2", 4),
        ("web_servers -1", 1),
        ("web_servers 7", 7),
        ("web_servers=7", 7),
        ("web_servers x3", 6),
        ("max_connections 500", None),
    ],
)
def test_a_setting(shop, text, value):
    asked = parse_what_if(text)
    assert asked.value(shop) == (value or 500)


@pytest.mark.parametrize(
    "text", ["", "surge", "surge x", "webservers +2", "database 3", "surge 0x"]
)
def test_words_that_are_none(text):
    with pytest.raises(BadWords, match="--what-if"):
        parse_what_if(text)


def test_a_surge_beyond_reason():
    with pytest.raises(BadWords, match="at most 1000"):
        parse_what_if("surge 5000x")


def test_a_setting_that_is_not_there_cannot_be_raised(shop):
    with pytest.raises(BadWords, match="is not set"):
        parse_what_if("pgbouncer_pool +2").value(shop)


def test_an_event():
    event = parse_event("Black Friday 2026-11-27 3x")
    assert (event.name, event.factor, event.end - event.start) == ("Black Friday", 3.0, DAY_S)
    long = parse_event("Summer sale 2026-07-01..2026-07-03 1.5x", utc_offset_h=3)
    assert long.end - long.start == 3 * DAY_S
    assert parse_event("match 2026-07-01").factor is None


@pytest.mark.parametrize(
    "text", ["", "2026-11-27 3x", "sale 2026-13-01 3x", "sale 2026-11-28..2026-11-27", "sale 3x"]
)
def test_events_that_are_none(text):
    with pytest.raises(BadWords, match="--event"):
        parse_event(text)


def test_a_date():
    assert parse_date(" 2026-12-18 ") == date(2026, 12, 18)
    with pytest.raises(BadWords, match=r"--target-date '18\.12\.2026': not a date"):
        parse_date("18.12.2026")
