"""Two invented runs, shaped like real ones: for tests, for the docs, and to look at a page. Pure.

Nothing here was measured. The figures follow the timeline of the seeds at 2.5 minutes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sin
from typing import Any

from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED, Record
from premortem.model import Event, Evidence, State, Tier, Verdict

__all__ = ["sample_result", "sample_runs"]

RAMP_AT = 1_677_668_400.0
"""2023-03-01 11:00:00 UTC, the first minute of the shop's outage."""

KNEE_USERS = 20.0
CALM, SURGE = 8.0, 60.0

_TIERS: Mapping[str, Tier] = {
    "connection_exhaustion": "database",
    "db_cpu_by_traffic": "database",
    "lock_contention": "database",
    "network_loss": "network",
    "retry_storm": "clients",
    "web_cpu": "web",
}


def sample_result() -> dict[str, Any]:
    """``result.json`` of the invented drill, with both runs."""
    return {
        "scenario": "shop",
        "knee_rps": 80.4,
        "knee_journeys_per_s": KNEE_USERS,
        "seed": {"named_min": 90, "mitigated_min": 120, "recovered_min": 150},
        "speed_min_per_s": 2.5,
        "runs": [_result(AS_IT_HAPPENED), _result(PROTECTED)],
    }


def sample_runs() -> list[Record]:
    """The two invented runs: as it happened, and protected."""
    return [_run(AS_IT_HAPPENED), _run(PROTECTED)]


def _result(mode: str) -> dict[str, Any]:
    rows = [row for row in _seconds(mode) if 0 <= row["t"] < 40]
    offered = sum(row["offered"] for row in rows)
    shares = {
        f"users_{name}_share_in_surge": round(sum(row[name] for row in rows) / offered, 4)
        for name in ("failed", "refused", "served")
    }
    common = {
        "mode": mode,
        "baseline_goodput_rps": 32.0,
        "surge_offered_rps": 241.2,
        "users_total": int(sum(row["offered"] for row in _seconds(mode))),
        "tier": "database",
        "writes_lost": 0,
        **shares,
    }
    if mode == AS_IT_HAPPENED:
        return common | {
            "surge_goodput_rps": 0.0, "first_failure_s": 5.31, "detected_s": 8.4, "named_s": 36.0,
            "cause": None, "ruled_out": ["network", "web"], "recovered_s": None,
            "recovered_after_restart_s": 4.0, "restarts": 1, "writes_acknowledged": 64,
            "p50_ms": 1003.2, "p99_ms": 3120.8,
        }  # fmt: skip
    return common | {
        "surge_goodput_rps": 78.9, "first_failure_s": None, "detected_s": 3.25, "named_s": 5.5,
        "cause": "db_cpu_by_traffic", "ruled_out": ["network", "web"], "recovered_s": 1.0,
        "recovered_after_restart_s": None, "restarts": 0, "writes_acknowledged": 431,
        "p50_ms": 112.4, "p99_ms": 604.0,
    }  # fmt: skip


def _offered(t: int) -> float:
    level = CALM if t < 0 or t >= 40 else CALM + (SURGE - CALM) * min(1.0, t / 15)
    return float(round(level * (1 + 0.12 * sin(2.3 * t) + 0.07 * sin(5.1 * t + 1))))


def _served(mode: str, t: int, offered: float) -> float:
    if mode == PROTECTED:
        return min(offered, float(round(KNEE_USERS * (0.97 + 0.05 * sin(3.7 * t)))))
    if t < 5 or t >= 52:
        return offered
    return float(max(0, round(offered * (8 - t) / 4))) if t < 8 else 0.0


def _seconds(mode: str) -> tuple[dict[str, float], ...]:
    rows = []
    for t in range(-12, 64):
        offered = _offered(t)
        served = _served(mode, t, offered)
        rest = offered - served
        refused = rest if mode == PROTECTED else 0.0
        attempts = offered * (4.0 if mode == PROTECTED else 4.0 + 8.0 * (rest > 0))
        rows.append(
            {"t": t, "offered": offered, "served": served, "refused": refused,
             "failed": rest - refused, "requests_ok": served * 4, "attempts": attempts}
        )  # fmt: skip
    return tuple(rows)


def _sessions(mode: str) -> tuple[tuple[float, float, float, float], ...]:
    rows = []
    for t in range(-12, 64):
        if mode == PROTECTED:
            active = 8.0 if 4 <= t < 41 else 2.0 + (t % 3)
            rows.append((float(t), active, 10.0 - active, 100.0))
        elif t == 49:
            rows.append((float(t), 0.0, 0.0, 100.0))
        else:
            busy = min(96.0, 4.0 + 11.0 * max(0, t - 1)) if 0 <= t < 48 else 4.0
            rows.append((float(t), busy, min(3.0, 97.0 - busy), 100.0))
    return tuple(rows)


_BECAUSE: Mapping[str, tuple[State, str, str]] = {
    "network_loss": (
        "ruled_out",
        "connecting takes 0.2 ms and 0 of 4,100 segments were sent again",
        "",
    ),
    "web_cpu": ("ruled_out", "web CPU 41 % while requests waited 38 ms for a database session", ""),
    "lock_contention": ("ruled_out", "0.1 sessions on average wait for a lock", ""),
    "connection_exhaustion": ("ruled_out", "10 of 100 connections in use", ""),
    "retry_storm": (
        "cannot_exclude",
        "retries are not told apart from first attempts.",
        "the share of requests that repeat an idempotency key",
    ),
    "db_cpu_by_traffic": (
        "confirmed",
        "7.2 active sessions on 1 core, calls 2.9 times the usual",
        "",
    ),
}


def _final(at: float) -> tuple[Verdict, ...]:
    seen = (
        Evidence("db.wait.cpu", 7.2, 1.0, at - 2, "7.2 sessions on the CPU, 1 core to run them"),
        Evidence("db.transactions_per_s", 96.0, 33.0, at - 2, "96 transactions/s, usually 33"),
    )
    return tuple(
        Verdict(cause, _TIERS[cause], state, because, seen if state == "confirmed" else (), check)
        for cause, (state, because, check) in _BECAUSE.items()
    )


def _ledger(mode: str) -> tuple[tuple[float, dict[str, State]], ...]:
    rows: list[tuple[float, dict[str, State]]] = []
    for t in range(-12, 64):
        held: dict[str, State] = dict.fromkeys(_TIERS, "cannot_exclude")
        if t >= -8:
            held |= {
                "network_loss": "ruled_out",
                "web_cpu": "ruled_out",
                "lock_contention": "ruled_out",
            }
        full = mode == AS_IT_HAPPENED and 9 <= t < 48
        held["connection_exhaustion"] = "confirmed" if full else "ruled_out"
        if 3 <= t < 42:
            held["db_cpu_by_traffic"] = "suspected" if t < 5 else "confirmed"
        if mode == AS_IT_HAPPENED and 8 <= t < 48:
            held["retry_storm"] = "suspected" if t < 40 else "confirmed"
        rows.append((float(t), held))
    return tuple(rows)


def _event(t: float, kind: str, text: str, who: str = "premortem", **data: object) -> Event:
    return Event(RAMP_AT + t, kind, text, who, data)


def _phase(t: float, name: str, text: str) -> Event:
    return _event(t, "phase", text, "drill", phase=name)


def _operator(minute: float, action: str, tier: str, text: str) -> Event:
    return _event(minute / 2.5, "operator", text, "operator", action=action, tier=tier)


def _events(mode: str) -> tuple[Event, ...]:
    settings = {"pool_size": 8, "cap": 8} if mode == PROTECTED else {}
    shared = [
        _event(-12, "phase", "calm: 8 users/s, 40 % of the knee", "drill",
               phase="baseline", settings=settings),
        _phase(0, "ramp", "the surge begins to ramp"),
        _phase(15, "hold", "the surge holds at 3.0 × the knee"),
        _phase(40, "surge_end", "the surge is over"),
        _phase(64, "end", "end of the run"),
    ]  # fmt: skip
    return (*shared, *(_theirs() if mode == AS_IT_HAPPENED else _ours()))


def _theirs() -> list[Event]:
    return [
        _phase(5.31, "first_failure", "the first user failed"),
        _event(8.4, "operator", "the monitoring alerts: 92% of the users failed", "monitoring",
               action="alert", share=0.92),
        _operator(5, "blame", "network", "the network is assumed to have failed"),
        _operator(15, "note", "network", "the network team is called in"),
        _operator(30, "rule_out", "network", "the network team rules the network out"),
        _operator(30, "blame", "web", "the web servers are suspected"),
        _operator(45, "note", "web", "the web servers are seen to be overloaded"),
        _operator(75, "add_workers", "web", "web workers are added: 3 instead of 1"),
        _event(30.6, "effect", "3 web processes serve the site instead of 1", "operators",
               workers=3),
        _operator(90, "rule_out", "web", "the added workers did not help"),
        _operator(90, "blame", "database", "the database is found to be the bottleneck"),
        _operator(120, "restart_database", "database", "the database is restarted"),
        _event(48.7, "effect", "the database is back after 0.7 s, every session it had is gone",
               "operators", took_s=0.7),
        _phase(52, "recovered", "goodput is back at 95 % of what is offered"),
    ]  # fmt: skip


def _ours() -> list[Event]:
    cause = {"cause": "db_cpu_by_traffic", "tier": "database"}
    return [
        _event(3.25, "signal", "db.wait.cpu reaches its limit of 1 core in 1.9 s",
               detector="runway", metric="db.wait.cpu", value=0.8, limit=1.0, runway_s=1.9),
        _event(3.5, "verdict", "db_cpu_by_traffic: suspected: 3.1 active sessions on 1 core",
               **cause, state="suspected"),
        _event(5.5, "verdict", "db_cpu_by_traffic: confirmed: 7.2 active sessions on 1 core",
               **cause, state="confirmed"),
        _event(5.5, "diagnosis", "cause named: db_cpu_by_traffic (database)",
               **cause, ruled_out=["network", "web"]),
        _event(5.6, "acted", "shedding of browsing requests switched on", remedy="shed"),
        _event(5.6, "proposed", "cap_pool for db_cpu_by_traffic (after the milder one)",
               remedy="cap_pool"),
        _event(8.6, "effect", "3 s after shed: web.in_flight 8.1 → 7.9; pool.wait_ms 44 → 31",
               remedy="shed"),
        _phase(41, "recovered", "goodput is back at 95 % of what is offered"),
        _event(47.25, "resolved", "no cause has held for 5 s; one had held for 37 s"),
    ]  # fmt: skip


def _run(mode: str) -> Record:
    """The run as the drill hands it over: scenario, figures and knee come from the result."""
    return Record(
        mode=mode,
        ramp_at=RAMP_AT,
        seconds=_seconds(mode),
        sessions=_sessions(mode),
        events=_events(mode),
        ledger=_ledger(mode),
        final_ledger=_final(RAMP_AT + 5.5),
    )
