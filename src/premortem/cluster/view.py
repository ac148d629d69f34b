"""A cluster's status as lines of text. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["masked", "view"]

_PASSWORD = re.compile(r"password=\S+")


def masked(status: Mapping[str, object]) -> Mapping[str, object]:
    """The same without passwords.

    >>> masked({"app": "host=a password=secret dbname=app"})
    {'app': 'host=a password=*** dbname=app'}
    """
    return {
        k: _PASSWORD.sub("password=***", v) if isinstance(v, str) else v for k, v in status.items()
    }


def view(status: Mapping[str, Any]) -> str:
    """What a person wants to see first."""
    return "\n".join(_lines(status))


def _lines(s: Mapping[str, Any]) -> Iterator[str]:
    watched = "supervised" if s["supervised"] else "NOT SUPERVISED (premortem cluster up)"
    yield f"{s['name']}: primary {s['primary'] or 'NONE'}, sync {s['sync']}, {watched}"
    for m in s["members"]:
        yield f"  {m['name']:<8} {m['role']:<15} {m['state']:<10} {_lag(m)} {m['address']}"
    healthy = sum(bool(e["healthy"]) for e in s["etcd"])
    yield f"  etcd: {healthy} of {len(s['etcd'])} healthy"
    yield f"  routes: {_routes(s['routes'])}"
    yield from _pools(s["pools"])


def _lag(m: Mapping[str, Any]) -> str:
    lag = m.get("lag_bytes")
    return f"lag {lag / 1024:.0f} kB" if isinstance(lag, int | float) else "lag unknown"


def _routes(routes: Mapping[str, Any]) -> str:
    if routes["proxy"] != "up":
        return f"proxy {routes['proxy']}"
    primary = ", ".join(routes["primary"]) or "NOBODY"
    return f"primary → {primary}; replicas → {', '.join(routes['replicas']) or 'nobody'}"


def _pools(pools: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not pools:
        yield "  no pooling: PgBouncer is not installed"
    for p in pools:
        if "error" in p:
            yield f"  pooler: {p['error']}"
            continue
        used = p["servers_active"] + p["servers_idle"]
        held = ", PAUSED" if p["paused"] else ""
        yield (
            f"  pool {p['database']}: {p['clients_active']} clients active, "
            f"{p['clients_waiting']} waiting, {used} server connections{held}"
        )
