"""The other service, which product pages ask, becomes slow."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["DownstreamDependency"]


@dataclass(frozen=True, slots=True)
class DownstreamDependency:
    """It answers, but late."""

    delay_ms: float
    guarded: bool

    expects: ClassVar[Expects] = Expects("downstream_dependency", "downstream")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """0.3 to 5 s instead of 3 ms."""
        return cls(round(10 ** dice.uniform(2.48, 3.7)), dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """Any."""
        return SiteKind(guard="guards" if self.guarded else "observes")

    @property
    def words(self) -> str:
        """What is done."""
        return f"the delivery service answers in {self.delay_ms:g} ms instead of 3"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Delay its answers."""
        async with rig.turned(delay_ms=self.delay_ms):
            yield
