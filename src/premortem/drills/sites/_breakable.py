"""A site's database access that can be made to leak, to dawdle and to shrink."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio.to_thread
import psycopg
from starlette.applications import Starlette

from premortem.drills.sites.database import Connection, Database, Mode
from premortem.drills.sites.switches import Live

__all__ = ["BreakableDatabase", "breakable"]

FORGOTTEN_MAX = 500
"""More than any server of a rehearsal has slots."""
LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class BreakableDatabase(Database):
    """The site's own access, with its switches."""

    live: Live | None = None
    lost: list[Connection] = field(default_factory=list)
    """Pooled connections that an error path never gave back."""
    forgotten: list[psycopg.Connection] = field(default_factory=list)
    dice: random.Random = field(default_factory=lambda: random.Random(1))

    @classmethod
    def made(cls, dsn: str, mode: Mode, pool_size: int, live: Live) -> BreakableDatabase:
        """As ``Database.of``, with switches."""
        plain = Database.of(dsn, mode, pool_size)
        return cls(plain.dsn, plain.mode, plain.pool, live)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection for one request; lost or held as the switches say."""
        now = self.live.now if self.live else None
        if self.pool is not None and now is not None and self.dice.random() < now.lose_ratio:
            connection = self.pool.getconn()
            self.lost.append(connection)
            yield connection
            return
        with Database.connect(self) as connection:
            yield connection
            if now is not None and now.hold_ms:
                time.sleep(now.hold_ms / 1000)

    def misbehave_forever(self) -> None:
        """Exchange the pool, and open and forget sessions, as the switches say."""
        owed, pause = 0.0, threading.Event()
        size = 0
        while not pause.wait(LOOK_EVERY_S):
            assert self.live is not None
            now = self.live.now
            if now.pool_size not in (0, size):
                size = now.pool_size
                self._exchange_pool(size)
            owed = owed + now.forget_per_s * LOOK_EVERY_S if now.forget_per_s else 0.0
            while owed >= 1 and len(self.forgotten) < FORGOTTEN_MAX:
                owed -= 1
                self._forget(in_transaction=now.forget_in_transaction)
            self._remember(lost=not now.lose_ratio, forgotten=not now.forget_per_s)

    def _exchange_pool(self, size: int) -> None:
        """Go on with a pool of another size, as after a restart with another setting."""
        before, fresh = self.pool, Database.of(self.dsn, self.mode, size).pool
        if before is None or fresh is None:
            return
        fresh.open(wait=True, timeout=10)
        self.pool = fresh
        before.close(timeout=0)  # what is still handed out is closed when it comes back

    def get_stats(self) -> dict[str, int]:
        """Of the pool as it is now: what the guard reads."""
        return {} if self.pool is None else self.pool.get_stats()

    def _forget(self, *, in_transaction: bool) -> None:
        try:
            connection = psycopg.connect(self.dsn, connect_timeout=2)
            connection.autocommit = not in_transaction
            connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return  # no slot is left: the leak is complete
        self.forgotten.append(connection)

    def _remember(self, *, lost: bool, forgotten: bool) -> None:
        """Give back what was lost once the leak is mended."""
        while lost and self.lost:
            assert self.pool is not None
            self.pool.putconn(self.lost.pop())
        while forgotten and self.forgotten:
            self.forgotten.pop().close()


def breakable(app: Starlette, database: BreakableDatabase, threads: int) -> None:
    """Let ``threads`` handlers run at once, as the plain site does."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def life(scope: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        async with inner(scope):
            yield

    app.router.lifespan_context = life
