"""The pool is sized down although each request keeps its connection for a while."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["PoolTooSmall"]


@dataclass(frozen=True, slots=True)
class PoolTooSmall:
    """A site that renders its pages with the connection in hand is given one or two."""

    pool_size: int
    hold_ms: float

    expects: ClassVar[Expects] = Expects("pool_too_small", "pool")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """One or two connections, each kept so long that more are wanted at the usual traffic."""
        pool_size = dice.choice((1, 2))
        return cls(pool_size, round(pool_size * dice.uniform(60.0, 100.0)))

    @property
    def site(self) -> SiteKind:
        """The site has the habit from the start; its pool of 20 allows for it."""
        return SiteKind(guard="observes", pool_size=20, hold_ms=self.hold_ms, load_share=0.4)

    @property
    def words(self) -> str:
        """What is done."""
        held = f"each request keeps one for {self.hold_ms:g} ms beside its queries"
        return f"the pool goes from 20 connections to {self.pool_size}; {held}"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Resize it and back."""
        rig.turn(pool_size=self.pool_size)
        try:
            yield
        finally:
            rig.turn(pool_size=20)
