"""Servers in network namespaces with addresses of their own, and links that can be cut.

Root only. Six namespaces on one bridge: three with a server, three with an etcd member, so that a
primary can be cut from etcd and from its replicas separately. Proxy, pooler, clients and witness
are on the bridge's own side. Everything is named after our process id and removed again; what a
killed run left behind is removed by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import psycopg

from benchmarks._cluster_rig import SETTLE_S, Rig, Writers
from premortem.cluster.client import Cluster
from premortem.cluster.start import launch
from premortem.cluster.state import State
from premortem.cluster.topology import Node, Topology
from premortem.cluster.units import FRONT
from premortem.drills.cluster_writer import Witness, overlaps, prepare
from premortem.engines.errors import EngineError

Say = Callable[[str], None]
Figures = tuple[float, int, int, int, str]
"""As in ``failover.Trial``: gap_s, lost, errors, both, note."""

NET = "10.213.77"
CUT_S = 32.0
"""How long a cut lasts: ttl 20 s and the failover must fit in it."""


def ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise EngineError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def sweep() -> None:
    """Remove what runs that were killed left behind."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    for line in listed.stdout.splitlines():
        name = line.split()[0]
        if name.startswith("pmb") and not psutil.pid_exists(int(name[3:].partition("-")[0])):
            ip("netns", "del", name, check=False)
            ip("link", "del", f"pmb{name[3:].partition('-')[0]}", check=False)


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace: its end of the cable is eth0, ours is ``cable``."""

    name: str
    space: str
    cable: str
    address: str


@contextmanager
def hosts(names: list[str]) -> Iterator[dict[str, Host]]:
    """Namespaces on one bridge."""
    if os.geteuid() != 0:
        raise EngineError("network namespaces need root: run this scenario as root")
    sweep()
    me = os.getpid()
    bridge = f"pmb{me}"
    made = {
        name: Host(name, f"pmb{me}-{name}", f"pm{me}v{i}", f"{NET}.{i + 11}")
        for i, name in enumerate(names)
    }
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{NET}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for h in made.values():
            ip("netns", "add", h.space)
            ip("link", "add", h.cable, "type", "veth", "peer", "name", "eth0", "netns", h.space)
            ip("link", "set", h.cable, "master", bridge, "up")
            inside = ("-n", h.space)
            ip(*inside, "addr", "add", f"{h.address}/24", "dev", "eth0")
            ip(*inside, "link", "set", "eth0", "up")
            ip(*inside, "link", "set", "lo", "up")
        yield made
    finally:
        for h in made.values():
            ip("netns", "del", h.space, check=False)
            ip("link", "del", h.cable, check=False)
        ip("link", "del", bridge, check=False)


@dataclass(slots=True)
class Network:
    """A cluster on several hosts."""

    rig: Rig
    hosts: dict[str, Host]

    @contextmanager
    def dead(self, node: Node) -> Iterator[None]:
        """Its cable is out: nobody reaches it and it reaches nobody."""
        cable = self.hosts[node.name].cable
        ip("link", "set", cable, "down")
        try:
            yield
        finally:
            ip("link", "set", cable, "up")

    @contextmanager
    def cut(self, node: Node, others: list[Node]) -> Iterator[None]:
        """It cannot answer these others, whatever else it reaches."""
        inside = ("-n", self.hosts[node.name].space, "route")
        for other in others:
            ip(*inside, "add", "blackhole", f"{other.address}/32")
        try:
            yield
        finally:
            for other in others:
                ip(*inside, "del", "blackhole", f"{other.address}/32")


@asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """Three servers and three voters in six namespaces, supervised host by host."""
    servers, voters = [f"db{i}" for i in (1, 2, 3)], [f"vote{i}" for i in (1, 2, 3)]
    with (
        hosts([*servers, *voters]) as made,
        tempfile.TemporaryDirectory(prefix="premortem-net-", dir="/tmp") as base,
    ):
        os.chmod(base, 0o711)  # noqa: PTH101
        nodes = [Node(n, made[n].address, n, etcd=False) for n in servers]
        nodes += [Node(n, made[n].address, n, postgres=False) for n in voters]
        t = Topology("net", tuple(nodes), address=f"{NET}.1")
        t = replace(t, postgres=replace(t.postgres, tls=False))
        cluster = Cluster(Path(base) / "cluster")
        state = cluster.create(t, rehearsal=True)
        rig = Rig(cluster, state)
        try:
            for h in made.values():
                launch(cluster.folder, h.name, ("ip", "netns", "exec", h.space))
            launch(cluster.folder, FRONT)
            await rig.healthy()
            await _door_open(state)
            yield Network(rig, made)
        finally:
            await asyncio.to_thread(cluster.destroy)


async def _door_open(state: State, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            async with await psycopg.AsyncConnection.connect(state.dsn(), connect_timeout=2) as c:
                await c.execute("SELECT 1")
                return
        except psycopg.Error:
            await asyncio.sleep(0.2)
    raise EngineError("the pooler does not let us in")


async def _trial(net: Network, fault: Callable[[Node], object], cut_s: float) -> Figures:
    rig = net.rig
    await rig.reset()
    leader = await rig.leader()
    await prepare(rig.state.server_dsn(leader, "app", "app"))
    straight = {n.name: rig.state.server_dsn(n, "app", "app") for n in rig.state.topology.servers}
    writers, witness = Writers(rig.state.dsn()), Witness(straight, time.monotonic)
    async with witness.watching():
        async with writers.writing():
            since = time.monotonic()
            with fault(leader):  # type: ignore[attr-defined]
                await asyncio.sleep(cut_s)
            await asyncio.sleep(10.0)  # after the cut heals: does the old one take rows again?
        gap_s = writers.gap_s(since) if writers.at else float("inf")
    await rig.healthy()
    now = (await rig.leader()).name
    both = overlaps(witness.took)
    lost = await rig.lost(writers)
    return round(gap_s, 3), lost, len(writers.errors), both, f"{leader.name} -> {now}"


async def host_death_sync(trials: int, say: Say) -> list[Figures]:
    """The primary's whole host falls silent; nobody there fences."""
    found: list[Figures] = []
    async with network() as net:
        for i in range(trials):
            found.append(await _trial(net, net.dead, CUT_S))
            say(f"host_death_sync {i + 1}/{trials}: {found[-1]}")
    return found


async def partition_primary(trials: int, say: Say) -> list[Figures]:
    """The primary is cut from etcd, then (another time) from its replicas, each alone."""
    found: list[Figures] = []
    async with network() as net:
        voters = list(net.rig.state.topology.voters)

        def from_etcd(node: Node) -> contextlib.AbstractContextManager[None]:
            return net.cut(node, voters)

        def from_replicas(node: Node) -> contextlib.AbstractContextManager[None]:
            return net.cut(node, [n for n in net.rig.state.topology.servers if n != node])

        for i in range(trials):
            for name, fault in (("from etcd", from_etcd), ("from replicas", from_replicas)):
                figures = await _trial(net, fault, CUT_S)
                found.append((*figures[:4], f"{name}: {figures[4]}"))
                say(f"partition_primary {i + 1}/{trials} {name}: {found[-1]}")
                await asyncio.sleep(SETTLE_S)
    return found
