from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from premortem.capacity.site import Database, Site, capacity, knee_sessions, pool_findings
from premortem.capacity.usl import Usl

DATABASE = Database(Usl(0.02, 0.001, 50.0), n_top=200, n_seen=32, x_seen=600, quoted=True)


def test_a_surge_meets_the_database_with_all_pooled_sessions(shop):
    found = capacity(shop)
    assert (found.sessions, found.past_knee) == (40, True)
    assert found.knee == pytest.approx(8.7, abs=0.05)
    assert found.best_per_s == pytest.approx(1126, abs=1)
    assert found.surge_per_s < 0.65 * found.best_per_s
    assert found.first == "the database's CPU"


def test_without_a_web_tier_the_surge_is_the_curve(shop):
    site = replace(shop, web_cpu_s=None)
    assert capacity(site).surge_per_s == pytest.approx(site.database.usl.throughput(40))


def test_a_cap_at_the_knee_keeps_the_best(shop):
    capped = replace(shop, in_flight_max=knee_sessions(shop), web_cpu_s=None)
    found = capacity(capped)
    assert not found.past_knee
    assert found.surge_per_s == pytest.approx(found.best_per_s, rel=0.01)


def test_a_slow_web_tier_is_named(shop):
    found = capacity(replace(shop, web_cpu_s=0.02))
    assert found.first == "the web servers' CPU"
    assert found.best_per_s == pytest.approx(200)
    assert found.surge_per_s == pytest.approx(200, rel=0.01)


def test_a_small_pool_is_named():
    found = capacity(Site(DATABASE, web_processes=2, pool_size=2))
    assert found.first == "the connection pools"
    assert found.surge_per_s == pytest.approx(DATABASE.usl.throughput(4))


def test_beyond_what_was_measured_a_quoted_curve_gives_a_ceiling():
    found = capacity(Site(DATABASE, web_processes=100, pool_size=10, max_connections=1000))
    assert found.surge_at_most
    assert found.surge_per_s == pytest.approx(DATABASE.usl.throughput(200))


def test_beyond_what_was_measured_an_unquoted_curve_gives_nothing():
    blind = replace(DATABASE, quoted=False)
    found = capacity(Site(blind, web_processes=100, pool_size=10, max_connections=1000))
    assert found.surge_per_s is None and found.response_s is None
    assert found.best_per_s == 600


def test_replicas_carry_reads_only():
    plain = Site(DATABASE, web_processes=10, pool_size=3)
    none = capacity(replace(plain, replicas=1, read_ratio=0.0))
    assert none.best_per_s == pytest.approx(capacity(plain).best_per_s)
    half = capacity(replace(plain, replicas=1, read_ratio=0.5, pool_size=9))
    assert half.best_per_s == pytest.approx(DATABASE.usl.x_max / 0.75)


def test_declared_pools_against_max_connections():
    site = Site(DATABASE, web_servers=4, web_processes=8, pool_size=5)
    assert capacity(site).refused_connections == 160 - 97
    told = pool_findings(site)
    assert "4 web servers x 8 processes x pools of 5 = 160" in told[0]
    assert "63 would be refused" in told[0]
    assert "past its knee" in told[1]
    assert pool_findings(replace(site, pgbouncer_pool=30)) == []


def test_the_limit_of_measured_cores_scales():
    plain = Site(DATABASE, web_processes=50, pool_size=2, max_connections=200)
    twice = capacity(replace(plain, db_cores=2))
    assert twice.best_per_s == pytest.approx(2 * capacity(plain).best_per_s, rel=0.05)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20))
def test_a_surge_never_serves_more_than_the_best(servers, processes, pool):
    found = capacity(Site(DATABASE, servers, processes, pool, max_connections=190))
    assert found.surge_per_s <= found.best_per_s * (1 + 1e-9)


@pytest.mark.parametrize(
    "bad", [{"web_servers": 0}, {"read_ratio": 1.5}, {"web_cpu_s": 0.0}, {"in_flight_max": 0}]
)
def test_values_no_site_can_have(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Site(DATABASE, **bad)
