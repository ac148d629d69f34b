"""The replica falls behind."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

import psycopg

from premortem.drills.faults._churn import churning
from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["ReplicaLag"]


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """Replay stands still (as behind a conflicting query) while the primary writes on."""

    kb_per_s: int
    """Log that a batch writes on the primary, beside the site, in calm times too."""

    expects: ClassVar[Expects] = Expects("replica_lag", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """A batch of 0.2 to 0.8 MB/s."""
        return cls(dice.randint(200, 800))

    @property
    def site(self) -> SiteKind:
        """With a replica."""
        return SiteKind(replica=True)

    @property
    def words(self) -> str:
        """What is done."""
        return f"replay is paused on the replica while {self.kb_per_s} kB/s are written"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Pause and resume replay."""
        assert rig.replica_dsn is not None
        async with (
            churning(rig, self.kb_per_s),
            await psycopg.AsyncConnection.connect(rig.replica_dsn, autocommit=True) as replica,
        ):
            await replica.execute("SELECT pg_wal_replay_pause()")
            try:
                yield
            finally:
                await replica.execute("SELECT pg_wal_replay_resume()")
