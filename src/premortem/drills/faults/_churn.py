"""A batch that writes at a steady pace beside the site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from premortem.drills.faults._fault import Rig

__all__ = ["churning"]

EVERY_S = 0.25
WRITE = "INSERT INTO note SELECT repeat(md5(random()::text), 30) FROM generate_series(1, {rows})"
"""A row is about 1 kB of log."""


@asynccontextmanager
async def churning(rig: Rig, kb_per_s: int) -> AsyncIterator[None]:
    """Write ``kb_per_s`` of log until left; the table is dropped then."""
    await rig.run("CREATE TABLE IF NOT EXISTS note (body text)")
    work = asyncio.create_task(_write(rig, max(1, round(kb_per_s * EVERY_S))))
    try:
        yield
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, psycopg.OperationalError):
            await work
        await rig.run("DROP TABLE IF EXISTS note")


async def _write(rig: Rig, rows: int) -> None:
    async with await psycopg.AsyncConnection.connect(
        rig.stack.database.dsn, autocommit=True, application_name="import"
    ) as connection:
        while True:
            await connection.execute(WRITE.format(rows=rows).encode())
            await asyncio.sleep(EVERY_S)
