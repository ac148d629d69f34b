"""A page costs the web process far more processor time than it did."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["WebCpu"]


@dataclass(frozen=True, slots=True)
class WebCpu:
    """Every request burns processor time in the web process: more than it has at this traffic."""

    cores_asked: float
    """What the burnt time of all requests adds up to, in cores; the web process has one."""
    guarded: bool

    expects: ClassVar[Expects] = Expects("web_cpu", "web")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """1.2 to 3 cores' worth of work for one."""
        return cls(round(dice.uniform(1.2, 3.0), 1), dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """The users must not share the web process's core, or they starve it."""
        return SiteKind(guard="guards" if self.guarded else "observes", alone="site")

    @property
    def words(self) -> str:
        """What is done."""
        return f"pages burn {self.cores_asked:g} cores of the one the web process has"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Burn in each request."""
        requests_per_s = 1.9 * self.site.load_share * rig.knee_users_per_s
        async with rig.turned(burn_ms=1000 * self.cores_asked / requests_per_s):
            yield
