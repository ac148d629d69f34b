"""No ordinary connection slot is left."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import psycopg

from premortem.drills.clients import poisson
from premortem.drills.faults._fault import Expects, Rig, SiteKind, open_session

__all__ = ["ConnectionExhaustion"]

SESSIONS_MAX = 110
"""More than the server has slots."""


@dataclass(frozen=True, slots=True)
class ConnectionExhaustion:
    """Another application's pools take the slots, or a surge does through an unprotected site."""

    kind: str
    times: float
    """The surge, as a multiple of the knee."""

    expects: ClassVar[Expects] = Expects("connection_exhaustion", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Idle pools of a deploy, or a surge of 2.5 to 4 times the knee."""
        return cls(dice.choice(("pools", "surge")), round(dice.uniform(2.5, 4.0), 1))

    @property
    def site(self) -> SiteKind:
        """A surge needs a site that connects for each request, and a server with as few slots as
        the smallest ones that are rented out (40): one web process must be able to take them."""
        if self.kind == "surge":
            return SiteKind(guard="absent", load_share=0.2, settings={"max_connections": "40"})
        return SiteKind(guard="observes")

    @property
    def words(self) -> str:
        """What is done."""
        if self.kind == "surge":
            return f"{self.times:g} times the knee arrives at a site without a pool"
        return "a second application starts with pools larger than the slots that are left"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Take the slots; give them back."""
        if self.kind == "surge":
            peak = self.times * rig.knee_users_per_s
            await rig.users([poisson(3, peak / 3, peak), poisson(60, peak)])
            yield
            return
        async with AsyncExitStack() as opened:
            for _ in range(SESSIONS_MAX):
                session = await open_session(rig.stack.database.site_dsn, "reports", True)
                if session is None:
                    break
                opened.push_async_callback(_end, session)
            yield


async def _end(session: psycopg.AsyncConnection[Any]) -> None:
    await session.close()
