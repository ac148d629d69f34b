"""What a cluster drill amounts to: seconds, writes and events in, figures and bars out. Pure.

Times are seconds from the fault (or, in the surge, from the start of its ramp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from premortem.model import Event

__all__ = [
    "BARS",
    "Bar",
    "Judged",
    "causes_named",
    "figures",
    "goodput_rps",
    "judge",
    "met",
    "named",
    "users",
]

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """One thing a drill must show: the figure, and the most it may be."""

    figure: str
    most: float
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A bar with what was measured; a figure that is missing misses it."""

    bar: Bar
    value: float | None

    @property
    def met(self) -> bool:
        return self.value is not None and self.value <= self.bar.most


NOTHING_LOST = (
    Bar("orders_lost", 0, "orders", "acknowledged orders that are gone"),
    Bar("writes_lost", 0, "writes", "acknowledged writes that are gone"),
)
_NAMED = "until the cause was named"

BARS: Mapping[str, tuple[Bar, ...]] = {
    "failover": (
        Bar("gap_s", 5.0, "s", "longest silence between acknowledged writes"),
        *NOTHING_LOST,
        Bar("named_s", 10.0, "s", _NAMED),
    ),
    "switchover": (
        Bar("gap_s", 3.0, "s", "longest silence between acknowledged writes"),
        Bar("users_failed", 0, "users", "users failed"),
        Bar("write_errors", 0, "errors", "writes that failed"),
        *NOTHING_LOST,
    ),
    "etcd-down": (
        # Two inserts are never closer than 20 ms, and a loaded machine may pause everybody.
        Bar("gap_s", 1.0, "s", "longest silence between acknowledged writes"),
        Bar("users_failed", 0, "users", "users failed"),
        Bar("write_errors", 0, "errors", "writes that failed"),
        *NOTHING_LOST,
        Bar("named_s", 10.0, "s", _NAMED),
    ),
    "partition": (
        # The leader's key lives 20 s, and a replica takes over within a few more.
        Bar("gap_s", 25.0, "s", "longest silence between acknowledged writes"),
        Bar("rows_by_two", 0, "rows", "rows taken by two servers at once"),
        *NOTHING_LOST,
        Bar("named_s", 10.0, "s", _NAMED),
    ),
    "surge": (
        Bar("users_failed_share", 0.01, "%", "users failed"),
        Bar("gap_s", 3.0, "s", "longest silence between acknowledged writes, at the switchover"),
        *NOTHING_LOST,
        Bar("named_s", 10.0, "s", "until the database was named"),
    ),
}
"""What each drill must show. Failover and switchover: the cluster's own promise (docs/cluster.md);
naming: the promise of the ledger, 10 s after onset."""


def judge(drill: str, figures: Figures) -> tuple[Judged, ...]:
    """Every bar of the drill with its figure."""
    return tuple(Judged(bar, _number(figures.get(bar.figure))) for bar in BARS[drill])


def met(judged: Sequence[Judged]) -> bool:
    """Whether the drill showed all it must."""
    return all(j.met for j in judged)


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else None  # type: ignore[arg-type]


def users(seconds: Sequence[Mapping[str, float]], since: float) -> dict[str, float]:
    """What became of the users who came from ``since`` on, and their shares."""
    rows = [row for row in seconds if row["t"] >= since]
    names = ("offered", "served", "refused", "failed")
    total = {name: sum(row[name] for row in rows) for name in names}
    found = {f"users_{name}": total[name] for name in names}
    if total["offered"]:
        shares = {n: round(total[n] / total["offered"], 4) for n in names[1:]}
        found |= {f"users_{name}_share": share for name, share in shares.items()}
    return found


def goodput_rps(seconds: Sequence[Mapping[str, float]], start_s: float, end_s: float) -> float:
    """Median requests answered in time in a second of the stretch; 0 without one."""
    rows = [row["requests_ok"] for row in seconds if start_s <= row["t"] < end_s]
    return float(median(rows)) if rows else 0.0


def causes_named(events: Sequence[Event], since: float) -> list[tuple[float, str, str]]:
    """(when, cause, tier) of every cause that was named from ``since`` (epoch seconds) on."""
    return [
        (round(e.at - since, 2), str(e.data["cause"]), str(e.data.get("tier")))
        for e in events
        if e.kind == "diagnosis" and e.data.get("cause") and e.at >= since
    ]


def named(
    events: Sequence[Event], since: float, wanted: Sequence[str], tier: str = ""
) -> float | None:
    """Seconds from ``since`` until one of the wanted causes (or any of the tier) was named."""
    for at, cause, its_tier in causes_named(events, since):
        if cause in wanted or (tier and its_tier == tier):
            return at
    return None


def figures(
    *,
    seconds: Sequence[Mapping[str, float]],
    events: Sequence[Event],
    zero: float,
    fault_at: float,
    gap: tuple[float, float],
    causes: Sequence[str],
    tier: str,
    final: Mapping[str, Any],
) -> dict[str, Any]:
    """The figures of a run. ``zero``, ``fault_at`` and ``gap`` (its ends) are epoch seconds.

    Users count from zero on; a cause is looked for from zero on, too. ``final`` is the load
    engine's last line.
    """
    signal = next((e.at for e in events if e.kind == "signal" and e.at >= zero), None)
    failed = [e.at for e in events if e.kind == "phase" and e.data.get("phase") == "first_failure"]
    return {
        **users(seconds, 0.0),
        "users_failed_before": sum(r["failed"] for r in seconds if r["t"] < 0),
        "first_failure_s": round(failed[0] - zero, 2) if failed else None,
        "gap_s": round(gap[1] - gap[0], 3),
        "gap_from_s": round(gap[0] - fault_at, 2),
        "detected_s": None if signal is None else round(signal - zero, 2),
        "named_s": named(events, zero, causes, tier),
        "named": [list(line) for line in causes_named(events, zero)],
        "attempts_failed": final["attempts"] - final["requests_ok"],
        "retries": final["retries"],
        "timeouts": final["timeouts"],
        "request_errors": final["errors"],
        "response_ms": final["response_ms"],
        "clients_valid": bool(final.get("valid")),
        "clients_reason": final.get("reason"),
    }
