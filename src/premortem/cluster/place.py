"""Where a cluster on this machine may live: folder, free ports, space. Raises ``EngineError``."""

from __future__ import annotations

import os
import random
import shutil
import socket
from dataclasses import replace
from pathlib import Path

from premortem.cluster.topology import Node, Sync, Topology
from premortem.engines.errors import EngineError

__all__ = ["default_folder", "free_ports", "local_topology", "ports_free", "roomy"]

SPACE_BYTES_PER_NODE = 400_000_000
"""A fresh server takes 60 MB; its WAL may grow to some 300 MB before it is recycled."""
PORTS = range(20000, 32000)
"""Below what systems hand to outgoing connections, so that none of those takes a port of ours."""
FRONT_PORTS = 4


def default_folder(name: str) -> Path:
    """Where a cluster lives unless told otherwise; as root a place that other users can enter."""
    if os.geteuid() == 0:
        return Path("/var/lib/premortem") / name
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "premortem" / name


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports nobody listens on now, from a random place on so that two clusters seldom meet."""
    found: list[int] = []
    start = random.randrange(len(PORTS))
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if _free(host, port):
            found.append(port)
        if len(found) == count:
            return found
    raise EngineError(f"fewer than {count} free ports from {PORTS[0]} to {PORTS[-1]}")


def _free(host: str, port: int) -> bool:
    """Whether nobody listens there; what closed connections leave behind for a minute is no one."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
        return True


def local_topology(
    name: str, nodes: int, sync: Sync, *, port: int | None = None, etcd_members: int = 3
) -> Topology:
    """Servers on this machine with free ports. Raises ``EngineError`` when ``port`` is taken."""
    if port is not None and not _free("127.0.0.1", port):
        raise EngineError(f"port {port} is taken: choose another --port or leave it out")
    ports = iter(free_ports(max(nodes, etcd_members) * 4 + FRONT_PORTS))
    made = tuple(
        Node(
            f"node{i + 1}",
            "127.0.0.1",
            postgres=i < nodes,
            etcd=i < etcd_members,
            postgres_port=next(ports),
            patroni_port=next(ports),
            etcd_client_port=next(ports),
            etcd_peer_port=next(ports),
        )
        for i in range(max(nodes, etcd_members))
    )
    t = Topology(name, made, sync=sync, no_loss=sync != "off" and nodes > 1)
    return replace(
        t,
        postgres=replace(t.postgres, tls=False),
        app_port=port or next(ports),
        primary_port=next(ports),
        replica_port=next(ports),
        stats_port=next(ports),
    )


def ports_free(t: Topology) -> None:
    """Refuse a topology when another program listens where it wants to."""
    wanted = {(t.address, p) for p in (t.app_port, t.primary_port, t.replica_port, t.stats_port)}
    for n in t.nodes:
        wanted |= {(n.address, n.postgres_port), (n.address, n.patroni_port)}
        wanted |= {(n.address, n.etcd_client_port), (n.address, n.etcd_peer_port)}
    taken = [f"{host}:{port}" for host, port in sorted(wanted) if not _free(host, port)]
    if taken:
        raise EngineError(f"taken by another program: {', '.join(taken)}: choose other ports")


def roomy(folder: Path, servers: int) -> None:
    """Refuse a disk that could not hold so many fresh servers."""
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free, need = shutil.disk_usage(place).free, servers * SPACE_BYTES_PER_NODE
    if free < need:
        raise EngineError(
            f"{place} has {free / 1e6:.0f} MB free, {servers} servers need {need / 1e6:.0f} MB: "
            "free some or choose another --folder"
        )
