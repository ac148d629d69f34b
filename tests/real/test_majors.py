"""Every query of the source ``postgres`` on every major version of PostgreSQL that is here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from importlib.resources import files

import psycopg
import pytest
import pytest_asyncio

from premortem.app.doctor import Patient, examine
from premortem.engines.leash import Leash
from premortem.engines.majors import INSTALL, homes, start
from premortem.engines.postgres import Postgres as Server
from premortem.sources._pg_sql import query
from premortem.sources.postgres import Postgres

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

HERE = homes()
ALWAYS = {
    *("db.up", "db.connections.used", "db.connections.max", "db.sessions.active", "db.wait.cpu"),
    *("db.wait.lock", "db.transactions_per_s", "db.cache_hit_ratio", "db.checkpoints.timed_per_s"),
    *("db.checkpoints.requested_per_s", "db.wal.bytes_per_s", "db.replica.count"),
    *("db.xid.age_ratio", "db.connect_ms", "db.blocked_sessions", "db.io.read_ms"),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=sorted(INSTALL))
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[int, Server]]:
    major: int = request.param
    if major not in HERE:
        pytest.skip(f"PostgreSQL {major} is not on this machine: {INSTALL[major]}")
    folder = tmp_path_factory.mktemp(f"pg{major}")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        settings = {"track_io_timing": "on", "shared_buffers": "1MB"}
        async with start(major, folder / "server", leash=leash, settings=settings) as server:
            yield major, server


async def test_every_query_is_understood(server: tuple[int, Server]) -> None:
    major, running = server
    names = {f.name.split(".")[0] for f in (files("premortem.sources") / "sql").iterdir()}
    assert len(names) > 8
    async with await psycopg.AsyncConnection.connect(running.monitor_dsn) as monitor:
        made = await (await monitor.execute("select count(*) from pg_extension")).fetchone()
        statements = made is not None and made[0] > 1
        for name in sorted(names):
            if name.startswith("statement") and not statements:
                continue
            params = [[1]] if name == "statement_texts" else None
            await monitor.execute(query(name, major, "public"), params)


async def test_a_working_server_is_seen_whole(server: tuple[int, Server]) -> None:
    major, running = server
    source = Postgres(running.monitor_dsn)
    seen: set[str] = set()
    async with await psycopg.AsyncConnection.connect(running.site_dsn, autocommit=True) as site:
        await site.execute(
            "create table t as select g, repeat('x', 500) from generate_series(1, 9000) g"
        )
        for _ in range(14):
            await site.execute("select count(*) from t where g > 7")
            reading = await source.read(time.time())
            assert reading.error is None
            seen |= reading.values.keys()
            await asyncio.sleep(0.2)  # a session tells the server of its work once a second
    await source.close()
    assert ALWAYS - seen == set()
    assert ("db.connections.opened_per_s" in seen) is (major >= 14)
    assert ("db.statements.calls_per_s" in seen) is not any("statements" in x for x in source.lacks)
    assert source.connections_opened == 1


async def test_the_doctor_understands_it(server: tuple[int, Server]) -> None:
    major, running = server
    found = {f.name: f for f in examine(Patient(dsn=running.monitor_dsn)).findings}
    assert found["version"].text == f"PostgreSQL {major}"
    assert found["role"].there
    assert found["track_io_timing"].there
    assert found["reserved connection"].there
