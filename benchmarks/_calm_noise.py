"""What goes on beside the users of a healthy site, done for real on a running stack."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from benchmarks._calm_life import LASTS_S, Happening
from premortem.drills.rehearse_stack import Site
from premortem.drills.sites.switches import write_switches
from premortem.drills.stack import Stack
from premortem.engines.errors import EngineError
from premortem.engines.processes import spawn

__all__ = ["Noise"]

WORKER_START_S = 4.0
"""A second web process imports and listens in one or two seconds on a busy core."""
SLOW_CLIENTS = 8
"""People on a bad line at the same time."""
BYTE_EVERY_S = 0.5
BACKUP_NICE = 10
"""What `nice pg_dump` gives."""
BACKUP_S_MAX = 120.0
"""Bound on a backup of some 100 MB."""


@dataclass(slots=True)
class Noise:
    """Makes the noise; each method returns when it is over. Raises ``EngineError``."""

    stack: Stack
    site: Site
    deploys: list[Mapping[str, object]]
    clock: Callable[[], float]

    async def make(self, happening: Happening) -> None:
        """Let it happen."""
        kinds: Mapping[str, Callable[[Happening], Awaitable[None]]] = {
            "backup": self.backup,
            "vacuum": self.vacuum,
            "deploy": self.deploy,
            "cache_lost": self.lose_cache,
            "slow_client": self.slow_clients,
        }
        if happening.kind in kinds:
            await kinds[happening.kind](happening)
        else:
            await asyncio.sleep(LASTS_S[happening.kind])  # a surge is in the pace

    async def backup(self, _: Happening) -> None:
        """A dump of the whole database on the database's host, at low priority as backups should
        be; the session that reads the tables has the priority of all others."""
        database, log = self.stack.database, self.stack.folder / "pg_dump.log"
        dump = self.stack.folder / "backup.dump"
        child = await spawn(
            [str(database.home / "bin" / "pg_dump"), "--format=custom", "--file", str(dump),
             "--dbname", database.dsn],
            log=log, leash=self.stack.leash, cpus=self.stack.layout.database,
        )  # fmt: skip
        _step_back(child.pid)
        try:
            code = await asyncio.wait_for(child.process.wait(), BACKUP_S_MAX)
        finally:
            await child.end()
            dump.unlink(missing_ok=True)
        if code:
            raise EngineError(f"the backup failed: {child.log_tail(1)}")

    async def vacuum(self, _: Happening) -> None:
        """What autovacuum does, at a moment we know: every table of the site, with ANALYZE."""
        names = await self.stack.query(
            "SELECT quote_ident(relname) FROM pg_stat_user_tables ORDER BY relname"
        )
        for (name,) in names:
            await self._alone(f"VACUUM (ANALYZE) {name}")

    async def _alone(self, statement: str) -> None:
        import psycopg  # noqa: PLC0415 - only this needs a session without a transaction

        dsn = self.stack.database.dsn
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as session:
            await session.execute(statement.encode())

    async def deploy(self, happening: Happening) -> None:
        """A rolling release: a new process listens beside the old one, which then ends politely."""
        if happening.recorded:
            release = {"kind": "deploy", "at": self.clock(), "text": "release"}
            self.deploys.append(release)
        web = self.site.web
        old = list(web.children)
        await web.add(1)
        await asyncio.sleep(WORKER_START_S)
        for child in old:
            await child.end()
            web.children.remove(child)

    async def lose_cache(self, happening: Happening) -> None:
        """Every page comes from the database for some seconds, at a traffic it can bear."""
        file, healthy = self.site.switches_file, self.site.switches
        write_switches(file, replace(healthy, cache=False))
        await asyncio.sleep(LASTS_S[happening.kind])
        write_switches(file, healthy)

    async def slow_clients(self, happening: Happening) -> None:
        """Some people's requests arrive byte by byte."""
        ends = self.clock() + LASTS_S[happening.kind]
        await asyncio.gather(*(self._drip(ends) for _ in range(SLOW_CLIENTS)))

    async def _drip(self, ends: float) -> None:
        with contextlib.suppress(OSError):  # the site may have had enough of us
            _, writer = await asyncio.open_connection("127.0.0.1", self.site.web.port)
            writer.write(b"GET /category/3 HTTP/1.1\r\nHost: shop\r\nX-Slow: ")
            while self.clock() < ends:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(BYTE_EVERY_S)
            writer.close()


def _step_back(pid: int) -> None:
    """Give way to everybody else, whatever priority the whole benchmark was started with."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, pid, BACKUP_NICE)
