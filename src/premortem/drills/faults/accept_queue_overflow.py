"""The web process no longer accepts connections."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["AcceptQueueOverflow"]


@dataclass(frozen=True, slots=True)
class AcceptQueueOverflow:
    """It is stopped, or its event loop is blocked by one call."""

    kind: str
    backlog: int

    expects: ClassVar[Expects] = Expects("accept_queue_overflow", "web")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Stopped or blocked, with a backlog of 64 to 511 connections."""
        return cls(dice.choice(("blocked", "stopped")), dice.choice((64, 128, 511)))

    @property
    def site(self) -> SiteKind:
        """Any; the backlog is what nginx, gunicorn and others use, or less."""
        return SiteKind(backlog=self.backlog)

    @property
    def words(self) -> str:
        """What is done."""
        done = "is stopped" if self.kind == "stopped" else "blocks its event loop in one call"
        return f"the web process, with a backlog of {self.backlog}, {done}"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Stop it and let it go on. A blocked loop is ended with its process's stop and go."""
        if self.kind == "blocked":
            rig.turn(block_loop_s=30.0)
            yield
            return
        for pid in rig.web.pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in rig.web.pids():
                os.kill(pid, signal.SIGCONT)
