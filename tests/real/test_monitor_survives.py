"""The monitor survives what it watches: it goes on seeing, holds one connection, and recovers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import psycopg
import pytest

from premortem.app.assemble import new_pipeline
from premortem.app.loop import Watch, wall_clock
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres as Server
from premortem.model import Reading
from premortem.pipeline import Tick
from premortem.sources.postgres import Postgres

pytestmark = pytest.mark.real

SLOTS = 20
RESERVED = 5  # 3 for superusers, 2 for monitors


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("survives")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    settings = {"log_connections": "on", "max_connections": str(SLOTS)}
    with Leash() as leash:
        async with Server.start(folder / "server", leash=leash, settings=settings) as server:
            yield server


class Monitor:
    """The whole watch of a database, tick by tick, with a witness who counts its connections."""

    def __init__(self, server: Server, ticks: AsyncIterator[Tick]) -> None:
        self.server = server
        self.ticks = ticks
        self.most_held = 0

    async def until(self, true: Callable[[Tick, Reading], bool], within_s: float = 20.0) -> Reading:
        """Ticks pass until one brings a reading of the database for which it is ``true``."""
        deadline = time.monotonic() + within_s
        last: Reading | None = None
        async for tick in self.ticks:
            for last in tick.readings:
                if true(tick, last):
                    return last
            assert time.monotonic() < deadline, last
        raise AssertionError("the watch ended")

    def opened(self) -> int:
        """By the server's own log, since the cluster was made."""
        text = (self.server.folder / "postgres.log").read_text(errors="replace")
        return text.count("connection authorized: user=monitor ")


@asynccontextmanager
async def monitoring(server: Server) -> AsyncIterator[Monitor]:
    clock = wall_clock()
    watch = Watch([Postgres(server.monitor_dsn, cores=2)], new_pipeline(), clock=clock)
    async with aclosing(watch.ticks()) as ticks:
        yield Monitor(server, ticks)


async def take_all_slots(stack: AsyncExitStack, server: Server) -> None:
    while True:
        try:
            taken = await psycopg.AsyncConnection.connect(server.site_dsn, autocommit=True)
        except psycopg.OperationalError as error:
            assert "slots" in str(error)
            return
        await stack.enter_async_context(taken)


async def held(server: Server) -> int:
    """How many connections the monitor holds, counted by a superuser, whose slots are free."""
    async with await psycopg.AsyncConnection.connect(server.dsn) as admin:
        cursor = await admin.execute(
            "select count(*) from pg_stat_activity where application_name = 'premortem'"
        )
        (count,) = await cursor.fetchone() or (0,)
    return int(count)


def answers(_: Tick, reading: Reading) -> bool:
    return reading.error is None and reading.values.get("db.up") == 1


async def test_every_ordinary_slot_taken(server: Server) -> None:
    async with monitoring(server) as monitor:
        await monitor.until(answers)
        async with AsyncExitStack() as stack:
            await take_all_slots(stack, server)
            await monitor.until(lambda t, _: t.diagnosis.cause == "connection_exhaustion")
            reading = await monitor.until(lambda _, r: "53300" in (r.error or ""))
            assert reading.values["db.connections.used"] >= SLOTS - RESERVED
            assert await held(server) == 1
        await monitor.until(answers)
        await monitor.until(lambda t, _: t.diagnosis.cause is None, within_s=30.0)
        assert (await held(server), monitor.opened()) == (1, 1)


async def test_a_calm_watch_writes_nothing_into_the_servers_log(server: Server) -> None:
    log = server.folder / "postgres.log"
    before = len(log.read_text(errors="replace"))
    async with reading_often(server.monitor_dsn) as source:
        source.ladder_interval_s = 0.1
        await some(source, 20)
    said = log.read_text(errors="replace")[before:]
    assert "FATAL" not in said
    assert "ERROR" not in said
    assert said.count("connection authorized: user=monitor ") == 1


async def test_a_monitor_that_comes_when_every_slot_is_taken_gets_in(server: Server) -> None:
    async with AsyncExitStack() as stack:
        await take_all_slots(stack, server)
        async with monitoring(server) as monitor:
            reading = await monitor.until(lambda _, r: "db.sessions.idle" in r.values)
            assert reading.values["db.sessions.idle"] >= SLOTS - RESERVED
            assert await held(server) == 1


async def test_the_first_process_stopped_and_then_killed(server: Server) -> None:
    async with monitoring(server) as monitor:
        await monitor.until(answers)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await monitor.until(lambda _, r: "no reply to SSLRequest" in (r.error or ""))
            named = await monitor.until(lambda t, _: t.diagnosis.cause == "database_down")
            assert named.values["db.up"] == 0
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await monitor.until(answers)
        assert (await held(server), monitor.opened()) == (1, 1)

        os.kill(server.pid, signal.SIGKILL)
        await monitor.until(lambda _, r: (r.error or "").startswith("refused"))
        await monitor.until(lambda t, _: t.diagnosis.cause == "database_down")
        await restarted(server)
        await monitor.until(answers, within_s=30.0)
        assert (await held(server), monitor.opened()) == (1, 2)


async def restarted(server: Server) -> None:
    """By an operator, or by whatever watches the process: the orphans of the killed one hold its
    memory for a moment, and until then a start is refused."""
    deadline = time.monotonic() + 15.0
    while True:
        try:
            await server.restart()
        except EngineError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        else:
            return


@asynccontextmanager
async def reading_often(dsn: str) -> AsyncIterator[Postgres]:
    source = Postgres(dsn, interval_s=0.05)
    try:
        yield source
    finally:
        await source.close()


async def some(source: Postgres, count: int) -> list[Reading]:
    found = []
    for _ in range(count):
        found.append(await source.read(time.time()))
        await asyncio.sleep(0.02)
    return found


async def order(server: Server, sql: str) -> None:
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as admin:
        await admin.execute(sql.encode())


async def test_pg_stat_statements_absent_and_then_made(server: Server) -> None:
    await order(server, "drop extension pg_stat_statements")
    async with reading_often(server.monitor_dsn) as source:
        without = await some(source, 8)
        assert [r.error for r in without] == [None] * 8  # its want is no failure
        assert not any(k.startswith("db.statements") for r in without for k in r.values)
        assert all("db.wait.cpu" in r.values for r in without)
        assert any("pg_stat_statements" in str(r.get("text")) for r in without[-1].rows)
        await order(server, "create extension pg_stat_statements")
        later = await some(source, 24)
        assert "db.statements.calls_per_s" in later[-1].values
        assert source.connections_opened == 1
    assert await held(server) == 0


async def test_a_role_without_pg_monitor_and_then_with_it(server: Server) -> None:
    async with reading_often(server.site_dsn) as source:
        first, *without = await some(source, 6)
        assert "GRANT pg_monitor" in (first.error or "")
        assert [r.error for r in without] == [None] * 5
        assert all(r.values["db.connections.used"] >= 1 for r in without)
        assert not any("db.wait.cpu" in r.values for r in without)
        await order(server, "grant pg_monitor to site")
        later = await some(source, 20)
        assert later[-1].values["db.wait.cpu"] >= 0
        assert source.lacks == ()
        assert source.connections_opened == 1
