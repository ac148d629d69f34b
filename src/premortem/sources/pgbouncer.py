"""PgBouncer: who waits for a pooled connection, and how long, from its own console.

The console speaks the simple protocol only (https://www.pgbouncer.org/usage.html#admin-console);
one connection is kept to it. Its ``maxwait`` is the age of the oldest waiter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from premortem.model import Metric, Reading
from premortem.sources._contract import say
from premortem.sources._patience import Patience
from premortem.sources._pg_connection import hang_up
from premortem.sources._rates import Counters, ratio
from premortem.sources.postgres import address_of

__all__ = ["METRICS", "UNREACHABLE", "Pgbouncer", "pool_values", "stat_values"]

METRICS = (
    Metric("pool.proxy.clients_active", "connections", "Clients with a server connection."),
    Metric("pool.proxy.waiting", "connections", "Clients that wait for a server connection."),
    Metric("pool.proxy.oldest_wait_ms", "ms", "How long the longest waiting client has waited."),
    Metric("pool.proxy.in_use", "connections", "Server connections handed out."),
    Metric("pool.proxy.idle", "connections", "Server connections that are free."),
    Metric("pool.proxy.transactions_per_s", "per_s", "Transactions pooled."),
    Metric("pool.proxy.wait_ms", "ms", "Mean wait for a server connection, a transaction."),
    Metric("pool.proxy.query_ms", "ms", "Mean time of a query at the server."),
)

UNREACHABLE = {"dsn": "host=127.0.0.1 port=1 user=nobody"}

Row = Mapping[str, Any]
Answers = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@dataclass(slots=True)
class Pgbouncer:
    """Asks the console for its pools and its statistics."""

    name: ClassVar[str] = "pgbouncer"

    dsn: str = field(repr=False)
    """Any DSN of the pooler; the database is set to its console's. The user must be among
    ``stats_users`` or ``admin_users``."""
    interval_s: float = 1.0
    timeout_s: float = 2.0
    target: str = field(init=False)
    _conn: psycopg.AsyncConnection[dict[str, Any]] | None = field(
        init=False, repr=False, default=None
    )
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)
    _patience: Patience = field(init=False, repr=False, default_factory=Patience)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a DSN that libpq does not understand."""
        address = address_of(self.dsn)
        self.target = f"{address.host}:{address.port}/pgbouncer"

    async def read(self, now: float) -> Reading:
        """``SHOW POOLS`` and ``SHOW STATS``. A dead pooler is knocked at ever more seldom."""
        if self._conn is None and (told := self._patience.still(time.perf_counter())):
            return Reading(self.name, self.target, now, error=told)
        asking = asyncio.create_task(self._ask())
        try:
            await asyncio.wait({asking}, timeout=self.timeout_s)
        except asyncio.CancelledError:  # the watch ends: leave nothing behind that waits
            await self._abandon(asking)
            raise
        if not asking.done():
            await self._abandon(asking)
            return self._failed(now, f"no reply in {self.timeout_s:g} s")
        try:
            pools, stats = asking.result()
        except (psycopg.Error, OSError) as problem:
            await self.close()
            return self._failed(now, say(problem))
        self._patience.forget()
        values = pool_values(pools)
        elapsed_s, grown = self._counters.growth(time.perf_counter(), _totals(stats))
        return Reading(self.name, self.target, now, values | stat_values(elapsed_s, grown))

    async def close(self) -> None:
        """Close the connection to the console."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    def _failed(self, now: float, why: str) -> Reading:
        self._patience.failed(time.perf_counter(), why)
        return Reading(self.name, self.target, now, error=why)

    async def _abandon(self, asking: asyncio.Task[Answers]) -> None:
        """Give up on a silent console without asking it to cancel."""
        if self._conn is None:
            asking.cancel()
        else:
            hang_up(self._conn)
        await asyncio.gather(asking, return_exceptions=True)
        await self.close()

    async def _ask(self) -> Answers:
        return await self._show("pools"), await self._show("stats")

    async def _show(self, what: str) -> list[dict[str, Any]]:
        if self._conn is None:
            self._conn = await psycopg.AsyncConnection.connect(
                make_conninfo(self.dsn, dbname="pgbouncer", connect_timeout=2),
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
                cursor_factory=psycopg.AsyncClientCursor,
            )
        return await (await self._conn.execute(f"SHOW {what}".encode())).fetchall()


def pool_values(pools: Sequence[Row]) -> dict[str, float]:
    """Sums over all pools but the console's own; the wait is the longest of any."""
    real = [p for p in pools if p["database"] != "pgbouncer"]
    longest_us = (int(p["maxwait"]) * 1_000_000 + int(p.get("maxwait_us") or 0) for p in real)
    return {
        "pool.proxy.clients_active": _sum(real, "cl_active"),
        "pool.proxy.waiting": _sum(real, "cl_waiting"),
        "pool.proxy.in_use": _sum(real, "sv_active"),
        "pool.proxy.idle": _sum(real, "sv_idle"),
        "pool.proxy.oldest_wait_ms": max(longest_us, default=0) / 1000,
    }


def stat_values(elapsed_s: float, grown: Mapping[str, float]) -> dict[str, float]:
    """Rates and means from what grew; times are in microseconds."""
    transactions = grown.get("total_xact_count")
    values = {
        "pool.proxy.transactions_per_s": ratio(transactions, elapsed_s),
        "pool.proxy.wait_ms": ratio(grown.get("total_wait_time"), transactions),
        "pool.proxy.query_ms": ratio(grown.get("total_query_time"), grown.get("total_query_count")),
    }
    return {k: v / 1000 if k.endswith("_ms") else v for k, v in values.items() if v is not None}


def _totals(stats: Sequence[Row]) -> dict[str, float]:
    real = [s for s in stats if s["database"] != "pgbouncer"]
    counters = ("total_xact_count", "total_query_count", "total_wait_time", "total_query_time")
    return {c: _sum(real, c) for c in counters}


def _sum(rows: Sequence[Row], column: str) -> float:
    return float(sum(int(r[column]) for r in rows))
