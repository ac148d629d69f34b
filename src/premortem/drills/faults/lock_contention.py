"""A batch or a migration takes a lock that pages need, and keeps it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, Self

import psycopg

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["LockContention"]

KINDS = {
    "a migration": "LOCK TABLE product IN ACCESS EXCLUSIVE MODE",
    "a stock-taking": "LOCK TABLE product IN EXCLUSIVE MODE",
    "a clean-up": "LOCK TABLE basket_line IN SHARE ROW EXCLUSIVE MODE",
    "a price update": "UPDATE product SET price_cents = price_cents + 1",
}
"""From one that every page waits for to those that only purchases wait for."""


@dataclass(frozen=True, slots=True)
class LockContention:
    """One session holds a table or its rows; it forgets to commit, or is busy with more."""

    kind: str
    busy: bool
    """Whether the holder works on (here: sleeps in a statement) or sits idle."""
    guarded: bool

    expects: ClassVar[Expects] = Expects("lock_contention", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """A kind of lock, a busy or an idle holder."""
        return cls(dice.choice(sorted(KINDS)), dice.random() < 0.5, dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """Any."""
        return SiteKind(guard="guards" if self.guarded else "observes")

    @property
    def words(self) -> str:
        """What is done."""
        return f"{self.kind} keeps its locks and {'works on' if self.busy else 'sits idle'}"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Take the lock and keep it."""
        async with rig.sessions(1, "nightly") as (holder,):
            await holder.execute(KINDS[self.kind].encode())
            work = asyncio.create_task(_sleep(holder)) if self.busy else None
            try:
                yield
            finally:
                if work is not None:
                    await holder.cancel_safe()
                    await work


async def _sleep(holder: psycopg.AsyncConnection[object]) -> None:
    with suppress(psycopg.errors.QueryCanceled):
        await holder.execute("SELECT pg_sleep(600)")
