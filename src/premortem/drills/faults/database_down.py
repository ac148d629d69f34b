"""The database server is frozen or gone."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind
from premortem.sources._processes import tree

__all__ = ["DatabaseDown"]


@dataclass(frozen=True, slots=True)
class DatabaseDown:
    """Every process of the server is stopped, or only the first one, or the server has crashed."""

    kind: str
    guarded: bool

    expects: ClassVar[Expects] = Expects("database_down", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Frozen, deaf to newcomers, or crashed."""
        return cls(dice.choice(("crashed", "deaf", "frozen")), dice.random() < 0.5)

    @property
    def site(self) -> SiteKind:
        """A deaf server is only felt by a site that connects for each request."""
        if self.kind == "deaf":
            return SiteKind(guard="absent", load_share=0.2)
        return SiteKind(guard="guards" if self.guarded else "observes")

    @property
    def words(self) -> str:
        """What is done."""
        return {
            "crashed": "the server is ended at once, as by a crash, and does not come back",
            "deaf": "the server's first process is stopped: nobody new gets in",
            "frozen": "every process of the server is stopped, as by a hanging disk",
        }[self.kind]

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Stop it; let it go on, or start it again."""
        database = rig.stack.database
        pid = database.pid
        assert pid is not None
        if self.kind == "crashed":
            await database.stop("immediate")
            try:
                yield
            finally:
                await database.restart("fast")
            return
        pids = tree([pid], depth=1) if self.kind == "frozen" else [pid]
        try:
            _signal(pids, signal.SIGSTOP)
            yield
        finally:
            _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a session may end in between
            os.kill(pid, number)
