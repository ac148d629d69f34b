"""The cache is lost: every page asks the database again."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["CacheStampede"]


@dataclass(frozen=True, slots=True)
class CacheStampede:
    """The cache server is gone, in front of a database that was sized for what it let through."""

    load_share: float
    guarded: bool

    expects: ClassVar[Expects] = Expects("cache_stampede", "clients")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Traffic that without a cache would be 1.1 to 1.6 times the knee."""
        return cls(round(dice.uniform(1.1, 1.6), 2), dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """With a cache."""
        kind = "guards" if self.guarded else "observes"
        return SiteKind(guard=kind, cache=True, load_share=self.load_share)  # type: ignore[arg-type]

    @property
    def words(self) -> str:
        """What is done."""
        return (
            f"the cache is gone at a traffic of {self.load_share:g} times what the database "
            "can do without it"
        )

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """No page is found in the cache."""
        async with rig.turned(cache=False):
            yield
