import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.capacity.queueing import (
    Station,
    closed_network,
    erlang_b,
    erlang_c,
    mmc,
    mmck,
    occupancy,
    servers_for,
)

TIERS = [Station("web", 0.605), Station("db", 2.1), Station("disk", 1.35)]
servers = st.integers(1, 60)
shares = st.floats(0.01, 0.99)


@pytest.mark.parametrize(
    ("count", "offered", "known"),
    [(2, 1, 1 / 3), (5, 4, 0.554113), (10, 8, 0.409180), (100, 90, 0.216940)],
)
def test_erlang_c_as_published(count, offered, known):
    assert erlang_c(count, offered) == pytest.approx(known, abs=5e-7)


def test_a_bounded_queue_as_published():
    queue = mmck(12, 1, 10, 30)
    assert queue.blocked_ratio == pytest.approx(0.168637, abs=5e-7)
    assert queue.served_per_s == pytest.approx(9.97635, abs=5e-6)
    assert queue.in_system_s == pytest.approx(2.53456, abs=5e-6)


def test_without_places_to_wait_it_is_erlang_b():
    queue = mmck(8, 1, 10, 10)
    assert queue.blocked_ratio == pytest.approx(erlang_b(10, 8))
    assert queue.blocked_ratio == pytest.approx(0.121661, abs=5e-7)
    assert queue.waiting_s == queue.waits_ratio == 0


def test_mean_value_analysis_as_published():
    few, many = closed_network(TIERS, 3, 15), closed_network(TIERS, 50, 15)
    assert few.throughput_per_s == pytest.approx(0.1515, abs=5e-5)
    assert few.response_s == pytest.approx(4.7998, abs=5e-5)
    assert many.throughput_per_s == pytest.approx(1 / 2.1, abs=1e-6)
    assert many.bottleneck == "db"


@given(servers, shares, st.floats(0.01, 100))
def test_littles_law_and_the_sum_of_times(count, rho, rate):
    queue = mmc(rho * count * rate, rate, count)
    assert queue.in_system == pytest.approx(queue.served_per_s * queue.in_system_s)
    assert queue.in_system_s == pytest.approx(queue.waiting_s + 1 / rate)
    assert queue.busy_ratio == pytest.approx(rho)


@given(servers, st.floats(0.01, 5), st.integers(0, 60))
def test_littles_law_holds_with_turned_away_arrivals(count, rho, extra):
    queue = mmck(rho * count, 1, count, count + extra)
    assert queue.in_system == pytest.approx(queue.served_per_s * queue.in_system_s)
    assert queue.in_system_s == pytest.approx(queue.waiting_s + 1, rel=1e-6)
    assert 0 <= queue.blocked_ratio < 1 and queue.busy_ratio <= 1 + 1e-12


@given(servers, shares)
def test_more_servers_wait_less_and_more_load_waits_more(count, rho):
    offered = rho * count
    assert erlang_c(count + 1, offered) <= erlang_c(count, offered)
    assert erlang_b(count + 1, offered) <= erlang_b(count, offered)
    assert erlang_c(count, offered) >= erlang_c(count, offered * 0.9)
    assert erlang_c(count, offered) >= erlang_b(count, offered) - 1e-12


@given(servers, shares)
def test_a_long_queue_is_an_unbounded_one(count, rho):
    rho = min(rho, 0.9)
    bounded, free = mmck(rho * count, 1, count, count + 600), mmc(rho * count, 1, count)
    assert bounded.in_system_s == pytest.approx(free.in_system_s, rel=1e-6)
    assert bounded.waits_ratio == pytest.approx(free.waits_ratio, rel=1e-6)


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=5), st.floats(0, 20), st.integers(1, 80))
def test_a_closed_network_keeps_its_bounds_and_littles_law(demands, think, population):
    net = closed_network([Station(str(i), d) for i, d in enumerate(demands)], population, think)
    assert net.throughput_per_s <= 1 / max(demands) + 1e-9
    assert net.throughput_per_s <= population / (think + sum(demands)) + 1e-9
    assert sum(net.queue) + net.throughput_per_s * think == pytest.approx(population)
    assert net.throughput_per_s * (net.response_s + think) == pytest.approx(population)


@pytest.mark.parametrize("population", [1, 2, 4, 8, 12, 16, 40])
def test_the_multi_server_approximation_stays_within_a_tenth(population):
    """Against the exact machine-repair chain: 4 servers of 1 s, 2 s of thinking."""
    rates = [min(i, 4) / 1.0 for i in range(1, population + 1)]
    logs, weights = 0.0, [1.0]
    for i, rate in enumerate(rates, 1):
        logs += math.log((population - i + 1) / 2.0 / rate)
        weights.append(math.exp(logs))
    exact = sum(w * r for w, r in zip(weights[1:], rates, strict=True)) / sum(weights)
    got = closed_network([Station("db", 1.0, servers=4)], population, 2.0).throughput_per_s
    assert got == pytest.approx(exact, rel=0.1)


def test_occupancy_is_a_distribution_even_when_weights_overflow():
    share = occupancy(1e6, [1.0] * 500)
    assert sum(share) == pytest.approx(1)
    assert share[-1] == pytest.approx(1, abs=1e-5)


def test_square_root_staffing():
    assert servers_for(1000, 0.1) == 110
    assert servers_for(1000, 0.1, quality=2) == 120
    assert erlang_c(110, 100) == pytest.approx(0.237, abs=5e-4)
    assert erlang_c(120, 100) == pytest.approx(0.0332, abs=5e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: erlang_c(5, 5),
        lambda: erlang_b(0, 1),
        lambda: erlang_b(2, math.inf),
        lambda: mmck(1, 1, 5, 4),
        lambda: closed_network([], 3),
        lambda: closed_network(TIERS, 0),
        lambda: closed_network([Station("x", 0.0)], 3),
    ],
)
def test_what_has_no_answer_is_refused(call):
    with pytest.raises(ValueError):
        call()
