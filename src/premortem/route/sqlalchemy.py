"""The same rule for SQLAlchemy: two engines, two context managers.

>>> from premortem.route.sqlalchemy import Router  # sqlalchemy itself is not imported here
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from premortem.route.rule import PROBE, TOKEN, UNKNOWN, Token, choose, parse_lsn, read_probe

__all__ = ["Router"]

WAIT_S = 0.1
"""As in ``premortem.route.psycopg``."""
LOOK_S = 0.005


class Router:
    """Give it the engine of ``app`` and the engine of ``app_ro``; one object a session or request.

    With psycopg behind PgBouncer before 1.21 make the engines with
    ``connect_args={"prepare_threshold": None}``.
    """

    def __init__(self, primary: Any, replicas: Any, *, wait_s: float = WAIT_S) -> None:
        self._primary, self._replicas, self._wait_s = primary, replicas, wait_s
        self.token = Token()

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A connection to the primary in a transaction; afterwards ``token`` is past its commit."""
        with self._primary.begin() as connection:
            yield connection
        self.token = self._position()

    def _position(self) -> Token:
        """The work is committed: what goes wrong now must not look like a failed write."""
        try:
            with self._primary.connect() as connection:
                row = connection.exec_driver_sql(TOKEN).fetchone()
        except self._errors():
            return UNKNOWN
        return parse_lsn(str(row[0])) if row else UNKNOWN

    @contextmanager
    def reading(self, *, stale_s_max: float = 0.0, after: Token | None = None) -> Iterator[Any]:
        """A connection that may be up to ``stale_s_max`` seconds behind, but not behind ``after``.

        ``after`` defaults to our own last write. Falls back to the primary when the replicas
        cannot be reached or may not answer; an error inside the block is the caller's.
        """
        wanted = self.token if after is None else after
        connection = self._fit(stale_s_max, wanted) if stale_s_max > 0 else None
        with connection or self._primary.connect() as chosen:
            yield chosen

    def _fit(self, stale_s_max: float, after: Token) -> Any | None:
        """A replica's connection whose open transaction sees enough, else ``None``."""
        began = time.monotonic()
        while True:
            connection = self._asked(stale_s_max, after, time.monotonic() - began)
            if connection != "wait":
                return connection
            time.sleep(LOOK_S)

    def _asked(self, stale_s_max: float, after: Token, waited_s: float) -> Any:
        connection: Any = None
        try:
            connection = self._replicas.connect()
            seen = read_probe(connection.exec_driver_sql(PROBE).fetchone())
        except self._errors() as error:
            if connection is not None:
                connection.invalidate(error)
                connection.close()
            return None
        choice = choose(
            seen, stale_s_max=stale_s_max, after=after, waited_s=waited_s, wait_s=self._wait_s
        )
        if choice == "replica":
            return connection  # its transaction goes on: the pooler keeps it at this server
        connection.close()
        return "wait" if choice == "wait" else None

    def _errors(self) -> type[Exception]:
        """Looked up only where SQLAlchemy is in use."""
        found: type[Exception] = import_module("sqlalchemy.exc").DBAPIError
        return found
