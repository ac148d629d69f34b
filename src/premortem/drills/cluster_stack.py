"""A drill's cluster with a real site on it, on this machine or on pretended hosts."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import psycopg
from psycopg.conninfo import make_conninfo

from premortem.cluster.client import Cluster
from premortem.cluster.place import local_topology
from premortem.cluster.start import launch
from premortem.cluster.state import State, load
from premortem.cluster.topology import Node, Topology
from premortem.cluster.units import FRONT, Unit, adopt, postmaster, units
from premortem.drills import cluster_hosts
from premortem.drills.cluster_guard import CLUSTER, guarded
from premortem.drills.sites import load_data, site
from premortem.drills.stack import Layout, SiteProcesses
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.patroni import members
from premortem.engines.processes import free_port
from premortem.sources._contract import Source
from premortem.sources.etcd import Etcd
from premortem.sources.guard import Guard
from premortem.sources.haproxy import Haproxy
from premortem.sources.host import Host
from premortem.sources.http_probe import HttpProbe
from premortem.sources.patroni import Patroni
from premortem.sources.pgbouncer import Pgbouncer
from premortem.sources.pool import Pool
from premortem.sources.postgres import Postgres

__all__ = ["ClusterStack", "Door", "Say"]

Say = Callable[[str], None]
Door = Literal["pooler", "proxy"]
"""Which way the site reaches the primary: held by the pooler in a failover, or straight."""

HEALTHY_S = 90.0
"""A loaded machine may take as long to copy a server afresh after a failed rewind."""
SERVERS, VOTERS = ("db1", "db2", "db3"), ("vote1", "vote2", "vote3")
"""Six hosts, so that a primary can be cut from the voters and from its replicas separately."""
SHARED = Layout(None, None, None)
SITE_POOL = 10
"""Connections of the site to the door: half of what the pooler may open to the server."""


@dataclass(slots=True)
class ClusterStack:
    """One cluster, its data loaded, and what a drill does to it."""

    scenario: str
    folder: Path
    cluster: Cluster
    leash: Leash
    layout: Layout
    hosts: Mapping[str, cluster_hosts.Host] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return load(self.cluster.folder)

    # -- started and stopped

    @classmethod
    @asynccontextmanager
    async def start(
        cls, scenario: str, *, say: Say, namespaces: bool = False, layout: Layout = SHARED
    ) -> AsyncIterator[ClusterStack]:
        """Start the cluster and load the scenario's data; nothing is left on the way out.

        ``layout`` says which cores belong to whom; by default all share all.

        Raises ``EngineError`` with one line when it cannot be had.
        """
        folder = _scratch()
        cluster = Cluster(folder / CLUSTER)
        with guarded(folder), ExitStack() as later, Leash() as leash, _on(layout.clients):
            made = cls(scenario, folder, cluster, leash, layout)
            try:
                if namespaces:
                    made.hosts = later.enter_context(cluster_hosts.hosts([*SERVERS, *VOTERS]))
                    await made._up_on_hosts()
                else:
                    await asyncio.to_thread(_up, cluster, layout.database)
                await made.healthy()
                say(f"loading the {scenario}'s data")
                await made._load()
                yield made
            finally:
                if (cluster.folder / "cluster.json").exists():
                    await asyncio.to_thread(cluster.destroy)

    async def _up_on_hosts(self) -> None:
        """Three servers and three voters on six pretended hosts, each with its own supervisor."""
        nodes = [Node(n, self.hosts[n].address, n, etcd=False) for n in SERVERS]
        nodes += [Node(n, self.hosts[n].address, n, postgres=False) for n in VOTERS]
        t = Topology("drill", tuple(nodes), address=cluster_hosts.gateway())
        t = replace(t, postgres=replace(t.postgres, tls=False))
        await asyncio.to_thread(self.cluster.create, t, rehearsal=True)
        for host in self.hosts.values():
            launch(self.cluster.folder, host.name, host.prefix)
        launch(self.cluster.folder, FRONT)

    async def _load(self) -> None:
        leader = await self.leader()
        admin = self.state.server_dsn(leader, "postgres", "app")
        async with await psycopg.AsyncConnection.connect(admin, autocommit=True) as connection:
            await connection.execute("GRANT pg_checkpoint TO app")  # whoever loads data ends so
        await load_data(site(self.scenario), await self.primary_dsn())

    @asynccontextmanager
    async def serve(self, door: Door, cap: int = 0) -> AsyncIterator[SiteProcesses]:
        """The site on the cluster; ``cap`` 0 means no guard in front of it."""
        folder = self.folder / f"site-{secrets.token_hex(3)}"
        folder.mkdir(mode=0o700)
        token = secrets.token_urlsafe(16)
        (folder / "dsn").write_text(self.door(door))
        (folder / "token").write_text(token)
        port = free_port()
        argv = [sys.executable, "-m", "premortem.drills.sites.serve", "--site", self.scenario]
        argv += ["--dsn-file", str(folder / "dsn"), "--port", str(port)]
        argv += ["--transaction-pooler", "--pool-size", str(max(SITE_POOL, cap + 2))]
        argv += ["--guard-cap", str(cap), "--guard-token-file", str(folder / "token")]
        processes = SiteProcesses(port, token, argv, self.layout.site, folder, self.leash)
        try:
            await processes.add(1)
            yield processes
        finally:
            await processes.stop()

    # -- looked at

    def door(self, door: Door) -> str:
        """The DSN of the site: through the pooler, or straight through the proxy."""
        state = self.state
        if door == "pooler":
            if state.pgbouncer is None:
                raise EngineError("no pooler to go through: PgBouncer is not installed")
            return state.dsn()
        return self._straight("app", state.secrets.app)

    def _straight(self, user: str, password: str) -> str:
        t = self.state.topology
        return make_conninfo(
            host=t.address, port=t.primary_port, user=user, password=password, dbname="app",
            connect_timeout=2,
        )  # fmt: skip

    async def primary_dsn(self) -> str:
        """The primary itself, as the site's role."""
        return self.state.server_dsn(await self.leader(), "app", "app")

    async def members(self) -> dict[str, Mapping[str, object]]:
        """Members by name, as any node that answers knows them; empty when none does."""

        def look() -> dict[str, Mapping[str, object]]:
            for node in self.state.topology.servers:
                with suppress(EngineError):
                    return {str(m["name"]): m for m in members(self.state.patroni(node).cluster())}
            return {}

        return await asyncio.to_thread(look)

    async def leader(self) -> Node:
        """Who leads. Raises ``EngineError`` when nobody does."""
        for name, row in (await self.members()).items():
            if row.get("role") == "leader":
                return self.state.topology.node(name)
        raise EngineError("the cluster has no leader")

    async def is_healthy(self) -> bool:
        """One leader, everybody else streams, one at least confirms commits."""
        rows = list((await self.members()).values())
        roles, states = [r.get("role") for r in rows], [r.get("state") for r in rows]
        confirming = sum(r in ("sync_standby", "quorum_standby") for r in roles)
        others = len(self.state.topology.servers) - 1
        return roles.count("leader") == 1 and states.count("streaming") == others and confirming > 0

    async def healthy(self, within_s: float = HEALTHY_S) -> None:
        """Wait until it is, and the door is open. Raises ``EngineError``."""
        deadline = time.monotonic() + within_s
        while not (await self.is_healthy() and await self._open()):
            if time.monotonic() > deadline:
                raise EngineError(f"the cluster is not healthy after {within_s:g} s")
            await asyncio.sleep(0.2)

    async def _open(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(
                self.state.dsn(), connect_timeout=2, prepare_threshold=None
            ) as connection:
                await connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def sources(self, web: SiteProcesses, *, guarded: bool = False) -> list[Source]:
        """What the watch reads of this site and its cluster."""
        state = self.state
        t = state.topology
        found: list[Source] = [
            Host(web_pids=web.pids, db_pids=self._server_pids),
            HttpProbe(url=web.url + site(self.scenario).probe),
            Postgres(dsn=self._straight("monitor", state.secrets.monitor), cores=self.db_cores),
            Patroni([f"http://{n.address}:{n.patroni_port}" for n in t.servers]),
            Etcd(state.etcd_urls),
        ]
        if state.haproxy is not None:
            found.append(Haproxy(f"http://{t.address}:{t.stats_port}/;csv", database=True))
        if state.pgbouncer is not None:
            console = make_conninfo(
                host=t.address, port=t.app_port, user="premortem", password=state.secrets.rest
            )
            found.append(Pgbouncer(console))
        if guarded:
            found += [Guard(web.url, web.token), Pool(web.url, web.token)]
        return found

    @property
    def db_cores(self) -> int | None:
        """Cores that the servers share."""
        return len(self.layout.database) if self.layout.database else os.cpu_count()

    def _server_pids(self) -> list[int]:
        """The postmasters: all of them burn the cores that the primary has to do with."""
        state = self.state
        found = (postmaster(state.data(n)) for n in state.topology.servers)
        return [pid for pid in found if pid]

    # -- done to it

    def crash(self, node: Node) -> None:
        """``kill -9`` of the node's postmaster and of its Patroni."""
        pids = [p.pid for p in adopt(self._units("patroni", node.name)).values()]
        server = postmaster(self.state.data(node))
        for pid in [*([server] if server else []), *pids]:
            os.kill(pid, signal.SIGKILL)

    @contextmanager
    def consensus_stopped(self) -> Iterator[int]:
        """Every member of the consensus store stops answering until the block ends; how many."""
        pids = [p.pid for p in adopt(self._units("etcd")).values()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield len(pids)
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _units(self, kind: str, host: str | None = None) -> list[Unit]:
        return [u for u in units(self.state, host) if u.kind == kind]


def _scratch() -> Path:
    """A folder that the servers' own user may pass through, with a short name for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="premortem-drill-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def _up(cluster: Cluster, cpus: tuple[int, ...] | None) -> None:
    with _on(cpus):  # what is started inherits our cores
        cluster.up(local_topology("drill", 3, "quorum"))


@contextmanager
def _on(cpus: tuple[int, ...] | None) -> Iterator[None]:
    """Keep this thread and what it starts on these cores."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
