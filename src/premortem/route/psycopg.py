"""A router for psycopg 3: one connection to the primary, one to the replicas, one rule.

Not for several threads at once: give each its own, as with a connection. Both DSNs may lead
through PgBouncer in transaction mode; the probe and the read share one transaction, so that they
meet the same server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, LiteralString, Self, TypeVar

import psycopg

from premortem.route.rule import PROBE, TOKEN, UNKNOWN, Token, choose, parse_lsn, read_probe

__all__ = ["Router"]

Connection = psycopg.Connection[tuple[Any, ...]]
Params = Sequence[Any] | Mapping[str, Any] | None
Row = tuple[Any, ...]
T = TypeVar("T")

WAIT_S = 0.1
"""How long to wait for a replica to catch up: replay is usually a few ms behind; past 100 ms the
primary answers sooner."""
LOOK_S = 0.005
LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""What a lost connection may look like: psycopg calls a pooler's farewell between two answers an
internal error ("received 2 results from command 'BEGIN'"). An error of the query itself is met
again on the primary, and raised from there."""
RETRY_S = 1.0
"""A replica route that failed is left alone this long: not every read should pay for it."""


class Router:
    """Writes and fresh reads go to ``app``, allowed reads to ``app_ro``; both are DSNs.

    Reads fall back to the primary when no replica may answer. ``psycopg.Error`` is raised when
    the primary fails too.
    """

    def __init__(
        self, app: str, app_ro: str, *, wait_s: float = WAIT_S, connect_s: int = 5
    ) -> None:
        self._dsns = (app, app_ro)
        self._open: list[Connection | None] = [None, None]
        self._connect_s = connect_s
        self._wait_s = wait_s
        self._replica_after = 0.0
        self.token = Token()
        """The position after our last write; hand it to another router (a session, a cookie)."""
        self.counts = {"replica": 0, "primary": 0, "fallback": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        for connection in self._open:
            if connection is not None:
                connection.close()
        self._open = [None, None]

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction on the primary and remember the position after it.

        Not retried: whether a failed commit was kept is not known, only the site can tell.
        """
        connection = self._connected(0)
        try:
            with connection.transaction():
                result = work(connection)
        except LOST:
            self._drop(0)
            raise
        self.token = self._position(connection)
        return result

    def _position(self, connection: Connection) -> Token:
        """The work is committed: what goes wrong now must not look like a failed write."""
        try:
            row = connection.execute(TOKEN).fetchone()
        except LOST:
            self._drop(0)
            return UNKNOWN
        return parse_lsn(str(row[0])) if row else UNKNOWN

    def read(
        self,
        query: LiteralString,
        params: Params = None,
        *,
        stale_s_max: float = 0.0,
        after: Token | None = None,
    ) -> list[Row]:
        """Rows of a query that changes nothing.

        ``stale_s_max`` = 0 (the default) reads from the primary. ``after`` defaults to our own
        last write: we always read that.
        """
        wanted = self.token if after is None else after
        if stale_s_max > 0 and time.monotonic() >= self._replica_after:
            try:
                rows = self._read_replica(query, params, stale_s_max, wanted)
            except LOST:
                self._drop(1)
                self._replica_after = time.monotonic() + RETRY_S
                rows = None
            if rows is not None:
                self.counts["replica"] += 1
                return rows
            self.counts["fallback"] += 1
        self.counts["primary"] += 1
        return self._read_primary(query, params)

    def _read_replica(
        self, query: LiteralString, params: Params, stale_s_max: float, after: Token
    ) -> list[Row] | None:
        connection, began = self._connected(1), time.monotonic()
        while True:
            with connection.transaction():
                connection.execute("SET TRANSACTION READ ONLY")
                seen = read_probe(connection.execute(PROBE).fetchone())
                choice = choose(
                    seen,
                    stale_s_max=stale_s_max,
                    after=after,
                    waited_s=time.monotonic() - began,
                    wait_s=self._wait_s,
                )
                if choice == "replica":
                    return connection.execute(query, params).fetchall()
            if choice == "primary":
                return None
            time.sleep(LOOK_S)

    def _read_primary(self, query: LiteralString, params: Params) -> list[Row]:
        """Once more on a fresh connection when the first was dead: a read may be repeated."""
        for last in (False, True):
            try:
                with self._connected(0).transaction():
                    connection = self._connected(0)
                    connection.execute("SET TRANSACTION READ ONLY")
                    return connection.execute(query, params).fetchall()
            except LOST:
                self._drop(0)
                if last:
                    raise
        raise AssertionError("unreachable")

    def _connected(self, which: int) -> Connection:
        connection = self._open[which]
        if connection is None or connection.closed:
            connection = psycopg.connect(
                self._dsns[which],
                autocommit=True,
                prepare_threshold=None,  # PgBouncer before 1.21 breaks prepared statements
                connect_timeout=self._connect_s,
            )
            self._open[which] = connection
        return connection

    def _drop(self, which: int) -> None:
        connection, self._open[which] = self._open[which], None
        if connection is not None:
            connection.close()
