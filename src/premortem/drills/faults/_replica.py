"""A streaming replica of the rehearsal's database, by pg_basebackup."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from premortem.drills.stack import Layout, Stack
from premortem.engines.errors import EngineError
from premortem.engines.postgres import HOST
from premortem.engines.processes import free_port, spawn

__all__ = ["streaming_replica"]

COPY_S = 60.0
"""Copying some 150 MB takes 2 to 5 s; a machine that needs longer rehearses nothing."""
READY_S = 30.0


@asynccontextmanager
async def streaming_replica(stack: Stack, plan: Layout) -> AsyncIterator[str]:
    """Copy the primary, start the copy as its replica, yield the operator's DSN of it."""
    primary, port = stack.database, free_port()
    folder = primary.folder / f"replica-{port}"
    _allow_replication(primary.folder / "data" / "pg_hba.conf")
    await stack.query("SELECT pg_reload_conf()")
    source = make_conninfo(
        host=HOST, port=primary.port, user="premortem", password=primary.password
    )
    server_home = str(primary.home / "bin")
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    copy = await spawn(
        [f"{server_home}/pg_basebackup", "-d", source, "-D", str(folder), "-R", "-c", "fast"],
        log=primary.folder / "basebackup.log", leash=stack.leash, user=primary.user,
        cpus=plan.site, env=env, cwd=primary.folder,
    )  # fmt: skip
    try:
        await asyncio.wait_for(copy.process.wait(), COPY_S)
    except TimeoutError:
        raise EngineError(f"the replica was not copied within {COPY_S:g} s") from None
    finally:
        await copy.end()
    if copy.process.returncode != 0:
        raise EngineError(f"pg_basebackup: {copy.log_tail(1)}")
    server = await spawn(
        [f"{server_home}/postgres", "-D", str(folder), "-c", f"port={port}",
         "-c", f"listen_addresses={HOST}", "-c", "unix_socket_directories="],
        log=primary.folder / "replica.log", leash=stack.leash, user=primary.user,
        cpus=plan.site, env=env, cwd=primary.folder,
    )  # fmt: skip
    try:
        dsn = make_conninfo(
            host=HOST, port=port, user="premortem", password=primary.password, dbname="site"
        )
        await _ready(dsn)
        yield dsn
    finally:
        await server.end()


def _allow_replication(hba: Path) -> None:
    line = "host replication all 127.0.0.1/32 scram-sha-256\n"
    allowed = hba.read_text()
    if line not in allowed:
        hba.write_text(allowed + line)


async def _ready(dsn: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=5):
                return
        except psycopg.OperationalError:
            await asyncio.sleep(0.2)
    raise EngineError(f"the replica did not answer within {READY_S:g} s")
