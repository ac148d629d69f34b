"""Patroni: who leads the cluster, who follows, and how far behind, from its REST interface.

https://patroni.readthedocs.io/en/latest/rest_api.html (``GET /cluster``)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from premortem.model import Metric, Reading
from premortem.sources._http import FetchError, checked, get

__all__ = ["METRICS", "UNREACHABLE", "Patroni", "parse_cluster"]

METRICS = (
    Metric("db.cluster.members", "servers", "Members that Patroni knows."),
    Metric("db.cluster.leaders", "servers", "Members that lead and run: 1, else nobody writes."),
    Metric("db.cluster.followers", "servers", "Replicas that stream."),
    Metric("db.cluster.lag_bytes", "bytes", "Log the slowest known replica has not received."),
    Metric("db.cluster.timeline", "code", "The leader's timeline: it grows at each failover."),
    Metric("db.cluster.paused", "bool", "1 nobody fails over by itself (maintenance), 0 not."),
)

UNREACHABLE = {"url": "http://127.0.0.1:1"}


@dataclass(slots=True)
class Patroni:
    """Asks one member for what it knows of the cluster."""

    name: ClassVar[str] = "patroni"

    url: str
    """A member's REST address, as in ``http://10.0.0.1:8008``."""
    interval_s: float = 2.0
    timeout_s: float = 2.0
    """Patroni asks its consensus store before it answers."""
    target: str = field(init=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        self.target = checked(self.url)

    async def read(self, now: float) -> Reading:
        """One look at the cluster."""
        try:
            status, body = await get(self.url.rstrip("/") + "/cluster", self.timeout_s)
        except FetchError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        if status != 200:
            return Reading(self.name, self.target, now, error=f"status {status} from /cluster")
        try:
            values, rows = parse_cluster(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            return Reading(self.name, self.target, now, error="not Patroni's answer")
        error = None if values["db.cluster.leaders"] == 1 else "the cluster has no running leader"
        return Reading(self.name, self.target, now, values, rows, error)

    async def close(self) -> None:
        """Nothing is kept open."""


def parse_cluster(
    found: Mapping[str, Any],
) -> tuple[dict[str, float], tuple[Mapping[str, object], ...]]:
    """Values and a row a member. Raises ``KeyError`` or ``TypeError`` for another document."""
    members = list(found["members"])[:50]
    leaders = [
        m
        for m in members
        if m["role"] in ("leader", "standby_leader", "master") and m["state"] == "running"
    ]
    followers = [m for m in members if m not in leaders and m["state"] in ("streaming", "running")]
    values = {
        "db.cluster.members": float(len(members)),
        "db.cluster.leaders": float(len(leaders)),
        "db.cluster.followers": float(len(followers)),
        "db.cluster.paused": float(bool(found.get("pause"))),
    }
    lags = [float(m["lag"]) for m in members if isinstance(m.get("lag"), int | float)]
    values |= {"db.cluster.lag_bytes": max(lags)} if lags else {}
    values |= {"db.cluster.timeline": float(leaders[0]["timeline"])} if leaders else {}
    wanted = ("name", "role", "state", "timeline", "lag")
    return values, tuple({"kind": "member", **{k: m.get(k) for k in wanted}} for m in members)
