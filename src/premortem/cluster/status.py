"""What a cluster looks like now, asked of its own parts; a part that does not answer says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from premortem.cluster.state import State
from premortem.cluster.topology import Node
from premortem.engines import etcd, haproxy
from premortem.engines.errors import EngineError
from premortem.engines.patroni import members

__all__ = ["status"]


def status(state: State, *, supervised: bool) -> Mapping[str, object]:
    """All facts as JSON-able values. Lag in bytes; pools in connections."""
    rows = _members(state)
    primary = next((str(r["name"]) for r in rows if r.get("role") in ("leader", "primary")), None)
    return {
        "name": state.topology.name,
        "folder": str(state.folder),
        "supervised": supervised,
        "sync": state.topology.sync,
        "primary": primary,
        "members": rows,
        "etcd": _etcd(state),
        "routes": _routes(state),
        "pools": _pools(state),
        "app": state.dsn(),
        "app_ro": state.dsn(replicas=True),
    }


def _members(state: State) -> list[Mapping[str, object]]:
    """As the first node that answers knows them; those it does not know are ``down``."""
    known: dict[str, Mapping[str, object]] = {}
    for n in state.topology.servers:
        try:
            known = {str(m.get("name")): m for m in members(state.patroni(n).cluster())}
            break
        except EngineError:
            continue
    return [_member(n, known.get(n.name)) for n in state.topology.servers]


def _member(n: Node, said: Mapping[str, object] | None) -> Mapping[str, object]:
    row: dict[str, object] = {"name": n.name, "address": f"{n.address}:{n.postgres_port}"}
    if said is None:
        return row | {"role": "unknown", "state": "down", "lag_bytes": None}
    return row | {
        "role": said.get("role"),
        "state": said.get("state"),
        "lag_bytes": said.get("lag", 0 if said.get("role") == "leader" else None),
        "timeline": said.get("timeline"),
    }


def _etcd(state: State) -> list[Mapping[str, object]]:
    voters = state.topology.voters
    with ThreadPoolExecutor(max(1, len(voters))) as pool:
        fine = pool.map(etcd.healthy, state.etcd_urls)
    return [{"name": v.name, "healthy": ok} for v, ok in zip(voters, fine, strict=True)]


def _routes(state: State) -> Mapping[str, object]:
    if state.haproxy is None:
        return {"proxy": "none"}
    t = state.topology
    try:
        rows = haproxy.statistics(t.address, t.stats_port)
    except EngineError as error:
        return {"proxy": "down", "error": str(error)}
    found: dict[str, object] = {"proxy": "up"}
    for door in ("primary", "replicas"):
        found[door] = [
            r["svname"]
            for r in rows
            if r["pxname"] == door and r["svname"] not in ("FRONTEND", "BACKEND")
            if r["status"].startswith("UP")
        ]
    return found


def _pools(state: State) -> Sequence[Mapping[str, object]]:
    if state.pgbouncer is None:
        return []
    try:
        rows = state.console.show("pools")
        paused = state.console.paused()
    except EngineError as error:
        return [{"error": str(error)}]
    return [
        {
            "database": r["database"],
            "clients_active": int(r["cl_active"]),
            "clients_waiting": int(r["cl_waiting"]),
            "servers_active": int(r["sv_active"]),
            "servers_idle": int(r["sv_idle"]),
            "wait_max_s": int(r["maxwait"]),
            "paused": paused,
        }
        for r in rows
        if r["database"] != "pgbouncer"
    ]
