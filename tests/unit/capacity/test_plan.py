import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from premortem.capacity.demand import Calendar, Demand
from premortem.capacity.estimate import Estimate
from premortem.capacity.outage import outage
from premortem.capacity.plan import Plan, make_plan
from premortem.capacity.premortem import write_premortem
from premortem.capacity.report import plan_dict, plan_text
from premortem.capacity.settings import chosen_site, settings
from premortem.capacity.site import Site, capacity
from premortem.capacity.usl import Curve
from premortem.capacity.whatif import parse_event, parse_what_if

SECTIONS = (
    "## Issue Summary",
    "## Timeline",
    "## Root Cause and Resolution",
    "## Corrective and Preventative Measures",
    "### List of tasks",
)


@pytest.fixture(scope="module")
def curve(curves) -> Curve:
    return Curve(curves["select"].loads, tuple(x / 20 for x in curves["select"].throughputs))


@pytest.fixture(scope="module")
def site(select_database) -> Site:
    return Site(
        select_database, web_servers=2, pool_size=5, web_cpu_s=0.002, web_cores=2, db_cores=2,
        db_cores_measured=2, read_ratio=0.8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plan(growing: Demand, curve: Curve, site: Site) -> Plan:
    asked = [parse_what_if(t) for t in ("surge 3x", "web_servers +2", "db_cores x2")]
    return make_plan(growing.end, growing, curve, site, what_ifs=asked)


def test_the_statement_is_dated_with_an_interval_and_names_what_is_full(plan):
    # planted: 0.6 % a day from a median daily peak of 400 * 1.5 * e^(0.36) = 860 up to 1126
    expected = date(2026, 11, 18) + timedelta(days=41)
    assert plan.full.low <= expected <= plan.full.high
    assert abs((plan.full.mid - expected).days) <= 14
    assert plan.statement == (
        f"full on {plan.full.mid}, 90 % interval {plan.full.low} to {plan.full.high}, "
        "first the database's CPU"
    )


def test_headroom_is_against_the_busiest_moment_of_the_week(plan):
    assert plan.headroom_ratio == pytest.approx(1 - plan.peak_now_per_s / plan.capacity_per_s.mid)
    assert 0.1 < plan.headroom_ratio < 0.3


def test_what_if(plan):
    surge, servers, cores = plan.answers
    assert surge.demand_peak_per_s == pytest.approx(3 * plan.peak_now_per_s)
    assert surge.full.mid == plan.worlds.date_of(0)
    assert "26% of it would be served" in surge.text
    assert servers.result.surge_per_s < plan.now.surge_per_s
    assert cores.full.probability < 0.5 < plan.full.probability


def test_an_event_brings_the_date_forward(growing, curve, site, plan):
    known = Calendar(events=(parse_event("Black Friday 2026-11-27 2x"),))
    sooner = make_plan(growing.end, growing, curve, site, calendar=known)
    assert sooner.full.mid == date(2026, 11, 27)
    assert sooner.full.mid < plan.full.mid


def test_a_target_date_sets_the_demand_to_be_ready_for(growing, curve, site, plan):
    near = make_plan(growing.end, growing, curve, site, target=date(2026, 11, 25))
    assert near.target == date(2026, 11, 25)
    assert near.target_peak_per_s.mid < plan.target_peak_per_s.mid
    assert near.choice.enough_probability > 0.9


def test_without_a_crossed_peak_the_date_is_the_earliest(growing, curves, site):
    flat = Curve(curves["raytracer"].loads, tuple(4 * x for x in curves["raytracer"].throughputs))
    told = make_plan(growing.end, growing, flat, site)
    assert told.at_least
    assert "only known to be at least" in told.statement
    assert told.capacity_per_s.low == told.capacity_per_s.high
    assert plan_dict(told)["knee"]["n_max"] is None
    assert "Measure further" in write_premortem(told)


def test_far_from_full_no_date_is_given(growing, curve, site):
    calm = Demand(growing.start, 3600.0, tuple(r / 20 for r in growing.rates))
    told = make_plan(growing.end, calm, curve, site)
    assert told.full.mid is None
    assert told.statement.startswith(f"not full by {told.full.horizon}: 0% of the futures")
    document = write_premortem(told)
    assert "No date is forecast" in document
    assert "times the usual peak" in document


def test_observed_over_modelled_scales_the_capacity(growing, curve, site, plan):
    told = make_plan(
        growing.end, growing, curve, site, observed_over_modelled=Estimate(0.6, 0.7, 0.8)
    )
    assert told.capacity_per_s.mid == pytest.approx(0.7 * plan.capacity_per_s.mid)
    assert told.full.mid < plan.full.mid


def test_the_same_seed_writes_the_same_plan(growing, curve, site, plan):
    asked = [a.what_if for a in plan.answers]
    again = make_plan(growing.end, growing, curve, site, what_ifs=asked)
    assert plan_dict(again) == plan_dict(plan)


def test_the_plan_is_json_and_text(plan):
    told = json.loads(json.dumps(plan_dict(plan), allow_nan=False))
    assert told["full"]["first"] == "the database's CPU"
    assert {s["helps"] for s in told["steps"]} >= {"yes", "no", "harms"}
    assert plan.statement in plan_text(plan)
    assert "two more web servers: lowers" in plan_text(plan)


def test_the_premortem_has_the_seeds_sections_in_order(plan):
    document = write_premortem(plan)
    places = [document.index(title) for title in SECTIONS]
    assert places == sorted(places)
    assert f"outage of {plan.full.mid}" in document
    assert plan.statement in document


def test_the_premortem_takes_its_numbers_from_the_plan(plan):
    told, document = outage(plan), write_premortem(plan)
    assert f"{told.failed:,.0f} of {told.arrived:,.0f}" in document
    assert f"({told.minutes} minutes)" in document
    assert f"{plan.capacity_per_s.mid:,.0f} requests/s" in document
    for each in plan.effects:
        assert each.text in document
    assert "Owner: (name a role). Due: " in document


def test_the_outage_starts_at_the_knee_and_ends_only_below_what_is_left(plan):
    told = outage(plan)
    assert told.warn_min < told.start_min <= told.worst_min < told.end_min
    assert told.left_per_s < told.capacity_per_s < told.peak_per_s
    assert 0 < told.failed < told.arrived
    middles = [(i + 0.5) * 60 for i in range(24)]
    line = np.interp(range(1440), middles, plan.day_shape, period=1440)
    demand = line / line.max() * told.peak_per_s
    assert demand[told.end_min] < told.left_per_s <= demand[told.end_min - 1]
    assert demand[told.start_min - 1] <= told.capacity_per_s < demand[told.start_min]


def test_daily_history_gives_no_hours(growing, curve, site):
    told = make_plan(growing.end, growing.daily_peaks(), curve, site)
    assert outage(told).minutes is None
    assert "no hour can be given" in write_premortem(told)


def test_the_settings_hold_the_site_at_its_knee(plan, site):
    chosen = chosen_site(plan)
    written = settings(chosen)
    assert f"cap={chosen.in_flight_max}" in written["guard"]
    assert not capacity(chosen).past_knee


def test_pgbouncer_is_written_when_the_pools_cannot_be_small_enough(site):
    written = settings(replace(site, web_servers=5, pool_size=1))  # 20 processes, knee at 8
    assert "max_db_connections = 8" in written["pgbouncer.ini"]
    assert "pool_mode = transaction" in written["pgbouncer.ini"]
    assert "postgresql.conf" not in written


def test_max_connections_is_raised_only_when_the_pools_need_it(select_database):
    wide = replace(select_database, usl=replace(select_database.usl, kappa=1e-5))  # knee at 280
    written = settings(Site(wide, web_processes=4, pool_size=5))
    assert written["pool"].startswith("pool_size = 69")
    assert written["postgresql.conf"].startswith("max_connections = 279")
    assert "postgresql.conf" not in settings(Site(wide, web_processes=4, max_connections=300))
