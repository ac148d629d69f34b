"""The helpers the causes share: levels, growth, traffic, pressure, decomposition."""

from __future__ import annotations

import pytest

from premortem.causes._database import idle, pressure
from premortem.causes._decomposition import components, most_grown
from premortem.causes._traffic import demand_growth, traffic, unique_growth
from premortem.causes._users import hurt
from premortem.causes._verdict import failed, growth, held, level, num, percent, rise
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example, metrics_of
from premortem.model import History, Reading


def after(example: Example) -> History:
    """The past at the end of an example, with its calm part as baseline."""
    history = History(metrics_of([example, Example("all", SITE)]))
    for second, (_, readings) in enumerate(example.readings()):
        for reading in readings:
            history.observe(reading)
        history.settle(calm=second < example.calm_s)
    return history


def world(**trouble: float) -> History:
    return after(Example("x", SITE, {k.replace("__", "."): v for k, v in trouble.items()}))


def feed(*values: float, metric: str = "db.wait.cpu") -> History:
    history = History(metrics_of([Example("all", SITE)]))
    for i, value in enumerate(values):
        history.observe(Reading("s", "site", float(i), {metric: value}))
    return history


def test_one_odd_sample_does_not_move_a_level() -> None:
    assert level(feed(1, 1, 1, 90), "db.wait.cpu") == 1
    assert level(feed(), "db.wait.cpu") is None


def test_a_level_grows_old() -> None:
    history = feed(7.0)
    history.advance(4.5)
    assert level(history, "db.wait.cpu") == 7
    history.advance(6.0)
    assert level(history, "db.wait.cpu") is None
    assert level(history, "db.wait.cpu", max_age_s=12.0) == 7


def test_held_needs_every_sample() -> None:
    assert held(feed(1, 5, 5, 5), "db.wait.cpu", above=4)
    assert not held(feed(5, 5, 1, 5), "db.wait.cpu", above=4)
    assert not held(feed(5, 5), "db.wait.cpu", above=4)


def test_growth_is_against_the_calm_past_only() -> None:
    history = world(db__transactions_per_s=135.0)
    assert growth(history, "db.transactions_per_s", floor=1.0) == pytest.approx(3.0, rel=0.05)
    assert growth(feed(1, 2, 3), "db.wait.cpu", floor=1.0) is None


def test_without_a_baseline_only_a_rise_is_evidence() -> None:
    assert rise(feed(*[1.0] * 12, *[4.0] * 8), "db.wait.cpu", floor=0.1) == pytest.approx(4.0)
    assert rise(feed(*[4.0] * 20), "db.wait.cpu", floor=0.1) is None


def test_traffic_that_rose_and_traffic_that_is_flat() -> None:
    assert traffic(world(web__requests_per_s=99.0)).risen
    flat = traffic(world())
    assert flat.flat and not flat.risen
    unseen = traffic(after(Example("x", SITE).without("web.", "db.connections", "db.statements")))
    assert not unseen.flat and not unseen.risen


def test_new_sessions_are_traffic_only_where_each_request_opens_one() -> None:
    assert traffic(after(Example("x", OPEN_SITE, SURGE_OPEN))).risen
    assert traffic(world(db__connections__opened_per_s=3.0)).flat


def test_cpu_a_transaction_is_what_queues_do_not_move() -> None:
    surge = demand_growth(after(Example("x", SITE, SURGE_PROTECTED)))
    dear = demand_growth(world(db__cpu__busy_ratio=1.0, db__transactions_per_s=15.0))
    assert surge == pytest.approx(1.0, abs=0.15)
    assert dear == pytest.approx(7.5, rel=0.1)


def test_unique_requests_leave_the_repeats_out() -> None:
    history = world(web__requests_per_s=99.0, web__repeat_ratio=0.66)
    assert unique_growth(history) == pytest.approx(1.05, rel=0.1)


def test_pressure_with_and_without_a_cpu_figure() -> None:
    assert pressure(world()).saturated is False
    assert pressure(world(db__wait__cpu=7.0, db__cpu__busy_ratio=0.98)).saturated is True
    assert pressure(world(db__wait__cpu=7.0, db__cpu__busy_ratio=0.5)).saturated is False
    assert pressure(world(db__wait__cpu=40.0, db__cpu__busy_ratio=0.5)).saturated is True
    unseen = Example("x", SITE, {"db.wait.cpu": 7.0}).without("db.cpu.busy_ratio")
    assert pressure(after(unseen)).saturated is True
    assert pressure(after(Example("x", SITE).without("db.cores"))).saturated is None


def test_a_database_with_room_is_idle() -> None:
    assert idle(world()) is True
    assert idle(world(db__wait__lock=4.0)) is False
    assert idle(after(Example("x", SITE).without("db.wait.cpu"))) is None


def test_what_users_feel_comes_with_since_when() -> None:
    assert hurt(world()) is None
    slow = hurt(world(user__http__first_byte_ms=400.0))
    assert (
        slow is not None and "400" not in slow.note[:10] and slow.limit == pytest.approx(125, 0.1)
    )
    refused = hurt(world(web__refused_per_s=9.0))
    assert refused is not None and refused.metric == "web.refused_per_s"
    assert refused.since == 1_000_040.0


def test_the_time_of_a_request_comes_apart() -> None:
    history = world(web__downstream_ms=900.0)
    parts = {c.name: c for c in components(history)}
    assert parts["database CPU"].ms == pytest.approx(0.5 / 45 * 1000, rel=0.15)
    grown = most_grown(parts.values())
    assert grown is not None and grown.name == "other services"
    assert most_grown(components(world())) is None


def test_of_two_that_grew_alike_the_deeper_is_blamed() -> None:
    history = world(pool__wait_ms=300.0, db__wait__lock=9.0)
    grown = most_grown(components(history))
    assert grown is not None and grown.tier == "database"


def test_failures_are_counted_by_text() -> None:
    history = feed()
    for at in (1.0, 2.0):
        history.observe(Reading("postgres", "site", at, error="startup: 57P03 starting up"))
    assert failed(history, "postgres", "57P03") == 2
    assert failed(history, "postgres", "53300") == 0


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.625, "0.62"), (97.0, "97"), (12345.6, "12346")]
)
def test_numbers_as_people_read_them(value: float, text: str) -> None:
    assert num(value) == text


def test_percentages_as_people_read_them() -> None:
    assert (percent(1.0), percent(0.934), percent(2.5)) == ("100 %", "93 %", "250 %")
