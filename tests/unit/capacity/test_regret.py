from dataclasses import replace

import numpy as np
import pytest

from premortem.capacity.estimate import Estimate
from premortem.capacity.regret import Option, Prices, choose, options, regrets

SMALL, LARGE = Option({}, 10.0, 100.0, False), Option({}, 20.0, 200.0, False)
ONE = np.ones(1)


def of(offers, needed):
    return list(regrets(offers, np.array([needed]), ONE, ONE))


def test_the_right_size_is_not_regretted():
    assert of([SMALL, LARGE], 90.0) == pytest.approx([0, 10**1.2])
    assert of([SMALL, LARGE], 150.0) == pytest.approx([12.5**1.2, 0])


def test_under_provisioning_is_dearer_than_over():
    over, under = of([SMALL, LARGE], 90.0)[1], of([SMALL, LARGE], 150.0)[0]
    assert under > over


def test_a_cheap_difference_does_not_excuse_an_outage():
    capped = Option({}, 10.05, 200.0, False)
    assert of([SMALL, capped], 200.0)[0] == pytest.approx((0.5 * 10.05 * 1.25) ** 1.2)


def test_unmeasured_growth_is_discounted():
    grown = replace(LARGE, scaled=True)
    discounted = regrets([SMALL, grown], np.array([150.0]), ONE, np.array([0.6]))
    assert discounted[1] > 0


def test_enough_room_changes_little(shop):
    chosen = choose(shop, np.full(100, 300.0), Estimate(0.9, 1.0, 1.1))
    assert chosen.option.changes == {}
    assert chosen.enough_probability == 1


def test_demand_beyond_the_collapse_asks_for_the_cap(shop):
    chosen = choose(shop, np.full(100, 950.0), Estimate(0.97, 1.0, 1.03))
    assert chosen.option.changes == {"in_flight_max": 8}


def test_demand_beyond_the_knee_asks_for_hardware(shop):
    chosen = choose(shop, np.full(100, 1500.0), Estimate(0.9, 1.0, 1.1))
    assert {"db_cores", "replicas"} & set(chosen.option.changes)


def test_prices_decide_between_equals(shop):
    dear = Prices(database_core=50.0)
    offers = {tuple(sorted(o.changes)): o.cost for o in options(shop, dear)}
    assert offers[("db_cores",)] > offers[("web_servers",)]


def test_the_choice_is_seeded(shop):
    needed = np.linspace(800, 1600, 50)
    one, two = (choose(shop, needed, Estimate(0.8, 1, 1.2), seed=4) for _ in range(2))
    assert one == two


def test_nothing_known_nothing_chosen(shop):
    blind = replace(shop.database, quoted=False, n_top=2)
    site = replace(shop, database=blind, web_cpu_s=None, read_ratio=None, pool_size=12)
    offers = list(options(site))
    assert all("in_flight_max" in o.changes for o in offers)
