"""A short stall makes the clients try again, and their tries keep the site down."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["RetryStorm"]


@dataclass(frozen=True, slots=True)
class RetryStorm:
    """A trigger of a few seconds; from then on the load is the clients' own."""

    stall_s: float
    retries: int

    expects: ClassVar[Expects] = Expects("retry_storm", "clients")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """A stall of 2 to 4 s; clients that try 5 to 8 times more."""
        return cls(round(dice.uniform(2.0, 4.0), 1), dice.randint(5, 8))

    @property
    def site(self) -> SiteKind:
        """No guard: it would shed the storm. Near its knee, as sites are that meet one."""
        return SiteKind(guard="observes", load_share=0.6, retries=self.retries)

    @property
    def words(self) -> str:
        """What is done."""
        return (
            f"the web process stalls for {self.stall_s:g} s under clients "
            f"that try {self.retries} times more"
        )

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Stall the site; what follows is the clients' doing."""
        for pid in rig.web.pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.stall_s)
        finally:
            for pid in rig.web.pids():
                os.kill(pid, signal.SIGCONT)
        yield
