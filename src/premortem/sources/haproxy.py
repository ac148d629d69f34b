"""HAProxy: what queues and fails in front of the site or the database, from its stats as CSV.

The columns: https://docs.haproxy.org/2.8/management.html#9.1
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from premortem.model import Metric, Reading
from premortem.sources._http import FetchError, checked, get
from premortem.sources._rates import Counters

__all__ = ["METRICS", "UNREACHABLE", "Haproxy", "parse_stats"]

METRICS = (
    Metric("web.proxy.queue_length", "requests", "Waiting at the proxy for a server."),
    Metric("web.proxy.sessions", "sessions", "Sessions open at the proxy's front."),
    Metric("web.proxy.sessions_max", "sessions", "How many sessions the front may hold."),
    Metric("web.proxy.requests_per_s", "per_s", "Sessions that came to the front."),
    Metric("web.proxy.connect_errors_per_s", "per_s", "Connections to servers that failed."),
    Metric("web.proxy.retries_per_s", "per_s", "Connections to servers tried again."),
    Metric("web.proxy.servers_up", "servers", "Servers that pass their check."),
    Metric("web.proxy.servers_down", "servers", "Servers that fail their check."),
    Metric("web.proxy.connect_ms", "ms", "Mean connect to a server, last 1024 sessions."),
    Metric("web.proxy.queue_ms", "ms", "Mean wait in the queue, last 1024 sessions."),
)

UNREACHABLE = {"url": "http://127.0.0.1:1/stats;csv"}

_COUNTERS = {
    "stot": "web.proxy.requests_per_s",
    "econ": "web.proxy.connect_errors_per_s",
    "wretr": "web.proxy.retries_per_s",
}


@dataclass(slots=True)
class Haproxy:
    """Reads one proxy name (frontend, backend and servers that bear it), or all together."""

    name: ClassVar[str] = "haproxy"

    url: str
    """The stats page with ``;csv`` at its end."""
    proxy: str = ""
    interval_s: float = 1.0
    timeout_s: float = 1.0
    target: str = field(init=False)
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        self.target = checked(self.url) + (f"/{self.proxy}" if self.proxy else "")

    async def read(self, now: float) -> Reading:
        """One page of statistics."""
        try:
            status, page = await get(self.url, self.timeout_s)
        except FetchError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        if status != 200 or not page.startswith("# pxname"):
            error = f"status {status}, not the statistics as CSV: does the URL end in ;csv?"
            return Reading(self.name, self.target, now, error=error)
        values, totals, rows = parse_stats(page, self.proxy)
        elapsed_s, grown = self._counters.growth(time.perf_counter(), totals)
        if elapsed_s:
            values |= {_COUNTERS[k]: v / elapsed_s for k, v in grown.items()}
        return Reading(self.name, self.target, now, values, rows)

    async def close(self) -> None:
        """Nothing is kept open."""


Parsed = tuple[dict[str, float], dict[str, float], tuple[Mapping[str, object], ...]]


def parse_stats(page: str, proxy: str = "") -> Parsed:
    """Values, totals of counters, and a row for each server that is down."""
    lines = list(csv.DictReader(io.StringIO(page.removeprefix("# "))))
    wanted = [r for r in lines if not proxy or r["pxname"] == proxy]
    fronts = [r for r in wanted if r["svname"] == "FRONTEND"]
    backs = [r for r in wanted if r["svname"] == "BACKEND"]
    servers = [r for r in wanted if r["svname"] not in ("FRONTEND", "BACKEND")]
    up = [r for r in servers if r["status"].startswith(("UP", "no check"))]
    down = [r for r in servers if r["status"].startswith("DOWN")]
    values = {
        "web.proxy.queue_length": _sum(backs, "qcur"),
        "web.proxy.sessions": _sum(fronts, "scur"),
        "web.proxy.sessions_max": _sum(fronts, "slim"),
        "web.proxy.servers_up": float(len(up)),
        "web.proxy.servers_down": float(len(down)),
    }
    for column, metric in (("ctime", "web.proxy.connect_ms"), ("qtime", "web.proxy.queue_ms")):
        known = [float(r[column]) for r in backs if r.get(column)]
        values |= {metric: max(known)} if known else {}
    totals = {"stot": _sum(fronts, "stot")} | {c: _sum(backs, c) for c in ("econ", "wretr")}
    rows = tuple(
        {"kind": "server", "proxy": r["pxname"], "server": r["svname"], "state": r["status"]}
        for r in down[:50]
    )
    return values, totals, rows


def _sum(lines: list[dict[str, str]], column: str) -> float:
    return sum(float(r.get(column) or 0) for r in lines)
