"""PgBouncer: found, and its console, whose PAUSE has a time-out and is taken back by RESUME."""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from psycopg import pq
from psycopg.conninfo import make_conninfo

from premortem.engines.errors import EngineError
from premortem.engines.programs import Program, on_path, version_of

__all__ = ["INSTALL", "Console", "find"]

INSTALL = "apt install pgbouncer (Debian, Ubuntu), dnf install pgbouncer, brew install pgbouncer"
"""There is no wheel of it."""


def find() -> Program | None:
    """The system's PgBouncer; ``None`` when there is none."""
    path = on_path("pgbouncer")
    if path is None:
        return None
    version = version_of(path, "--version", lambda said: said.split()[1])
    warning = ""
    if version < (1, 21):
        warning = "PgBouncer before 1.21: set prepare_threshold=None in psycopg (and the like)"
    return Program(path, "system", version, warning)


@dataclass(frozen=True, slots=True)
class Console:
    """The admin console. It speaks the simple protocol only, one connection an order.

    Databases are paused one by one, never all with a bare PAUSE: of that one nothing that 1.18's
    console shows would tell, and a pause that nobody can see is a pause that nobody ends.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    databases: tuple[str, ...] = ("app",)
    """Those that are paused and resumed."""

    def pause(self, within_s: float) -> None:
        """Wait for transactions to end and hold new ones. Raises ``EngineError`` on time-out.

        After a time-out PgBouncer still waits to pause: the caller must send ``resume``.
        """
        self._each("PAUSE", within_s)

    def resume(self, within_s: float = 5.0) -> None:
        """Let clients through again; fine when they were never held."""
        self._each("RESUME", within_s)

    def _each(self, order: str, within_s: float) -> None:
        """The order for every database at once: one that takes its time delays no other."""
        with ThreadPoolExecutor(len(self.databases)) as pool:
            sent = [pool.submit(self._one, order, name, within_s) for name in self.databases]
        for each in sent:
            each.result()

    def _one(self, order: str, database: str, within_s: float) -> None:
        try:
            self._order(f"{order} {_quoted(database)}", within_s)
        except EngineError as error:
            if "is not paused" not in str(error):
                raise

    def reload(self) -> None:
        self._order("RELOAD", 5.0)

    def show(self, what: str, within_s: float = 2.0) -> list[Mapping[str, str]]:
        """``SHOW what`` as rows: ``pools``, ``databases``, ``lists``, ``state`` …"""
        result = self._order(f"SHOW {what}", within_s)
        names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
        return [
            {name: (result.get_value(row, i) or b"").decode() for i, name in enumerate(names)}
            for row in range(result.ntuples)
        ]

    def paused(self) -> bool:
        """Whether clients of any database are held now (not by a bare PAUSE: see above)."""
        return any(row.get("paused") == "1" for row in self.show("databases"))

    def _order(self, order: str, within_s: float) -> pq.abc.PGresult:
        deadline = time.monotonic() + within_s
        connection = self._connect(deadline)
        try:
            connection.send_query(order.encode())
            while connection.is_busy() or connection.flush():
                _wait(connection, deadline, read=True, what=order)
                connection.consume_input()
            result = connection.get_result()
            if result is None or result.status in (
                pq.ExecStatus.FATAL_ERROR,
                pq.ExecStatus.BAD_RESPONSE,
            ):
                words = (result.error_message if result else b"no answer").decode().strip()
                raise EngineError(f"PgBouncer refuses {order}: {words}")
            return result
        finally:
            connection.finish()

    def _connect(self, deadline: float) -> pq.abc.PGconn:
        target = make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname="pgbouncer",
            sslmode="prefer",
        )
        connection = pq.PGconn.connect_start(target.encode())
        polled = connection.connect_poll()
        while polled not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            _wait(connection, deadline, read=polled == pq.PollingStatus.READING, what="connect")
            polled = connection.connect_poll()
        if polled == pq.PollingStatus.FAILED:
            words = connection.get_error_message().strip().splitlines()
            connection.finish()
            raise EngineError(
                f"PgBouncer at {self.host}:{self.port}: {words[-1] if words else '?'}"
            )
        connection.nonblocking = 1
        return connection


def _quoted(name: str) -> str:
    """A database's name as the console reads it: ``my-shop`` is two words without quotes."""
    return '"' + name.replace('"', '""') + '"'


def _wait(connection: pq.abc.PGconn, deadline: float, *, read: bool, what: str) -> None:
    left = deadline - time.monotonic()
    sockets = [connection.socket]
    ready = select.select(sockets if read else [], [] if read else sockets, [], max(left, 0.0))
    if not any(ready):
        connection.finish()
        raise EngineError(f"PgBouncer did not answer {what} in time")
