"""The planted sites of the benchmarks, and how they are started: real processes on given cores."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
from premortem.engines.processes import Spawned, free_port, spawn

__all__ = ["SITES", "Rig", "Site", "database_on", "go_first"]

AUTOGROUP = Path("/proc/self/autogroup")
CEILING_PER_S = 2000.0
READY_S = 15.0
DATABASE_KINDS = ("pool", "lock", "row_lock", "db_cpu")
SLOTS = {"capped": True, "slots": 24}
"""Of a web server that has slots in front of what is scarce: they fill, and are not to be named."""


def go_first() -> None:
    """Where we may (root), run before whatever else the machine does; children inherit it.

    Linux weighs sessions against each other before it looks at niceness (sched(7), "autogroup"),
    so this begins a session of its own, unless it leads one that others share.
    """
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        os.setsid()
        AUTOGROUP.write_text("-20")


@dataclass(frozen=True, slots=True)
class Site:
    """A planted site: how it is started, and what is to be named."""

    name: str
    resource: str | None
    nominal_per_s: float | None
    """What arithmetic says, before the server's own overhead; ``None`` where it has to be measured
    or there is no knee."""
    argv: tuple[str, ...]
    service: tuple[str, ...] = ()
    database: bool = False
    ceiling_per_s: float = CEILING_PER_S

    @property
    def has_knee(self) -> bool:
        return self.resource is not None


def _flags(**given: object) -> tuple[str, ...]:
    argv: list[str] = []
    for name, value in given.items():
        argv += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return tuple(argv)


def _site(
    name: str, resource: str | None, nominal_per_s: float | None, service: tuple[str, ...] = (),
    *, ceiling_per_s: float = CEILING_PER_S, **flags: object,
) -> Site:  # fmt: skip
    return Site(
        name, resource, nominal_per_s, _flags(**flags),
        (*_flags(kind="service"), *service) if service else (),
        flags["kind"] in DATABASE_KINDS, ceiling_per_s,
    )  # fmt: skip


SITES = (
    _site("slots_4", "web.workers", 400, kind="workers", slots=4, hold_ms=10),
    _site("slots_12_varied", "web.workers", 300, kind="workers", slots=12, hold_ms=40, varied=True),
    _site("cpu_2ms", "web.cpu", None, kind="cpu", hold_ms=2),
    _site("cpu_3ms_varied", "web.cpu", None, kind="cpu", hold_ms=3, varied=True),
    _site("pool_2", "pool", 400, kind="pool", pool=2, hold_ms=5),
    _site("pool_8_io_wait", "pool", 400, kind="pool", pool=8, hold_ms=20),
    _site("pool_4_slots", "pool", 400, kind="pool", pool=4, hold_ms=10, varied=True, **SLOTS),
    _site("lock_advisory", "db.lock", 333, kind="lock", pool=12, hold_ms=3),
    _site("lock_row", "db.lock", 400, kind="row_lock", pool=16, hold_ms=2.5),
    _site("db_cpu", "db.cpu", None, kind="db_cpu", pool=8, rows=30_000),
    _site("db_cpu_small_pool", "db.cpu", None, kind="db_cpu", pool=4, rows=40_000, **SLOTS),
    _site("db_cpu_varied", "db.cpu", None, kind="db_cpu", pool=16, rows=25_000, varied=True),
    _site("downstream_3", "downstream", 375, _flags(slots=3, hold_ms=8), kind="downstream"),
    _site(
        "downstream_1_varied", "downstream", 333, _flags(slots=1, hold_ms=3, varied=True),
        kind="downstream",
    ),
    _site("fast_below_ceiling", None, None, ceiling_per_s=128.0, kind="fast"),
    _site("broken", None, None, kind="broken"),
)  # fmt: skip


@dataclass(slots=True)
class Rig:
    """Where sites are started."""

    folder: Path
    leash: Leash
    database: Postgres | None
    cpus: tuple[int, int]

    @asynccontextmanager
    async def started(self, site: Site) -> AsyncIterator[tuple[str, Spawned]]:
        """The site on its core; when the database is what saturates, it has that core alone."""
        beside = site.resource == "db.cpu"
        cpu = self.cpus[1] if beside else self.cpus[0]
        children = []
        argv = [sys.executable, "-m", "benchmarks._planted"]
        try:
            extra: list[str] = []
            if site.service:
                service_port = free_port()
                children.append(
                    await self._spawn([*argv, *site.service, "--port", str(service_port)], cpu)
                )
                extra = ["--service", str(service_port)]
            if self.database is not None:
                (self.folder / "dsn").write_text(self.database.site_dsn)
                extra += ["--dsn-file", str(self.folder / "dsn")]
            port = free_port()
            web = await self._spawn([*argv, *site.argv, "--port", str(port), *extra], cpu)
            children.append(web)
            await _listening(port)
            yield f"http://127.0.0.1:{port}", web
        finally:
            await asyncio.gather(*(child.end() for child in children))

    async def _spawn(self, argv: Sequence[str], cpu: int) -> Spawned:
        return await spawn(argv, cpus=[cpu], log=self.folder / "sites.log", leash=self.leash)


async def _listening(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise TimeoutError(f"the planted site did not listen within {READY_S:g} s")


@asynccontextmanager
async def database_on(
    folder: Path, leash: Leash, cpu: int, wanted: bool
) -> AsyncIterator[Postgres | None]:
    if not wanted:
        yield None
        return
    settings = {"synchronous_commit": "off", "jit": "off"}
    async with Postgres.start(
        folder / "database", leash=leash, cpus=[cpu], settings=settings
    ) as database:
        async with await psycopg.AsyncConnection.connect(
            database.site_dsn, autocommit=True
        ) as connection:
            await connection.execute("CREATE TABLE planted (id int PRIMARY KEY, n bigint)")
            await connection.execute("INSERT INTO planted VALUES (1, 0)")
        yield database
