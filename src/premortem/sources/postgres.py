"""A PostgreSQL server: its sessions and what they wait for, its work, and whether it lets one in.

One persistent connection, opened at the first read, answers everything; a raw-socket climb that
never authenticates shows what a newcomer meets. When the server does not answer, that is the
reading: ``error`` says how far the climb got.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import ClassVar

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from premortem.model import Metric, Reading
from premortem.sources._contract import READ_BOUND_S
from premortem.sources._pg_connection import Connection
from premortem.sources._pg_ladder import Address, Climb, climb
from premortem.sources._pg_look import Look, Looker
from premortem.sources.tcp import is_local

__all__ = ["METRICS", "UNREACHABLE", "Postgres", "address_of"]

METRICS = (
    Metric(
        "db.up", "bool", "1 the server takes newcomers or refuses them in so many words, 0 not."
    ),
    Metric("db.connections.used", "connections", "Connection slots taken, our own included."),
    Metric("db.connections.max", "connections", "Slots that ordinary roles may take."),
    Metric(
        "db.connections.refused_per_s",
        "per_s",
        "Our own knocks a second that found no slot (53300): climbs that were told so, and looks"
        " that found every slot of ordinary roles taken. Others are refused too: it is a floor.",
    ),
    Metric("db.connections.opened_per_s", "per_s", "Sessions opened; PostgreSQL 14 and later."),
    Metric("db.sessions.active", "sessions", "Sessions that run a statement."),
    Metric("db.sessions.idle", "sessions", "Sessions outside a transaction that do nothing."),
    Metric("db.sessions.idle_in_transaction", "sessions", "Sessions idle in a transaction."),
    Metric("db.sessions.oldest_transaction_s", "s", "Age of the oldest open transaction."),
    Metric("db.sessions.oldest_idle_s", "s", "How long the longest idle session has been so."),
    Metric(
        "db.sessions.oldest_idle_in_transaction_s",
        "s",
        "How long the session longest idle in a transaction has been so.",
    ),
    Metric(
        "db.wait.cpu", "sessions", "Active sessions that wait for nothing: on a core or for one."
    ),
    Metric("db.wait.io", "sessions", "Active sessions that wait for a disk."),
    Metric("db.wait.lock", "sessions", "Active sessions that wait for a lock."),
    Metric("db.wait.lwlock", "sessions", "Active sessions that wait for an internal lock."),
    Metric("db.wait.client", "sessions", "Active sessions that wait for their client."),
    Metric("db.wait.other", "sessions", "Active sessions that wait for something else."),
    Metric("db.wait.wal", "sessions", "Active sessions that wait for the write-ahead log."),
    Metric("db.cores", "cores", "Cores the server may use."),
    Metric("db.blocked_sessions", "sessions", "Sessions that wait for a lock."),
    Metric(
        "db.root_blocker.blocked_sessions",
        "sessions",
        "Waiting, directly or not, for the worst root blocker (of the longest waiting 100).",
    ),
    Metric("db.root_blocker.age_s", "s", "Age of that blocker's transaction."),
    Metric("db.transactions_per_s", "per_s", "Commits and rollbacks, our own included."),
    Metric("db.rollbacks_per_s", "per_s", "Rollbacks."),
    Metric("db.deadlocks_per_s", "per_s", "Deadlocks broken."),
    Metric("db.conflicts_per_s", "per_s", "Statements cancelled on a replica by recovery."),
    Metric("db.cache_hit_ratio", "ratio", "Blocks found in the buffer cache ÷ blocks asked for."),
    Metric("db.blocks_read_per_s", "per_s", "Blocks not found in the buffer cache."),
    Metric("db.io.read_ms", "ms", "Mean read of one block; with track_io_timing on."),
    Metric("db.rows_scanned_per_s", "per_s", "Rows read by scans: leaps when an index is gone."),
    Metric("db.temp_bytes_per_s", "bytes_per_s", "Bytes of sorts and joins spilled to disk."),
    Metric("db.connect.tcp_ms", "ms", "Climb: TCP connect."),
    Metric("db.connect.ssl_reply_ms", "ms", "Climb: the first process's reply to SSLRequest."),
    Metric("db.connect.tls_ms", "ms", "Climb: TLS handshake, where the server has TLS."),
    Metric("db.connect.startup_ms", "ms", "Climb: from startup message to the first answer."),
    Metric("db.connect_ms", "ms", "The whole climb; only when it reached the top."),
    Metric("db.statements.calls_per_s", "per_s", "Statements ended (pg_stat_statements)."),
    Metric("db.statements.mean_ms", "ms", "Mean time of a statement."),
    Metric("db.statements.top_time_share", "ratio", "The costliest statement's share of the time."),
    Metric("db.statements.top_mean_ms", "ms", "Mean time of the costliest statement."),
    Metric("db.statements.top_calls_per_s", "per_s", "Calls of the costliest statement."),
    Metric("db.checkpoints.requested_per_s", "per_s", "Checkpoints forced by the log's size."),
    Metric("db.checkpoints.timed_per_s", "per_s", "Checkpoints that were due."),
    Metric("db.wal.bytes_per_s", "bytes_per_s", "Growth of the write-ahead log."),
    Metric("db.replica.count", "replicas", "Replicas that stream from this server."),
    Metric("db.replica.lag_s", "s", "How late the slowest replica applies."),
    Metric("db.replica.lag_bytes", "bytes", "Log not yet applied by the slowest replica."),
    Metric(
        "db.replica.shipping_lag_bytes", "bytes", "Log not yet received by the slowest replica."
    ),
    Metric("db.xid.age_ratio", "ratio", "Age of the oldest frozen transaction id ÷ 2^31."),
    Metric("db.xmin.age", "transactions", "Age of the oldest snapshot that holds back vacuum."),
    Metric("db.dead_tuple_ratio", "ratio", "Dead rows ÷ all rows of the user's tables."),
)

UNREACHABLE = {"dsn": "host=127.0.0.1 port=1 user=nobody dbname=nothing"}

_PATIENCE_S = 0.3
"""Healthy looks take 2 to 20 ms; from here on the climb starts beside the look, so that both end
within the bound of a read."""
_SLACK_S = 0.1
_CROWDED = 3
"""With this few slots left the next newcomers may be refused: find out at once."""


@dataclass(slots=True)
class Postgres:
    """Watches the server of ``dsn``. The role wants ``GRANT pg_monitor`` and no more."""

    name: ClassVar[str] = "postgres"

    dsn: str = field(repr=False)
    cores: int | None = None
    """Cores the server may use; unknown, those of this machine when the server is on it."""
    interval_s: float = 1.0
    ladder_interval_s: float = 5.0
    """Between climbs in calm times: each costs the server one short-lived process."""
    ladder_trouble_interval_s: float = 1.0
    """Between climbs while newcomers are refused, unanswered, or about to be."""
    ladder_timeout_s: float = 2.0
    give_up_s: float = 15.0
    """A look that gets no reply keeps its connection this long: a drowning server is not helped by
    reconnects, and a stopped one goes on where it was."""
    target: str = field(init=False)
    address: Address = field(init=False, repr=False)
    _link: Connection = field(init=False, repr=False)
    _looker: Looker = field(init=False, repr=False)
    _climb: Climb | None = field(init=False, repr=False, default=None)
    _climbing: asyncio.Task[None] | None = field(init=False, repr=False, default=None)
    _climbed_at: float = field(init=False, repr=False, default=-1e9)
    _refused_per_s: float = field(init=False, repr=False, default=0.0)
    _crowded: bool = field(init=False, repr=False, default=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a DSN that libpq does not understand."""
        self.address = address_of(self.dsn)
        self.target = f"{self.address.host}:{self.address.port}/{self.address.database}"
        self._link = Connection(self.dsn)
        self._looker = Looker(self._link, self.give_up_s)
        if self.cores is None and _here(self.address.host):
            self.cores = os.cpu_count()

    @property
    def connections_opened(self) -> int:
        """How many connections this source has opened so far: 1 unless the server broke it."""
        return self._link.opened

    @property
    def lacks(self) -> tuple[str, ...]:
        """What could not be seen for want of a grant or an extension, with the cure."""
        return self._looker.lacks

    async def read(self, now: float) -> Reading:
        """Look through the persistent connection and, when due, climb."""
        begun = time.perf_counter()
        look = self._looker.begin(begun)
        climbing = self._begin_climb(begun) if self._climb_due(begun) else None
        await asyncio.wait({look.task}, timeout=_PATIENCE_S)
        if climbing is None and (not look.task.done() or look.broken or look.timed_out):
            climbing = self._begin_climb(begun)
        if climbing is not None:
            await climbing
        if climbing is None or self._up(look):  # else the look has no hope either
            left_s = READ_BOUND_S - _SLACK_S - (time.perf_counter() - begun)
            await asyncio.wait({look.task}, timeout=left_s)
        return self._reading(now, self._looker.end(time.perf_counter()))

    async def close(self) -> None:
        """Close the connection."""
        if self._climbing is not None:
            self._climbing.cancel()
            self._climbing = None
        await self._looker.close()

    def _begin_climb(self, begun: float) -> asyncio.Task[None]:
        self._climbing = asyncio.create_task(self._climb_once(begun))
        return self._climbing

    def _climb_due(self, at: float) -> bool:
        trouble = self._crowded or (self._climb is not None and not self._climb.serving)
        every_s = self.ladder_trouble_interval_s if trouble else self.ladder_interval_s
        return at - self._climbed_at >= every_s - _SLACK_S

    async def _climb_once(self, begun: float) -> None:
        left_s = READ_BOUND_S - 2 * _SLACK_S - (time.perf_counter() - begun)
        self._climb = await climb(self.address, min(self.ladder_timeout_s, left_s))
        at = time.perf_counter()
        elapsed_s = max(at - self._climbed_at, 1.0)
        self._refused_per_s = 1 / elapsed_s if self._climb.refused else 0.0
        self._climbed_at = at

    def _reading(self, now: float, look: Look) -> Reading:
        values = dict(look.values)
        problems = list(look.problems)
        if self._climb is not None:
            values |= self._climb.metrics()
            problems = ([self._climb.error] if self._climb.error else []) + problems
        values["db.up"] = float(self._up(look))
        if self.cores is not None:
            values["db.cores"] = float(self.cores)
        limit = values.get("db.connections.max")
        used = values.get("db.connections.used", 0.0)
        self._crowded = limit is not None and used >= limit - _CROWDED
        if limit is not None and used >= limit:
            problems.insert(0, f"53300 too many connections: {used:.0f} of {limit:.0f} slots taken")
        if any(p.startswith("53300") for p in problems):
            values["db.connections.refused_per_s"] = max(self._refused_per_s, 1 / self.interval_s)
        elif self._climb is not None:
            values["db.connections.refused_per_s"] = 0.0
        error = "; ".join(dict.fromkeys(problems)) or None
        return Reading(self.name, self.target, now, values, tuple(look.rows), error)

    def _up(self, look: Look) -> bool:
        if self._climb is None:
            return look.answered
        return self._climb.serving or self._climb.refused


def address_of(dsn: str) -> Address:
    """Where libpq would connect to, environment included; of several hosts the first.

    Raises ``ValueError`` without repeating the DSN, which may hold a password.

    >>> address_of("postgresql://ann:secret@db.example:5433/shop")
    Address(host='db.example', port=5433, user='ann', database='shop')
    """
    try:
        given = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
    except ProgrammingError:
        raise ValueError("the DSN is neither a postgresql:// URL nor key=value pairs") from None
    usual = {
        option.keyword.decode(): option.val.decode()
        for option in Conninfo.get_defaults()
        if option.val
    }
    known = usual | given
    host = known.get("hostaddr") or known.get("host") or "/var/run/postgresql"
    user = known.get("user", "postgres")
    port = known.get("port", "5432").partition(",")[0]
    if not port.isdecimal():
        raise ValueError("the DSN's port is not a number")
    return Address(host.partition(",")[0], int(port), user, known.get("dbname", user))


def _here(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return is_local(host)
    except OSError:  # a name: not looked up just to count cores
        return False
