"""How a site reaches its database: a connection per request, or a pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

__all__ = ["Connection", "Database", "Mode"]

Mode = Literal["connection_per_request", "pool"]
Connection = psycopg.Connection[DictRow]

POOL_TIMEOUT_S = 30.0
"""psycopg_pool's own default: how long a request waits for a connection before it fails."""


@dataclass(slots=True)
class Database:
    """Hands a connection (autocommit, rows as dicts) to each request."""

    dsn: str
    mode: Mode
    pool: ConnectionPool[Connection] | None = None

    @classmethod
    def of(cls, dsn: str, mode: Mode, pool_size: int, *, prepare: bool = True) -> Database:
        """A pool keeps exactly ``pool_size`` connections, opened in the background.

        ``prepare=False`` for a pooler in transaction mode: there the next statement may reach a
        server that the last one was not prepared on (PgBouncer before 1.21).
        """
        if mode == "connection_per_request":
            return cls(dsn, mode)
        pool = ConnectionPool(
            dsn,
            connection_class=psycopg.Connection[DictRow],
            kwargs={"autocommit": True, "row_factory": dict_row} | _prepared(prepare),
            min_size=pool_size,
            max_size=pool_size,
            timeout=POOL_TIMEOUT_S,
            open=False,
        )
        return cls(dsn, mode, pool)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for one request. Raises ``psycopg.OperationalError`` when there is none."""
        if self.pool is not None:
            with self.pool.connection() as connection:
                yield connection
        else:
            with psycopg.connect(self.dsn, autocommit=True, row_factory=dict_row) as connection:
                yield connection

    def open(self) -> None:
        if self.pool is not None:
            self.pool.open()

    def close(self) -> None:
        if self.pool is not None:
            self.pool.close()


def _prepared(prepare: bool) -> dict[str, None]:
    """psycopg prepares what it has sent five times, unless told never to."""
    return {} if prepare else {"prepare_threshold": None}
