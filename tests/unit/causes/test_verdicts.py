"""What causes say of each other's worlds: the alternatives, and the conclusions not to draw."""

from __future__ import annotations

from functools import cache

import pytest

from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.detectors._standard import standard
from premortem.examples import Example
from premortem.model import Diagnosis, History, Reading
from premortem.parts import modules, part_class
from premortem.pipeline import Pipeline
from premortem.sources._declared import declared_metrics

MODULES = modules("premortem.causes")
METRICS = declared_metrics()


def last(example: Example) -> Diagnosis:
    pipeline = Pipeline(History(METRICS), standard(), [part_class(m)() for m in MODULES.values()])
    return [pipeline.step(now, readings) for now, readings in example.readings()][-1]


@cache
def seeds_outage() -> Diagnosis:
    full = {**SURGE_OPEN, "db.connections.used": 97, "db.wait.cpu": 90.0}
    return last(
        Example("A", OPEN_SITE, full, errors=(("http_probe", "first byte timeout after 2 s"),))
    )


@cache
def protected() -> Diagnosis:
    return last(Example("B", SITE, SURGE_PROTECTED))


def test_the_seeds_outage_is_the_database_and_nothing_above_it() -> None:
    states = seeds_outage().states()
    assert seeds_outage().cause == "connection_exhaustion"
    assert states["network_loss"] == states["web_cpu"] == "ruled_out"
    assert states["retry_storm"] == "cannot_exclude"
    assert {"network", "web"} <= set(seeds_outage().ruled_out_tiers())


def test_a_guarded_surge_is_database_cpu_with_slots_and_locks_cleared() -> None:
    states = protected().states()
    assert protected().cause == "db_cpu_by_traffic"
    cleared = ("network_loss", "web_cpu", "connection_exhaustion", "lock_contention", "slow_query")
    assert {states[name] for name in cleared} == {"ruled_out"}


def test_what_rules_the_network_out_is_written_with_numbers() -> None:
    verdict = seeds_outage().verdict("network_loss")
    assert verdict is not None
    assert "0.04 % of the TCP segments" in verdict.because
    assert "a TCP connect takes 0.3 ms" in verdict.because
    assert {e.metric for e in verdict.evidence} == {"net.tcp.retransmit_ratio", "net.rtt_ms"}


def test_what_rules_the_web_tier_out_is_its_cpu() -> None:
    verdict = seeds_outage().verdict("web_cpu")
    assert verdict is not None and verdict.because.startswith("the web processes use 4")


def test_without_the_tcp_source_the_network_cannot_be_excluded() -> None:
    found = last(Example("A", OPEN_SITE, SURGE_OPEN).without("net."))
    verdict = found.verdict("network_loss")
    assert verdict is not None and verdict.state == "cannot_exclude"
    assert "ping" in verdict.check
    assert found.tier == "database"


def test_two_faults_are_both_confirmed_and_the_deeper_is_named() -> None:
    found = last(Example("two", SITE, {
        "net.tcp.retransmit_ratio": 0.09, "net.rtt_ms": 900.0, "net.other_port_rtt_ms": 900.0,
        "user.http.connect_ms": 900.0, "db.wait.lock": 7.0, "db.sessions.active": 7.5,
        "db.root_blocker.age_s": 9.0, "user.http.ok_ratio": 0.3,
    }))  # fmt: skip
    states = found.states()
    assert states["network_loss"] == states["lock_contention"] == "confirmed"
    assert found.cause == "lock_contention"


def test_a_red_herring_on_another_tier_is_not_named() -> None:
    found = last(Example("herring", SITE, {**SURGE_PROTECTED, "host.cpu.busy_ratio": 1.0,
                                           "db.replica.lag_s": 3.0}))  # fmt: skip
    assert found.cause == "db_cpu_by_traffic"


def test_trouble_that_passes_is_forgotten() -> None:
    pipeline = Pipeline(History(METRICS), standard(), [part_class(m)() for m in MODULES.values()])
    spell = Example("spell", SITE, SURGE_PROTECTED)
    named = [pipeline.step(now, r).cause for now, r in spell.readings()]
    calm = Example("after", SITE, calm_s=15, trouble_s=1)
    seen = [pipeline.step(now, r).cause for now, r in calm.readings(start=1_000_052.0)]
    assert named[-1] == "db_cpu_by_traffic"
    assert seen[-1] is None


def second_by_second(start: Example, seconds: list[dict[str, float]]) -> list[Diagnosis]:
    """A calm start, then each second as it was measured on a real stack."""
    pipeline = Pipeline(History(METRICS), standard(), [part_class(m)() for m in MODULES.values()])
    seen = [pipeline.step(now, readings) for now, readings in start.readings()]
    for values in seconds:
        now = seen[-1].at + 1
        reading = Reading("example", "site", now, {**start.calm, **values})
        seen.append(pipeline.step(now, [reading]))
    return seen[-len(seconds) :]


def test_a_guard_of_four_that_hides_the_crowd_is_still_named_in_time() -> None:
    """Measured: 1-4 sessions inside, CPU 0.90-1.0, refusals from the third second of the ramp."""
    sessions = [3, 1, 2, 4, 1, 0, 3, 3, 3, 2, 4, 4, 4, 4, 2, 2, 3, 3, 1, 2, 2, 4, 1, 1]
    busy = [0.48, 0.93, 0.84, 0.96, 0.94, 0.90, 0.98, 0.97, 0.93, 0.94, 0.95, 0.91] * 2
    refused = [0, 4, 8, 6, 28, 20, 20, 45, 29, 46, 72, 61, 54, 55, 71, 69, 70, 49, 61, 50, 71, 73]
    offered = [37, 67, 80, 85, 114, 107, 114, 135, 123, 150, 151, 135] + [160] * 12
    seen = second_by_second(Example("calm", SITE, calm_s=40, trouble_s=1), [
        {"db.wait.cpu": n, "db.sessions.active": n, "db.cpu.busy_ratio": b,
         "web.refused_per_s": r, "web.requests_per_s": o, "db.transactions_per_s": 110.0}
        for n, b, r, o in zip(sessions, busy, refused, offered, strict=False)
    ])  # fmt: skip
    named = [d.cause for d in seen]
    assert named.index("db_cpu_by_traffic") <= 4
    assert set(named[4:]) == {"db_cpu_by_traffic"}


def test_a_drowned_site_that_feeds_the_database_in_gulps_keeps_its_cause() -> None:
    """Measured: floods of 30-40 sessions, gaps of none, the web process behind with accepting."""
    sessions = [18, 23, 30, 25, 36, 32, 24, 29, 35, 0, 0, 29, 0, 0, 11, 0, 44, 0, 0, 20, 0, 0]
    queue = [0] * 9 + [427, 173, 851, 720, 1797, 1655, 2049, 1545, 1594, 2049, 1328, 1220, 2049]
    seen = second_by_second(Example("calm", OPEN_SITE, calm_s=40, trouble_s=1), [
        {"db.wait.cpu": n, "db.sessions.active": n, "db.cpu.busy_ratio": 1.0 if n else 0.4,
         "net.tcp.listen_queue": q, "net.tcp.listen_overflows_per_s": 200.0 * (q > 2000),
         "user.http.ok_ratio": 0.2, "db.transactions_per_s": 80.0,
         "db.connections.opened_per_s": 60.0, "web.cpu.busy_ratio": 0.7}
        for n, q in zip(sessions, queue, strict=True)
    ])  # fmt: skip
    assert {d.tier for d in seen[3:]} == {"database"}
    assert {d.states()["network_loss"] for d in seen} == {"ruled_out"}


def test_named_from_the_first_seconds_of_a_watch_that_began_in_the_trouble() -> None:
    """``diagnose`` has no calm past: saturation alone must do, and traffic stays unknown."""
    found = last(Example("A", {**OPEN_SITE, **{
        name: level if isinstance(level, int | float) else level[1]
        for name, level in SURGE_OPEN.items()
    }}, calm_s=14, trouble_s=1))  # fmt: skip
    assert found.tier == "database"
    assert found.states()["slow_query"] != "ruled_out"


@pytest.mark.parametrize("name", ["slow_query", "db_cpu_by_traffic", "cache_stampede"])
def test_full_cpu_is_told_apart_by_calls_and_cost(name: str) -> None:
    assert last(MODULES[name].FIRES[0]).cause == name
