"""A bulk import forces checkpoint after checkpoint, and every commit waits for the log."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

import psycopg

from premortem.drills.faults._fault import Expects, Rig, SiteKind, ended

__all__ = ["CheckpointWal"]

IMPORT = (
    "INSERT INTO import SELECT n, repeat(md5(n::text), {width}) FROM generate_series(1, 400) AS n"
)


@dataclass(frozen=True, slots=True)
class CheckpointWal:
    """Several sessions import rows and commit often, with a small max_wal_size."""

    writers: int
    width: int
    """Of a row, in 32 bytes."""

    expects: ClassVar[Expects] = Expects("checkpoint_wal", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Three to eight writers, rows of 1 to 6 kB."""
        return cls(dice.randint(3, 8), dice.randint(30, 200))

    @property
    def site(self) -> SiteKind:
        """The smallest log the server allows for twice its segments."""
        return SiteKind(settings={"max_wal_size": "32MB", "min_wal_size": "32MB"})

    @property
    def words(self) -> str:
        """What is done."""
        return (
            f"{self.writers} sessions import rows of {self.width * 32 / 1000:.1f} kB in small "
            "transactions, with a max_wal_size of 32 MB"
        )

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Import; drop what was imported."""
        await rig.run("CREATE TABLE IF NOT EXISTS import (n int, body text)",
                      "ALTER TABLE import ALTER body SET STORAGE PLAIN",
                      "GRANT ALL ON import TO site")  # fmt: skip
        async with rig.sessions(self.writers, "import", autocommit=True) as writers:
            work = [asyncio.create_task(self._import(w)) for w in writers]
            try:
                yield
            finally:
                await ended(work)
        await rig.run("DROP TABLE IF EXISTS import")

    async def _import(self, writer: psycopg.AsyncConnection[object]) -> None:
        while True:
            await writer.execute(IMPORT.format(width=self.width).encode())
