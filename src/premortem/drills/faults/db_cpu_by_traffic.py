"""More users arrive than the database's cores can serve."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.clients import poisson
from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["DbCpuByTraffic"]


@dataclass(frozen=True, slots=True)
class DbCpuByTraffic:
    """A surge of users, within seconds."""

    times: float
    """Users at the peak, as a multiple of the knee."""
    ramp_s: float

    expects: ClassVar[Expects] = Expects("db_cpu_by_traffic", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """1.5 to 4 times the knee, reached in 2 to 8 s."""
        return cls(round(dice.uniform(1.5, 4.0), 1), round(dice.uniform(2.0, 8.0), 1))

    @property
    def site(self) -> SiteKind:
        """Guarded: without, the slots are gone before the CPU is looked at."""
        return SiteKind()

    @property
    def words(self) -> str:
        """What is done."""
        return f"users rise to {self.times:g} times the knee within {self.ramp_s:g} s"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Send more users, until the case ends."""
        peak = self.times * rig.knee_users_per_s
        await rig.users([poisson(self.ramp_s, peak / 10, peak), poisson(60, peak)])
        yield
