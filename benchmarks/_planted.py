"""One process of a site with a planted limit: ``python -m benchmarks._planted --kind pool …``.

Each kind makes every request need one resource, of which there is a known amount:

workers     a slot of the web server (the guard's cap), held while it waits
cpu         the web server's processor, burnt by the clock of the thread itself
pool        a connection of the pool, held while the database waits
row_lock    one row of the database, locked while its owner waits
lock        one advisory lock of the database, held likewise
db_cpu      the database's processor
downstream  a call to another service (``service``, a process of its own) with so many slots
fast        nothing
broken      never works
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from psycopg_pool import AsyncConnectionPool

from premortem.drills.sites.serve import listening
from premortem.guard import Guard, Settings

Work = Callable[[], Awaitable[None]]
SLOTS_WITHOUT_LIMIT = 4000
STATEMENTS = {
    "pool": "SELECT pg_sleep(%(s)s)",
    "lock": "SELECT pg_advisory_xact_lock(1), pg_sleep(%(s)s)",
    "row_lock": "WITH taken AS (UPDATE planted SET n = n + 1 WHERE id = 1 RETURNING n)"
    " SELECT pg_sleep(%(s)s) FROM taken",
    "db_cpu": "SELECT count(*) FROM generate_series(1, %(s)s::int)",
}


def hold_s(wanted: argparse.Namespace, dice: random.Random) -> float:
    """How long this request needs the resource, in seconds (rows, for ``db_cpu``)."""
    amount = wanted.rows if wanted.kind == "db_cpu" else wanted.hold_ms / 1000.0
    return dice.expovariate(1.0 / amount) if wanted.varied else amount


def work_of(wanted: argparse.Namespace, pool: AsyncConnectionPool | None, site: Any) -> Work:
    """What a request does."""
    dice = random.Random(7)
    calls: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def wait() -> None:
        await asyncio.sleep(hold_s(wanted, dice))

    async def burn() -> None:
        until = time.thread_time() + hold_s(wanted, dice)
        while time.thread_time() < until:
            pass

    async def ask() -> None:
        assert pool is not None
        async with pool.connection() as connection:
            await connection.execute(STATEMENTS[wanted.kind], {"s": hold_s(wanted, dice)})

    async def call() -> None:
        with site().downstream():
            ends = (
                calls.pop() if calls else await asyncio.open_connection("127.0.0.1", wanted.service)
            )
            ends[1].write(b"?\n")
            await ends[0].readline()
            calls.append(ends)

    async def nothing() -> None:
        return

    async def fail() -> None:
        raise RuntimeError("planted")

    known = {"workers": wait, "cpu": burn, "downstream": call, "fast": nothing, "broken": fail}
    return known.get(wanted.kind, ask)


def application(wanted: argparse.Namespace) -> Guard:
    pool = None
    if wanted.kind in STATEMENTS:
        pool = AsyncConnectionPool(
            wanted.dsn_file.read_text().strip(),
            kwargs={"autocommit": True},
            min_size=wanted.pool,
            max_size=wanted.pool,
            timeout=60.0,
            max_waiting=0,
            open=False,
        )
    work = work_of(wanted, pool, lambda: guard)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send, pool)
            return
        status, body = 200, b"ok\n"
        try:
            await work()
        except RuntimeError:
            status, body = 500, b"broken\n"
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    cap = wanted.slots if wanted.kind == "workers" or wanted.capped else SLOTS_WITHOUT_LIMIT
    settings = Settings(
        cap=cap,
        adaptive=False,
        slow_ms=3_000_000.0,
        queue_max=SLOTS_WITHOUT_LIMIT,
        queue_timeout_ms=3_000_000.0,
        queue_interval_ms=3_000_000.0,
        queue_standing_timeout_ms=3_000_000.0,
        deadline_ms=3_000_000.0,
    )
    guard = Guard(app, settings, pool=pool)
    return guard


async def _lifespan(receive: Any, send: Any, pool: AsyncConnectionPool | None) -> None:
    await receive()
    if pool is not None:
        await pool.open(wait=True)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if pool is not None:
        await pool.close()
    await send({"type": "lifespan.shutdown.complete"})


async def serve_service(wanted: argparse.Namespace) -> None:
    """The other service: so many slots, each held for so long."""
    slots, dice = asyncio.Semaphore(wanted.slots), random.Random(7)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            async with slots:
                await asyncio.sleep(hold_s(wanted, dice))
            writer.write(b"!\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", wanted.port)
    async with server:
        await server.serve_forever()


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks._planted")
    parser.add_argument("--kind", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--slots", default=8, type=int)
    parser.add_argument("--capped", action="store_true", help="the web server has slots too")
    parser.add_argument("--hold-ms", default=0.0, type=float)
    parser.add_argument("--varied", action="store_true", help="exponential instead of constant")
    parser.add_argument("--rows", default=0, type=int)
    parser.add_argument("--pool", default=8, type=int)
    parser.add_argument("--service", default=0, type=int, help="port of the other service")
    parser.add_argument("--dsn-file", type=Path)
    return parser


def main() -> int:
    wanted = arguments().parse_args()
    if wanted.kind == "service":
        asyncio.run(serve_service(wanted))
        return 0
    config = uvicorn.Config(
        application(wanted), loop="asyncio", http="httptools", access_log=False, log_level="error",
        ws="none", lifespan="on",
    )  # fmt: skip
    uvicorn.Server(config).run([listening(wanted.port)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
