"""What the cluster benchmarks share: writers with acknowledged ids, faults, the count of loss."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from premortem.cluster.client import Cluster
from premortem.cluster.place import local_topology
from premortem.cluster.state import State, load
from premortem.cluster.topology import Node, Sync
from premortem.cluster.units import adopt, remains, units
from premortem.engines.errors import EngineError
from premortem.engines.patroni import members

WRITERS = 2
PAUSE_S = 0.01
"""Two writers, an insert each 10 ms: the load of the reference measurements."""
SETTLE_S = 1.0


@dataclass(slots=True)
class Writers:
    """Clients that insert numbered rows and remember which were acknowledged."""

    dsn: str
    acknowledged: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        try:
            await asyncio.sleep(SETTLE_S)
            yield
            await asyncio.sleep(SETTLE_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self.dsn, autocommit=True, prepare_threshold=None, connect_timeout=10
                )
            except psycopg.Error as error:
                self.errors.append(str(error).strip())
                await asyncio.sleep(PAUSE_S)
                continue
            async with connection:
                await self._insert(connection)

    async def _insert(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            number = next(self._ids)
            try:
                await connection.execute("INSERT INTO writes (id) VALUES (%s)", (number,))
            except psycopg.Error as error:
                self.errors.append(str(error).strip())
                return
            self.acknowledged.append(number)
            self.at.append(time.monotonic())
            await asyncio.sleep(PAUSE_S)

    def gap_s(self, since: float) -> float:
        """The longest silence between two acknowledgements, from ``since`` on."""
        seen = [since, *(at for at in self.at if at > since), time.monotonic()]
        return max(b - a for a, b in itertools.pairwise(seen))


@dataclass(slots=True)
class Rig:
    """One running cluster under test."""

    cluster: Cluster
    state: State

    def node(self, name: str) -> Node:
        return self.state.topology.node(name)

    async def status(self) -> dict[str, dict[str, object]]:
        """Members by name, as any node that answers knows them."""

        def look() -> dict[str, dict[str, object]]:
            for n in self.state.topology.servers:
                with contextlib.suppress(EngineError):
                    said = members(self.state.patroni(n).cluster())
                    return {str(m["name"]): dict(m) for m in said}
            return {}

        return await asyncio.to_thread(look)

    async def leader(self) -> Node:
        for name, row in (await self.status()).items():
            if row.get("role") == "leader":
                return self.node(name)
        raise EngineError("no leader")

    async def healthy(self, within_s: float = 90.0) -> None:
        """One leader, everybody else streaming, and enough synchronous standbys."""
        deadline = time.monotonic() + within_s
        servers = self.state.topology.servers
        need = 0 if self.state.topology.sync == "off" else 1
        while time.monotonic() < deadline:
            rows = await self.status()
            roles = [str(r.get("role")) for r in rows.values()]
            fine = sum(r.get("state") in ("running", "streaming") for r in rows.values())
            streaming = sum(r.get("state") == "streaming" for r in rows.values())
            standbys = sum(r in ("sync_standby", "quorum_standby") for r in roles)
            leads = roles.count("leader") == 1
            if leads and fine == len(servers) and streaming == fine - 1 and standbys >= need:
                return
            await asyncio.sleep(0.2)
        raise EngineError(f"not healthy after {within_s:g} s: {await self.status()}")

    def patroni_pid(self, node: Node) -> int:
        found = adopt([u for u in units(self.state, node.name) if u.kind == "patroni"])
        return next(iter(found.values())).pid

    def postmaster_pid(self, node: Node) -> int:
        return int((self.state.data(node) / "postmaster.pid").read_text().split("\n", 1)[0])

    def crash(self, node: Node) -> None:
        """kill -9 of the postmaster and Patroni."""
        for pid in (self.postmaster_pid(node), self.patroni_pid(node)):
            os.kill(pid, signal.SIGKILL)

    def walsenders(self, node: Node) -> list[psutil.Process]:
        found = []
        for p in remains(self.state.data(node)):
            with contextlib.suppress(psutil.Error):
                if "walsender" in " ".join(p.cmdline()):
                    found.append(p)
        return found

    async def reset(self) -> None:
        leader = await self.leader()
        async with await psycopg.AsyncConnection.connect(
            self.state.server_dsn(leader, "app", "app"), autocommit=True
        ) as connection:
            await connection.execute("DROP TABLE IF EXISTS writes")
            await connection.execute("CREATE TABLE writes (id bigint PRIMARY KEY)")

    async def lost(self, writers: Writers) -> int:
        """Acknowledged rows that the cluster does not hold any more."""
        leader = await self.leader()
        async with await psycopg.AsyncConnection.connect(
            self.state.server_dsn(leader, "app", "app")
        ) as connection:
            rows = await (await connection.execute("SELECT id FROM writes")).fetchall()
        return len(set(writers.acknowledged) - {row[0] for row in rows})


@asynccontextmanager
async def local_rig(sync: Sync, say: object = None) -> AsyncIterator[Rig]:
    """Three servers on loopback; nothing of them is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="premortem-bench-", dir="/tmp") as base:
        os.chmod(base, 0o711)  # noqa: PTH101
        cluster = Cluster(Path(base) / "cluster")
        try:
            await asyncio.to_thread(cluster.up, local_topology("bench", 3, sync))
            rig = Rig(cluster, load(cluster.folder))
            await rig.healthy()
            yield rig
        finally:
            if (cluster.folder / "cluster.json").exists():
                await asyncio.to_thread(cluster.destroy)
