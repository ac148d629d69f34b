"""A client that writes all the time and remembers what was acknowledged, and one that tries all.

The users of a drill place an order each second or so: too coarse for a gap of a second. So beside
them one client inserts a numbered row each 20 ms through the same door. A witness tries to write
straight to every server: it sees whether two of them ever take rows at once.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

__all__ = ["Gap", "Witness", "Writer", "longest_gap", "overlaps", "prepare"]

PAUSE_S = 0.02
"""A gap is known to within this; 50 inserts a second are 2 % of what the servers can do."""
RETRY_S = 0.02
TRY_S = 0.1
ERRORS_MAX = 1000

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest silence between two acknowledged writes, in epoch seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def longest_gap(at: Sequence[float], since: float, until: float) -> Gap:
    """The longest silence that ended after ``since``; without a write it lasts until ``until``.

    >>> longest_gap([1.0, 1.5, 4.0, 4.2], since=1.2, until=4.3)
    Gap(start=1.5, end=4.0)
    >>> longest_gap([1.0], since=1.2, until=4.0)
    Gap(start=1.0, end=4.0)
    """
    last = max((a for a in at if a <= since), default=since)
    seen = [last, *(a for a in at if since < a <= until), until]
    return max((Gap(a, b) for a, b in itertools.pairwise(seen)), key=lambda gap: gap.seconds)


def overlaps(took: Mapping[str, Sequence[float]]) -> int:
    """How many rows a server took after another one had begun to take rows.

    >>> overlaps({"a": [1.0, 2.0], "b": [3.0, 4.0]}), overlaps({"a": [1.0, 3.5], "b": [3.0]})
    (0, 1)
    """
    begun = sorted((rows[0], name) for name, rows in took.items() if rows)
    return sum(
        at > start
        for n, (start, _) in enumerate(begun)
        for _, earlier in begun[:n]
        for at in took[earlier]
    )


async def prepare(dsn: str) -> None:
    """Make the two tables."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS drill_writes (id bigint PRIMARY KEY)")
        await connection.execute("CREATE TABLE IF NOT EXISTS drill_witness (at float8)")


@dataclass(slots=True)
class Writer:
    """Inserts numbered rows for as long as the block lasts."""

    dsn: str
    clock: Clock
    acknowledged: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    errors: list[tuple[float, str]] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._write())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _write(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self.dsn, autocommit=True, prepare_threshold=None, connect_timeout=10
                ) as connection:
                    await self._insert(connection)
            except psycopg.Error as error:
                if len(self.errors) < ERRORS_MAX:
                    self.errors.append((self.clock(), str(error).strip()))
                await asyncio.sleep(RETRY_S)

    async def _insert(self, connection: psycopg.AsyncConnection) -> None:
        while True:
            number = next(self._ids)
            await connection.execute("INSERT INTO drill_writes (id) VALUES (%s)", (number,))
            self.acknowledged.append(number)
            self.at.append(self.clock())
            await asyncio.sleep(PAUSE_S)

    async def lost(self, dsn: str) -> int:
        """Acknowledged rows that the primary at ``dsn`` does not hold."""
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            rows = await (await connection.execute("SELECT id FROM drill_writes")).fetchall()
        return len(set(self.acknowledged) - {row[0] for row in rows})


@dataclass(slots=True)
class Witness:
    """Writes straight to every server, by name; remembers when each took a row."""

    dsns: Mapping[str, str]
    clock: Clock
    took: dict[str, list[float]] = field(default_factory=dict)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self.took = {name: [] for name in self.dsns}
        tasks = [asyncio.create_task(self._try(name)) for name in self.dsns]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, name: str) -> None:
        while True:
            if await asyncio.to_thread(_one_row, self.dsns[name]):
                self.took[name].append(self.clock())
            await asyncio.sleep(TRY_S)


def _one_row(dsn: str, within_s: float = 1.0) -> bool:
    """One row or none. A server that waits for a replica is left by closing the socket: to cancel
    would make it acknowledge what no replica has."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=2) as connection:
            connection.pgconn.send_query(b"INSERT INTO drill_witness VALUES (0) RETURNING 1")
            deadline = time.monotonic() + within_s
            while connection.pgconn.is_busy():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.005)
                connection.pgconn.consume_input()
            result = connection.pgconn.get_result()
            return result is not None and result.ntuples == 1
    except psycopg.Error:
        return False
