"""The sources on a real PostgreSQL: the states in which a monitor is needed most."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres as Server
from premortem.model import Reading
from premortem.sources._processes import tree
from premortem.sources.host import Host
from premortem.sources.postgres import Postgres
from premortem.sources.tcp import Tcp

pytestmark = pytest.mark.real

BOUND_S = 2.5


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("sources")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        async with Server.start(Path(folder) / "server", leash=leash) as server:
            yield server


@asynccontextmanager
async def watching(dsn: str) -> AsyncIterator[Postgres]:
    source = Postgres(dsn)
    try:
        yield source
    finally:
        await source.close()


async def bounded(source: Postgres) -> Reading:
    begun = time.perf_counter()
    reading = await source.read(time.time())
    assert time.perf_counter() - begun < BOUND_S
    return reading


async def session(
    stack: AsyncExitStack, server: Server, role: str = "site"
) -> psycopg.AsyncConnection[tuple[object, ...]]:
    conn = await psycopg.AsyncConnection.connect(server.dsn_of(role), autocommit=True)
    return await stack.enter_async_context(conn)


async def until(source: Postgres, metric: str, value: float, within_s: float = 5.0) -> Reading:
    deadline = time.monotonic() + within_s
    while True:
        reading = await bounded(source)
        if reading.values.get(metric) == value:
            return reading
        assert time.monotonic() < deadline, f"{metric} is {reading.values.get(metric)}"
        await asyncio.sleep(0.05)


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_a_healthy_server_is_seen_whole_through_one_connection(server: Server) -> None:
    async with AsyncExitStack() as stack, watching(server.monitor_dsn) as source:
        site = await session(stack, server)
        await site.execute("create table t as select g from generate_series(1, 1000) g")
        for _ in range(9):
            for _ in range(20):
                await site.execute("select count(*) from t where g > 7")
            reading = await bounded(source)
            await asyncio.sleep(0.3)
        assert reading.error is None
        assert source.connections_opened == 1
        assert reading.values["db.up"] == 1
        assert reading.values["db.connections.used"] == 2
        assert reading.values["db.connections.max"] == 95
        assert reading.values["db.connect_ms"] > 0
        assert reading.values["db.wal.bytes_per_s"] >= 0
        assert reading.values["db.replica.count"] == 0
        assert 0 < reading.values["db.xid.age_ratio"] < 0.01
        assert reading.values["db.statements.top_calls_per_s"] > 10
        top = next(r for r in reading.rows if r["kind"] == "statement")
        assert top["query"] == "select count(*) from t where g > $1"
        assert {"kind": "application", "application": "", "sessions": 1, "idle": 1} in reading.rows


async def test_taken_slots_are_told_as_53300_and_cost_no_connection(server: Server) -> None:
    async with AsyncExitStack() as stack, watching(server.monitor_dsn) as source:
        assert (await bounded(source)).error is None
        for _ in range(94):
            await session(stack, server)
        reading = await bounded(source)
        assert reading.error is not None
        assert reading.error.startswith("53300 too many connections")
        assert reading.values["db.connections.used"] == 95
        assert reading.values["db.connections.refused_per_s"] > 0
        assert reading.values["db.up"] == 1
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots"):
            await session(stack, server)
        for _ in range(5):
            await session(stack, server, "premortem")
        late = await stack.enter_async_context(watching(server.monitor_dsn))
        blind = await bounded(late)  # even the reserved slots are gone: the climb still tells
        assert blind.error is not None
        assert blind.error.startswith("53300 too many connections; not connected: ")
        assert source.connections_opened == 1


async def test_the_root_of_a_chain_of_locks_is_found(server: Server) -> None:
    async with AsyncExitStack() as stack, watching(server.monitor_dsn) as source:
        root = await session(stack, server)
        await root.execute("create table stock (id int primary key, n int)")
        await root.execute("insert into stock values (1, 1), (2, 1)")
        await root.execute("begin; update stock set n = 2 where id = 1")
        middle = await session(stack, server)
        await middle.execute("begin; update stock set n = 2 where id = 2")
        ends = [await session(stack, server) for _ in range(4)]
        orders = [middle.execute("update stock set n = 3 where id = 1")]
        orders += [c.execute("update stock set n = 3 where id = 2") for c in ends]
        waiting = [asyncio.create_task(o) for o in orders]
        reading = await until(source, "db.root_blocker.blocked_sessions", 5)
        assert reading.values["db.blocked_sessions"] == 5
        assert reading.values["db.wait.lock"] == 5
        assert reading.values["db.root_blocker.age_s"] > 0
        assert reading.values["db.sessions.idle_in_transaction"] == 1
        rows = {r["pid"]: r for r in reading.rows if r["kind"] == "session"}
        root_row = rows[root.info.backend_pid]
        assert (root_row["root"], root_row["blocked_by"]) == (None, [])
        assert root_row["query"] == "begin; update stock set n = ? where id = ?"
        assert all(rows[c.info.backend_pid]["root"] == root.info.backend_pid for c in ends)
        await root.execute("rollback")
        await waiting[0]
        await middle.execute("rollback")
        await asyncio.gather(*waiting)
        freed = await until(source, "db.blocked_sessions", 0)
        assert freed.values["db.root_blocker.blocked_sessions"] == 0


async def test_a_stopped_first_process_is_told_from_a_network_and_kept(server: Server) -> None:
    async with watching(server.monitor_dsn) as source:
        source.ladder_interval_s = 0.5
        await bounded(source)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(0.5)
            reading = await bounded(source)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert reading.error is not None
        assert reading.error.startswith("no reply to SSLRequest within")
        assert reading.values["db.up"] == 0
        assert reading.values["db.connect.tcp_ms"] < 100
        assert reading.values["db.connections.used"] == 1  # the old connection still answers
        await until(source, "db.up", 1)
        assert source.connections_opened == 1


async def test_a_server_stopped_as_a_whole_costs_the_bound_and_no_connection(
    server: Server,
) -> None:
    async with watching(server.monitor_dsn) as source:
        await bounded(source)
        assert server.pid is not None
        everybody = tree([server.pid])
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        try:
            readings = [await bounded(source) for _ in range(2)]
        finally:
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)
        for reading in readings:
            assert "no reply to SSLRequest" in (reading.error or "")
            assert "no reply to a query for" in (reading.error or "")
            assert reading.values["db.up"] == 0
            assert "db.connections.used" not in reading.values
        await until(source, "db.up", 1)
        assert (await until(source, "db.connections.used", 1)).error is None
        assert source.connections_opened == 1


async def test_a_look_without_any_reply_is_given_up_in_the_end(server: Server) -> None:
    async with watching(server.monitor_dsn) as source:
        source._looker.give_up_s = 1.0
        await bounded(source)
        assert server.pid is not None
        pid = next(p for p in tree([server.pid]) if b"monitor" in command_of(p))
        os.kill(pid, signal.SIGSTOP)
        try:
            assert "no reply to a query" in ((await bounded(source)).error or "")
            await until(source, "db.connections.used", 2)  # the stopped one is still there
        finally:
            os.kill(pid, signal.SIGCONT)
        assert source.connections_opened == 2


async def test_a_restart_breaks_the_connection_and_is_survived(server: Server) -> None:
    async with watching(server.monitor_dsn) as source:
        await bounded(source)
        await server.stop()
        down = [await bounded(source) for _ in range(2)]
        assert all((r.error or "").startswith("refused") for r in down)
        assert all(r.values["db.up"] == 0 for r in down)
        await server.restart()
        assert (await until(source, "db.connections.used", 1)).values["db.up"] == 1
        assert source.connections_opened == 2


async def test_a_role_without_grants_says_what_it_lacks_and_reports_no_guess(
    server: Server,
) -> None:
    async with AsyncExitStack() as stack, watching(server.site_dsn) as source:
        operator = await session(stack, server, "premortem")
        await operator.execute("drop extension pg_stat_statements")
        reading = await bounded(source)
        assert reading.error == (
            'role site lacks pg_monitor and sees no other\'s sessions: GRANT pg_monitor TO "site"'
        )
        assert reading.values["db.connections.used"] >= 2
        assert reading.values["db.up"] == 1
        assert "db.wait.cpu" not in reading.values
        assert len([r for r in reading.rows if r["kind"] == "lack"]) == 2
        assert "CREATE EXTENSION pg_stat_statements" in source.lacks[1]
        later = [await bounded(source) for _ in range(4)]
        assert [r.error for r in later] == [None] * 4  # said once, kept in the rows
        assert not any("db.statements.calls_per_s" in r.values for r in later)


async def test_a_wrong_password_is_not_the_servers_fault(server: Server) -> None:
    wrong = server.monitor_dsn.replace(server.password, "wrong")
    async with watching(wrong) as source:
        reading = await bounded(source)
        assert "password authentication failed" in (reading.error or "")
        assert "wrong" not in (reading.error or "")
        assert reading.values["db.up"] == 1


async def test_the_servers_processor_time_is_seen_dead_children_included(server: Server) -> None:
    assert server.pid is not None
    host = Host(db_pids=[server.pid])
    await host.read(1.0)
    async with await psycopg.AsyncConnection.connect(server.site_dsn) as site:
        await site.execute("select count(*) from generate_series(1, 500000)")
        pid = site.info.backend_pid
    for _ in range(200):
        if pid not in tree([server.pid]):
            break
        await asyncio.sleep(0.01)
    values = (await host.read(2.0)).values
    assert values["db.cpu.busy_ratio"] > 0.02


async def test_both_ports_are_timed(server: Server) -> None:
    reading = await Tcp(site=("127.0.0.1", server.port), database=("127.0.0.1", server.port)).read(
        1.0
    )
    assert reading.error is None
    assert reading.values["net.tcp.listen_queue_max"] >= 100
    assert 0 < reading.values["net.other_port_rtt_ms"] < 1000
