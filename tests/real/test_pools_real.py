"""Who waits for a connection, in the pools that users have, on a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres as Server
from premortem.guard import PoolReader

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("pools")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        async with Server.start(folder / "server", leash=leash) as server:
            yield server


async def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_asyncpgs_pool(server: Server) -> None:
    asyncpg = pytest.importorskip("asyncpg")
    where = {"host": "127.0.0.1", "port": server.port, "user": "site", "database": "site"}
    async with asyncpg.create_pool(
        **where, password=server.password, min_size=1, max_size=1
    ) as pool:
        reader = PoolReader(pool)
        async with pool.acquire():
            waiting = asyncio.create_task(pool.fetchval("select 1"))
            await until(lambda: reader.read(0.0).get("pool.waiting") == 1)
            assert reader.read(0.0)["pool.in_use"] == 1
        assert await waiting == 1
        assert reader.read(0.0)["pool.waiting"] == 0


async def test_an_engine_of_sqlalchemy(server: Server) -> None:
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("greenlet", reason="pip install 'sqlalchemy[asyncio]'")
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    url = f"postgresql+psycopg://site:{server.password}@127.0.0.1:{server.port}/site"
    engine = create_async_engine(url, pool_size=1, max_overflow=0)
    reader = PoolReader(engine)

    async def ask() -> object:
        async with engine.connect() as connection:
            return (await connection.execute(text("select 1"))).scalar()

    async with engine.connect():
        waiting = asyncio.create_task(ask())
        await until(lambda: reader.read(0.0).get("pool.waiting") == 1)
        await asyncio.sleep(0.1)
    assert await waiting == 1
    values = reader.read(0.5)
    assert (values["pool.waiting"], values["pool.max"]) == (0, 1)
    assert values["pool.wait_ms"] >= 45  # of two, one waited 100 ms
    await engine.dispose()


async def test_psycopgs_pool(server: Server) -> None:
    from psycopg_pool import AsyncConnectionPool

    async with AsyncConnectionPool(server.site_dsn, min_size=1, max_size=1) as pool:
        reader = PoolReader(pool)
        async with pool.connection():
            waiting = asyncio.create_task(pool.getconn())
            await until(lambda: reader.read(0.0).get("pool.waiting") == 1)
        await pool.putconn(await waiting)
        assert reader.read(0.5)["pool.waiting"] == 0
