"""The database hardly answers for a reason of its own; the site's workers queue for its pool."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["WorkersStarved"]

BREAK, MEND = (
    "ALTER SYSTEM SET synchronous_standby_names = 'gone'",
    "ALTER SYSTEM RESET synchronous_standby_names",
)
"""Neither CPU nor a lock nor the disk, and no statement is slow: its commit is. No cause inside a
single database explains it (``no_sync_standby`` does where Patroni tells of the cluster), so what
starves above is what can be named."""


@dataclass(frozen=True, slots=True)
class WorkersStarved:
    """Commits wait for a synchronous replica that is gone; each keeps a pooled connection."""

    pool_size: int
    load_share: float

    expects: ClassVar[Expects] = Expects("workers_starved", "pool")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """A pool of 4 to 10, at 0.3 to 0.5 of the knee."""
        return cls(dice.randint(4, 10), round(dice.uniform(0.3, 0.5), 2))

    @property
    def site(self) -> SiteKind:
        """No guard holds the requests back before the pool."""
        return SiteKind(guard="observes", pool_size=self.pool_size, load_share=self.load_share)

    @property
    def words(self) -> str:
        """What is done."""
        return (
            "commits wait for a synchronous replica that is gone, "
            f"behind a pool of {self.pool_size}"
        )

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Make the stall; end it."""
        await rig.run(BREAK, "SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await rig.run(MEND, "SELECT pg_reload_conf()")
