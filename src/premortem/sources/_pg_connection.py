"""The one connection that premortem keeps to a PostgreSQL server."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from premortem.sources._contract import say
from premortem.sources._patience import Patience

__all__ = ["Connection", "hang_up"]

_SETTINGS = (
    b"set statement_timeout = '1s'; set lock_timeout = '100ms'; set jit = off;"
    b" set idle_in_transaction_session_timeout = '10s'; set search_path = pg_catalog"
)


@dataclass(slots=True)
class Connection:
    """Opened at first need, opened again only after it broke, counted."""

    dsn: str = field(repr=False)
    opened: int = 0
    _conn: psycopg.AsyncConnection[dict[str, Any]] | None = None
    _patience: Patience = field(default_factory=Patience)

    @property
    def closed(self) -> bool:
        """There is no connection, or it is known to be broken."""
        return self._conn is None or self._conn.closed

    async def ready(self) -> str | None:
        """Connect if need be and due. What stands in the way, or nothing."""
        if self._conn is not None:
            return None
        if told := self._patience.still(time.perf_counter()):
            return told
        try:
            await self._open()
        except (psycopg.Error, OSError) as problem:
            await self.close()
            refusal = f"not connected: {_last_words(problem)}"
            self._patience.failed(time.perf_counter(), refusal)
            return refusal
        self._patience.forget()
        return None

    async def _open(self) -> None:
        self._conn = await psycopg.AsyncConnection.connect(
            self.dsn,
            autocommit=True,
            row_factory=dict_row,
            application_name="premortem",
            connect_timeout=2,
        )
        self.opened += 1
        await self._conn.execute(_SETTINGS)

    async def rows(self, query: bytes, params: Sequence[object] | None) -> list[dict[str, Any]]:
        """All rows of one query. Raises ``psycopg.Error``."""
        if self._conn is None:
            raise psycopg.OperationalError("no connection")
        return await (await self._conn.execute(query, params)).fetchall()

    def hang_up(self) -> None:
        """End whatever waits for a reply."""
        if self._conn is not None:
            hang_up(self._conn)

    async def close(self) -> None:
        """Close it if it is open."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()


def hang_up(conn: psycopg.AsyncConnection[dict[str, Any]]) -> None:
    """Shut the socket down: a waiting query ends with an error, and the server is not asked.

    (Cancelling the task would have psycopg send a cancel request and wait for a server that
    does not answer.)
    """
    if conn.closed:
        return
    with socket.socket(fileno=socket.dup(conn.fileno())) as sock:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was faster


def _last_words(problem: BaseException) -> str:
    """The server's part of libpq's message: 'connection to server at …failed: FATAL:  …'."""
    return say(problem).rpartition("failed: ")[2].removeprefix("FATAL: ").strip()
