"""Faults for real: what is broken is mended again, and one of them is played to its end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from premortem.drills.faults._fault import Fault, Rig, open_session
from premortem.drills.faults._path import lossy_path, may_have_own_network, own_network
from premortem.drills.faults._replica import streaming_replica
from premortem.drills.faults._throttle import slow_reads
from premortem.drills.faults.connection_exhaustion import ConnectionExhaustion
from premortem.drills.faults.database_down import DatabaseDown
from premortem.drills.faults.idle_in_transaction import IdleInTransaction
from premortem.drills.faults.lock_contention import KINDS as LOCKS
from premortem.drills.faults.lock_contention import LockContention
from premortem.drills.faults.slow_query import KINDS as QUERIES
from premortem.drills.faults.slow_query import SlowQuery
from premortem.drills.faults.vacuum_bloat import VacuumBloat
from premortem.drills.faults.workers_starved import WorkersStarved
from premortem.drills.stack import Layout, SiteProcesses, Stack
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
from premortem.sources._processes import tree

pytestmark = [pytest.mark.real, pytest.mark.slow]

PREFIX = "premortem-test-faults-"
NOWHERE = Layout(None, None, None)
TABLES = """
CREATE TABLE product (id int PRIMARY KEY, price_cents int NOT NULL);
CREATE TABLE review (id int PRIMARY KEY, product_id int, stars int, body text, written_on date);
CREATE INDEX review_by_product ON review (product_id, written_on DESC) INCLUDE (stars);
CREATE TABLE basket (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE TABLE basket_line (basket_id bigint, product_id int, quantity int);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, total_cents bigint);
CREATE TABLE order_line (order_id bigint, quantity int);
INSERT INTO product SELECT n, 100 FROM generate_series(1, 100) n;
INSERT INTO review SELECT n, n % 2000, 3, 'good', '2023-01-01' FROM generate_series(1, 20000) n;
ANALYZE review;
INSERT INTO order_line SELECT n, 1 FROM generate_series(1, 2000) n;
"""


@asynccontextmanager
async def rig(settings: dict[str, str] | None = None) -> AsyncIterator[Rig]:
    """A database with the shop's tables, nearly empty, and no site."""
    with Leash() as leash, _folder(leash) as folder:
        async with Postgres.start(folder / "database", leash=leash, settings=settings) as database:
            stack = Stack("shop", folder, database, NOWHERE, leash, None)
            web = SiteProcesses(0, "", [], None, folder, leash)
            async with await psycopg.AsyncConnection.connect(database.site_dsn) as session:
                await session.execute(TABLES.encode())
            yield Rig(
                stack=stack, web=web, switches_file=folder / "switches.json",
                knee_users_per_s=10.0, users=_nobody, deploys=[], clock=lambda: 0.0,
                dice=random.Random(1),
            )  # fmt: skip


@contextmanager
def _folder(leash: Leash) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    leash.hold_folder(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def _nobody(*_: object, **__: object) -> None:
    """No users come in these tests."""


async def _state(broken: Rig) -> list[Any]:
    """What a mended database looks like: its objects, its settings, its sessions."""
    objects = await broken.stack.query(
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relname NOT LIKE 'pg_stat%%' ORDER BY 1"
    )
    settings = await broken.stack.query("SELECT setconfig FROM pg_db_role_setting")
    waits = await broken.stack.query("SHOW synchronous_standby_names")
    return [objects, settings, waits]


async def _others(broken: Rig) -> int:
    rows = await broken.stack.query(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND pid <> pg_backend_pid()"
    )
    return int(rows[0][0])


FAULTS: list[Fault] = [
    *(LockContention(kind, busy, True) for kind in sorted(LOCKS) for busy in (True, False)),
    *(SlowQuery(kind, True) for kind in sorted(QUERIES)),
    WorkersStarved(5, 0.4),
    *(DatabaseDown(kind, True) for kind in ("crashed", "deaf", "frozen")),
    IdleInTransaction(4, True),
    ConnectionExhaustion("pools", 3.0),
    VacuumBloat(0.05, "prepared"),
    VacuumBloat(0.05, "reader"),
]


def test_every_database_fault_leaves_the_database_as_it_was() -> None:
    async def run() -> None:
        async with rig({"max_prepared_transactions": "2"}) as broken:
            before = await _state(broken)
            for fault in FAULTS:
                async with fault.inject(broken):
                    await asyncio.sleep(0.3)
                assert await _state(broken) == before, fault
                await asyncio.sleep(0.2)
                assert await _others(broken) == 0, fault
                async with await psycopg.AsyncConnection.connect(
                    broken.stack.database.site_dsn, options="-c statement_timeout=5000"
                ) as visitor:
                    await visitor.execute("UPDATE product SET price_cents = 1")
                    await visitor.execute("INSERT INTO basket_line VALUES (1, 1, 1)")

    asyncio.run(run())


def test_a_lock_makes_a_visitor_wait_while_it_lasts() -> None:
    async def run() -> None:
        async with rig() as broken:
            fault = LockContention("a migration", busy=False, guarded=True)
            async with (
                fault.inject(broken),
                await psycopg.AsyncConnection.connect(
                    broken.stack.database.site_dsn, options="-c statement_timeout=300"
                ) as visitor,
            ):
                with pytest.raises(psycopg.errors.QueryCanceled):
                    await visitor.execute("SELECT count(*) FROM product")

    asyncio.run(run())


def test_a_slow_query_answers_as_before_only_by_another_plan() -> None:
    async def run() -> None:
        async with rig() as broken:
            for kind in sorted(QUERIES):
                async with SlowQuery(kind, True).inject(broken):
                    plan, count = await _ask_for_reviews(broken)
                    assert count == 10, kind
                    assert "review_by_product" not in plan, kind
            plan, count = await _ask_for_reviews(broken)
            assert count == 10 and "review_by_product" in plan

    asyncio.run(run())


async def _ask_for_reviews(broken: Rig) -> tuple[str, int]:
    """The plan, and what the site finds, of the reviews of one product."""
    query = b"SELECT stars FROM review WHERE product_id = 7"
    dsn = broken.stack.database.site_dsn
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as visitor:
        plan = await (await visitor.execute(b"EXPLAIN " + query)).fetchall()
        found = await (await visitor.execute(query)).fetchall()
    return str(plan), len(found)


def test_a_frozen_server_does_not_answer_and_goes_on_afterwards() -> None:
    async def run() -> None:
        async with rig() as broken:
            dsn = broken.stack.database.dsn
            async with DatabaseDown("frozen", guarded=True).inject(broken):
                assert await open_session(dsn, "visitor") is None  # gives up after 5 s
            assert await broken.stack.query("SELECT 1") == [(1,)]

    asyncio.run(run())


def test_a_replica_streams_and_its_replay_can_be_paused() -> None:
    async def run() -> None:
        async with (
            rig() as broken,
            streaming_replica(broken.stack, NOWHERE) as dsn,
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as replica,
        ):
            await replica.execute("SELECT pg_wal_replay_pause()")
            await broken.run("CREATE TABLE since_then ()")
            await asyncio.sleep(0.5)
            seen = "SELECT to_regclass('since_then') IS NOT NULL"
            assert (await (await replica.execute(seen)).fetchone()) == (False,)
            await replica.execute("SELECT pg_wal_replay_resume()")
            for _ in range(50):
                await asyncio.sleep(0.1)
                if (await (await replica.execute(seen)).fetchone()) == (True,):
                    return
            pytest.fail("the replica did not catch up")

    asyncio.run(run())


needs_root = pytest.mark.skipif(
    not may_have_own_network(), reason="needs Linux, root and /dev/net/tun"
)


@needs_root
def test_a_lossy_path_carries_tcp_and_loses_it(tmp_path: Path) -> None:
    async def run() -> None:
        with own_network():
            async with rig() as broken, lossy_path(broken.stack, NOWHERE) as path:
                server = await asyncio.start_server(_echo, "0.0.0.0", 0)
                port = server.sockets[0].getsockname()[1]
                await asyncio.sleep(1.0)  # the relay starts
                assert await _ask(path.host, port) == b"hello\n"
                path.set(loss_ratio=1.0)
                await asyncio.sleep(0.3)
                with pytest.raises(TimeoutError):
                    await _ask(path.host, port)
                server.close()

    asyncio.run(run())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def _ask(host: str, port: int) -> bytes:
    async with asyncio.timeout(2):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"hello\n")
        try:
            return await reader.readline()
        finally:
            writer.close()


@needs_root
def test_the_network_is_left_again() -> None:
    before = {name for _, name in socket.if_nameindex()}
    with own_network():
        assert {name for _, name in socket.if_nameindex()} == {"lo"}
    assert {name for _, name in socket.if_nameindex()} == before


@needs_root
def test_a_slow_disk_is_slow_for_the_database_alone() -> None:
    async def run() -> None:
        async with rig() as broken:
            pid = broken.stack.database.pid
            assert pid is not None
            try:
                with slow_reads(tree([pid]), broken.stack.folder, iops=50, bytes_per_s=400_000):
                    assert "premortem-" in _groups(pid) and "premortem-" not in _groups(os.getpid())
            except EngineError as refused:
                pytest.skip(f"no block cgroup here: {refused}")
            assert "premortem-" not in _groups(pid)

    asyncio.run(run())


def _groups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_one_fault_is_played_and_named(tmp_path: Path) -> None:
    """The command as a person types it. Under a machine's full load it may take two minutes."""
    result, recording = tmp_path / "result.json", tmp_path / "recording.jsonl"
    command = str(Path(sys.executable).with_name("premortem"))
    argv = [command, "drill", "fault", "lock_contention", "--seed", "1"]
    argv += ["--json", str(result), "--record", str(recording)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(result.read_text())
    assert told["score"]["top1"] and told["score"]["named_s"] < 20
    assert not told["score"]["true_cause_ruled_out"]
    assert "lock_contention" in done.stdout
    assert recording.read_text().startswith('{"premortem_recording": 1')


def test_nothing_is_left_in_temporary_folders() -> None:
    """Runs after the others in this file: their folders carry the prefix."""
    assert list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) == []
