"""HAProxy: what queues and fails in front of the site or the database, from its stats as CSV,
taken from its stats page or from its admin socket.

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
from premortem.sources._http import FetchError, ask_socket, checked, get
from premortem.sources._rates import Counters

__all__ = ["METRICS", "UNREACHABLE", "Haproxy", "parse_route", "parse_stats"]

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
    Metric("db.route.primaries", "servers", "Servers the proxy sends writes to: 1, else trouble."),
    Metric("db.route.replicas", "servers", "Servers the proxy sends reads to."),
    Metric("db.route.sessions", "sessions", "Sessions open through the door for writes."),
    Metric(
        "db.route.connect_errors_per_s", "per_s", "Connections to database servers that failed."
    ),
)

UNREACHABLE = {"url": "http://127.0.0.1:1/stats;csv"}

_COUNTERS = {
    "stot": "web.proxy.requests_per_s",
    "econ": "web.proxy.connect_errors_per_s",
    "wretr": "web.proxy.retries_per_s",
    "door_econ": "db.route.connect_errors_per_s",
}
PRIMARY, REPLICAS = "primary", "replicas"
"""The doors' names in the proxy's configuration, as ``premortem cluster`` writes it."""


@dataclass(slots=True)
class Haproxy:
    """Reads one proxy name (frontend, backend and servers that bear it), or all together."""

    name: ClassVar[str] = "haproxy"

    url: str
    """The stats page with ``;csv`` at its end, or a socket: ``unix:/run/haproxy/admin.sock``."""
    proxy: str = ""
    database: bool = False
    """The proxy stands in front of the database, with the doors ``primary`` and ``replicas``:
    read as ``db.route``, not as the site's own proxy."""
    interval_s: float = 1.0
    timeout_s: float = 1.0
    target: str = field(init=False)
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is neither http, https nor unix."""
        place = self._socket or checked(self.url)
        self.target = place + (f"/{self.proxy}" if self.proxy else "")

    async def read(self, now: float) -> Reading:
        """One page of statistics."""
        try:
            status, page = await self._page()
        except FetchError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        if status != 200 or not page.startswith("# pxname"):
            error = f"status {status}, not the statistics as CSV: does the URL end in ;csv?"
            return Reading(self.name, self.target, now, error=error)
        values, totals, rows = parse_route(page) if self.database else parse_stats(page, self.proxy)
        elapsed_s, grown = self._counters.growth(time.perf_counter(), totals)
        if elapsed_s:
            values |= {_COUNTERS[k]: v / elapsed_s for k, v in grown.items()}
        return Reading(self.name, self.target, now, values, rows)

    async def close(self) -> None:
        """Nothing is kept open."""

    @property
    def _socket(self) -> str:
        return self.url.removeprefix("unix:") if self.url.startswith("unix:/") else ""

    async def _page(self) -> tuple[int, str]:
        if self._socket:
            return 200, await ask_socket(self._socket, "show stat", self.timeout_s)
        return await get(self.url, self.timeout_s)


Parsed = tuple[dict[str, float], dict[str, float], tuple[Mapping[str, object], ...]]


def parse_stats(page: str, proxy: str = "") -> Parsed:
    """Values, totals of counters, and a row for each server that is down."""
    lines = list(csv.DictReader(io.StringIO(page.removeprefix("# "))))
    wanted = [r for r in lines if not proxy or r["pxname"] == proxy]
    fronts = [r for r in wanted if r["svname"] == "FRONTEND"]
    backs = [r for r in wanted if r["svname"] == "BACKEND"]
    servers = [r for r in wanted if r["svname"] not in _NO_SERVER]
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
    return values, totals, _rows(down)


def parse_route(page: str) -> Parsed:
    """The same of a proxy in front of the database: who gets writes, who gets reads."""
    lines = list(csv.DictReader(io.StringIO(page.removeprefix("# "))))
    doors = {
        name: [r for r in lines if r["pxname"] == name and r["svname"] not in _NO_SERVER]
        for name in (PRIMARY, REPLICAS)
    }
    values = {
        f"db.route.{what}": float(sum(r["status"].startswith("UP") for r in doors[name]))
        for what, name in (("primaries", PRIMARY), ("replicas", REPLICAS))
        if doors[name]
    }
    front = [r for r in lines if r["pxname"] == PRIMARY and r["svname"] == "FRONTEND"]
    back = [r for r in lines if r["pxname"] == PRIMARY and r["svname"] == "BACKEND"]
    values |= {"db.route.sessions": _sum(front, "scur")} if front else {}
    down = [r for r in doors[PRIMARY] + doors[REPLICAS] if r["status"].startswith("DOWN")]
    return values, {"door_econ": _sum(back, "econ")} if back else {}, _rows(down)


_NO_SERVER = ("FRONTEND", "BACKEND")


def _rows(down: list[dict[str, str]]) -> tuple[Mapping[str, object], ...]:
    return tuple(
        {"kind": "server", "proxy": r["pxname"], "server": r["svname"], "state": r["status"]}
        for r in down[:50]
    )


def _sum(lines: list[dict[str, str]], column: str) -> float:
    return sum(float(r.get(column) or 0) for r in lines)
