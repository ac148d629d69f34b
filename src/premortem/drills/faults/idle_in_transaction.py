"""Transactions are left open by clients that do something else."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["IdleInTransaction"]


@dataclass(frozen=True, slots=True)
class IdleInTransaction:
    """A back office opens a few transactions at once and waits for people or for other services."""

    sessions: int
    writes: bool
    """Whether each has written a row of its own, so that it also holds an id."""

    expects: ClassVar[Expects] = Expects("idle_in_transaction", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Four to ten sessions, that have read or written."""
        return cls(dice.randint(4, 10), dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """Any."""
        return SiteKind()

    @property
    def words(self) -> str:
        """What is done."""
        did = "written" if self.writes else "read"
        return f"{self.sessions} back-office sessions have {did} in a transaction and sit in it"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Open the transactions; roll back."""
        async with rig.sessions(self.sessions, "backoffice") as opened:
            for number, session in enumerate(opened, start=1):
                if self.writes:
                    await session.execute("INSERT INTO orders (total_cents) VALUES (1)")
                else:
                    await session.execute("SELECT * FROM orders WHERE id = %s", [number])
            yield
            for session in opened:
                await session.rollback()
