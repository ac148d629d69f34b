from dataclasses import replace

from premortem.capacity.site import Database, Site
from premortem.capacity.steps import Step, effect, effects
from premortem.capacity.usl import Usl


def named(site):
    return {e.step.name: e for e in effects(site)}


def test_two_more_web_servers_lower_the_maximum_and_the_model_says_why(shop):
    found = named(shop)["two more web servers"]
    assert found.helps == "harms"
    assert found.after.surge_per_s < found.before.surge_per_s
    assert "80 sessions push the database past its knee at 9" in found.text
    assert f"to {found.after.surge_per_s:.0f} requests/s" in found.text


def test_the_same_step_helps_where_the_web_tier_is_the_limit():
    database = Database(Usl(0.01, 1e-6, 50.0), n_top=400, n_seen=400, x_seen=3000, quoted=False)
    site = Site(database, web_cpu_s=0.01, pool_size=5, max_connections=300)
    found = named(site)["two more web servers"]
    assert found.helps == "yes"
    assert found.after.best_per_s == 300


def test_a_cap_at_the_knee_helps(shop):
    found = named(shop)["cap requests in flight at 8"]
    assert found.helps == "yes"
    assert "keep the database at its knee" in found.text


def test_more_max_connections_alone_do_nothing(shop):
    assert named(shop)["max_connections = 200"].helps == "no"


def test_more_max_connections_that_let_more_sessions_in_harm(shop):
    site = replace(shop, max_connections=30, web_cpu_s=None)
    found = named(site)["max_connections = 60"]
    assert found.helps == "harms"


def test_what_was_never_measured_is_unknown(shop):
    blind = replace(shop.database, quoted=False, n_top=50)
    found = named(replace(shop, database=blind, web_cpu_s=None))["two more web servers"]
    assert found.helps == "unknown"
    assert "never measured" in found.text


def test_a_replica_is_unknown_while_the_share_of_reads_is(shop):
    found = named(replace(shop, read_ratio=None))["one more replica"]
    assert found.helps == "unknown" and "read_ratio" in found.text


def test_connections_that_would_be_refused_are_harm(shop):
    site = replace(shop, in_flight_max=8)
    found = effect(site, Step("larger pools", {"pool_size": 20}))
    assert found.helps == "harms"
    assert "63 pooled connections would be refused" in found.text


def test_the_best_come_first(shop):
    order = [e.helps for e in effects(shop)]
    assert order == sorted(order, key=["yes", "unknown", "no", "harms"].index)
