"""The drill's stack: a real database, a real site, each on cores of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from premortem.drills.sites import load_data, site
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
from premortem.engines.processes import Spawned, free_port, spawn

__all__ = ["Layout", "SiteProcesses", "Stack", "layout", "usable_cpus"]

SITE_READY_S = 20.0
"""Bound on starting one web process: a second on an idle machine, more on a loaded one."""

MAX_CONNECTIONS = 100
"""PostgreSQL's default, and what the site's team never touched."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which cores belong to whom; ``None`` where there are too few to share out."""

    database: tuple[int, ...] | None
    site: tuple[int, ...] | None
    clients: tuple[int, ...] | None

    @property
    def all(self) -> tuple[int, ...]:
        """Every core that is given to somebody."""
        given = (self.database or ()) + (self.site or ()) + (self.clients or ())
        return tuple(sorted(set(given)))


def usable_cpus() -> list[int]:
    """The cores this process may use; none where the system cannot pin processes."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def layout(cpus: Sequence[int]) -> Layout:
    """One core for the database, one for the site, the clients on the rest.

    On one machine unpinned tiers starve each other, and the result means nothing.

    >>> layout([0, 1])
    Layout(database=(0,), site=(1,), clients=(1,))
    >>> layout([0, 1, 2, 3])
    Layout(database=(0,), site=(1,), clients=(2, 3))
    >>> layout([0])
    Layout(database=None, site=None, clients=None)
    """
    if len(cpus) < 2:
        return Layout(None, None, None)
    return Layout((cpus[0],), (cpus[1],), tuple(cpus[2:]) or (cpus[1],))


def _go_first() -> None:
    """Where we may (root), run before whatever else the machine does: a backup or a build beside
    the rehearsal would otherwise decide its outcome. Children inherit it."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


@dataclass(slots=True)
class SiteProcesses:
    """The web tier of one run: processes that share one port."""

    port: int
    token: str
    argv: list[str]
    cpus: tuple[int, ...] | None
    folder: Path
    leash: Leash
    children: list[Spawned] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def pids(self) -> list[int]:
        return [c.pid for c in self.children]

    async def add(self, workers: int = 1) -> None:
        """Start more web processes on the same port, as an operator adds web capacity."""
        started = []
        for _ in range(workers):
            log = self.folder / f"site-{len(self.children)}.log"
            child = await spawn(self.argv, cpus=self.cpus, log=log, leash=self.leash)
            self.children.append(child)
            started.append(child)
        if len(self.children) == workers:  # the first ones: later ones are busy from the start
            for child in started:
                await self._ready(child)

    async def _ready(self, child: Spawned) -> None:
        deadline = time.monotonic() + SITE_READY_S
        while time.monotonic() < deadline:
            if child.process.returncode is not None:
                raise EngineError(f"the site did not start: {child.log_tail(1) or 'no output'}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise EngineError(f"the site did not listen on port {self.port} within {SITE_READY_S:g} s")

    async def stop(self) -> None:
        await asyncio.gather(*(c.end() for c in self.children))


@dataclass(slots=True)
class Stack:
    """One scenario's servers."""

    scenario: str
    folder: Path
    database: Postgres
    layout: Layout
    leash: Leash
    site_port: int | None

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        scenario: str,
        folder: Path,
        plan: Layout,
        *,
        leash: Leash,
        site_port: int | None = None,
    ) -> AsyncIterator[Stack]:
        """Start the database and load the scenario's data. Stops everything on the way out."""
        if plan.clients is not None:
            os.sched_setaffinity(0, plan.clients)  # the watch must not take the database's core
        _go_first()
        async with Postgres.start(
            folder / "database",
            cpus=plan.database,
            settings={"max_connections": str(MAX_CONNECTIONS)},
            leash=leash,
        ) as database:
            await load_data(site(scenario), database.site_dsn)
            yield cls(scenario, folder, database, plan, leash, site_port)

    async def query(
        self, statement: str, parameters: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as the database's operator."""
        async with await psycopg.AsyncConnection.connect(self.database.dsn) as connection:
            return await (await connection.execute(statement.encode(), parameters)).fetchall()

    @asynccontextmanager
    async def serve(
        self, *, mode: str, pool_size: int, threads: int, cap: int
    ) -> AsyncIterator[SiteProcesses]:
        """The web tier, started in one mode; ``cap`` 0 means nothing in front of it."""
        folder = self.folder / f"site-{secrets.token_hex(3)}"
        folder.mkdir()
        token = secrets.token_urlsafe(16)
        (folder / "dsn").write_text(self.database.site_dsn)
        (folder / "token").write_text(token)
        port = self.site_port or free_port()
        argv = [sys.executable, "-m", "premortem.drills.sites.serve"]
        argv += ["--site", self.scenario, "--dsn-file", str(folder / "dsn"), "--port", str(port)]
        argv += ["--mode", mode, "--pool-size", str(pool_size), "--threads", str(threads)]
        argv += ["--guard-cap", str(cap), "--guard-token-file", str(folder / "token")]
        processes = SiteProcesses(port, token, argv, self.layout.site, folder, self.leash)
        try:
            await processes.add(1)
            yield processes
        finally:
            await processes.stop()
