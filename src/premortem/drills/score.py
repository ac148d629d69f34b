"""What a run amounts to: per-second rows and events in, one dict of figures out. Pure.

Times are seconds from the start of the ramp; rates are per second; shares are 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from premortem.drills.scenario import Timeline
from premortem.model import Event

__all__ = ["RunScore", "Second", "recovered_s", "score"]

RECOVERED_SHARE = 0.95
"""Goodput counts as back when this share of the users offered is served …"""
RECOVERED_FOR_S = 3
"""… for this many seconds in a row."""


@dataclass(frozen=True, slots=True)
class Second:
    """One second of a run. Users are counted in the second they arrived in; requests when done."""

    t: int
    """Seconds from the start of the ramp; negative before it."""
    offered: int
    served: int
    refused: int
    failed: int
    requests_ok: int
    attempts: int


@dataclass(frozen=True, slots=True)
class RunScore:
    """One entry of ``runs`` in result.json."""

    mode: str
    baseline_goodput_rps: float
    surge_offered_rps: float
    surge_goodput_rps: float
    users_total: int
    users_failed_share_in_surge: float
    users_refused_share_in_surge: float
    users_served_share_in_surge: float
    first_failure_s: float | None
    detected_s: float | None
    named_s: float | None
    tier: str | None
    cause: str | None
    ruled_out: tuple[str, ...]
    recovered_s: float | None
    recovered_after_restart_s: float | None
    restarts: int
    writes_acknowledged: int
    writes_lost: int
    p50_ms: float | None
    p99_ms: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ruled_out": list(self.ruled_out)}


def recovered_s(seconds: Sequence[Second], after: float, until: float) -> float | None:
    """Seconds from ``after`` until users are served again; ``None`` if not before ``until``.

    The whole window of proof (:data:`RECOVERED_FOR_S`) must lie before ``until``.
    """
    rows = [s for s in seconds if after <= s.t < until]
    for i in range(len(rows) - RECOVERED_FOR_S + 1):
        window = rows[i : i + RECOVERED_FOR_S]
        offered = sum(s.offered for s in window)
        if offered and sum(s.served for s in window) >= RECOVERED_SHARE * offered:
            return float(window[0].t - after)
    return None


def _rate(rows: Sequence[Second], field: str) -> float:
    return float(median(getattr(s, field) for s in rows)) if rows else 0.0


def _share(rows: Sequence[Second], field: str) -> float:
    offered = sum(s.offered for s in rows)
    return round(sum(getattr(s, field) for s in rows) / offered, 4) if offered else 0.0


def _first(events: Sequence[Event], ramp_at: float, kind: str, **data: object) -> float | None:
    for event in events:
        fits = event.kind == kind and event.at >= ramp_at - 0.5
        if fits and all(event.data.get(k) == v for k, v in data.items()):
            return round(event.at - ramp_at, 2)
    return None


def score(
    *,
    mode: str,
    line: Timeline,
    seconds: Sequence[Second],
    events: Sequence[Event],
    ramp_at: float,
    requests_per_journey: float,
    first_failure_s: float | None,
    acknowledged: int,
    lost: int,
    p50_ms: float | None,
    p99_ms: float | None,
) -> RunScore:
    """Fold a run into its figures.

    What was named when comes from the events: those of the operators in the run as it happened,
    premortem's own in the protected one. ``requests_per_journey`` turns users offered into
    requests offered.
    """
    hold, after = line.phase("hold"), line.phase("after")
    in_surge = [s for s in seconds if 0 <= s.t < hold.end_s]
    in_hold = [s for s in seconds if hold.start_s <= s.t < hold.end_s]
    calm = [s for s in seconds if line.start_s + 2 <= s.t < 0]  # the first two seconds warm up
    restart = _first(events, ramp_at, "operator", action="restart_database")
    named = _named(events, ramp_at, by_operators=mode == "as_it_happened")
    return RunScore(
        mode=mode,
        baseline_goodput_rps=_rate(calm, "requests_ok"),
        surge_offered_rps=round(_rate(in_hold, "offered") * requests_per_journey, 1),
        surge_goodput_rps=_rate(in_hold, "requests_ok"),
        users_total=sum(s.offered for s in seconds),
        users_failed_share_in_surge=_share(in_surge, "failed"),
        users_refused_share_in_surge=_share(in_surge, "refused"),
        users_served_share_in_surge=_share(in_surge, "served"),
        first_failure_s=first_failure_s,
        detected_s=_detected(events, ramp_at, by_operators=mode == "as_it_happened"),
        named_s=named[0],
        tier=named[1],
        cause=named[2],
        ruled_out=named[3],
        recovered_s=recovered_s(
            seconds, after.start_s, after.end_s if restart is None else restart
        ),
        recovered_after_restart_s=None
        if restart is None
        else recovered_s(seconds, restart, after.end_s),
        restarts=sum(
            1 for e in events if e.kind == "operator" and e.data.get("action") == "restart_database"
        ),
        writes_acknowledged=acknowledged,
        writes_lost=lost,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
    )


def _detected(events: Sequence[Event], ramp_at: float, *, by_operators: bool) -> float | None:
    if by_operators:
        return _first(events, ramp_at, "operator", action="alert")
    return _first(events, ramp_at, "signal")


def _named(
    events: Sequence[Event], ramp_at: float, *, by_operators: bool
) -> tuple[float | None, str | None, str | None, tuple[str, ...]]:
    """When which tier and cause were named, and which tiers had been ruled out by then."""
    if by_operators:
        at = _first(events, ramp_at, "operator", action="blame", tier="database")
        out = [
            str(e.data["tier"])
            for e in events
            if e.kind == "operator" and e.data.get("action") == "rule_out"
        ]
        return at, "database" if at is not None else None, None, tuple(out)
    for event in events:
        if event.kind == "diagnosis" and event.data.get("cause") and event.at >= ramp_at:
            tiers = event.data.get("ruled_out")
            out = [str(t) for t in tiers] if isinstance(tiers, (list, tuple)) else []
            return (
                round(event.at - ramp_at, 2),
                str(event.data["tier"]),
                str(event.data["cause"]),
                tuple(out),
            )
    return None, None, None, ()
