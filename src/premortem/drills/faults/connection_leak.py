"""The application takes connections and forgets to give them back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["ConnectionLeak"]


@dataclass(frozen=True, slots=True)
class ConnectionLeak:
    """An error path that never returns its pooled connection, or opens its own and forgets them."""

    kind: str
    per_s: float
    """Sessions forgotten a second; of a pool's, per cent of the requests."""

    expects: ClassVar[Expects] = Expects("connection_leak", "pool")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Out of the pool, beside it, or beside it in open transactions; 2 to 6 a second."""
        kind = dice.choice(("from the pool", "beside the pool", "in open transactions"))
        return cls(kind, round(dice.uniform(2.0, 6.0), 1))

    @property
    def site(self) -> SiteKind:
        """A pool without a guard before it."""
        return SiteKind(guard="observes", pool_size=12)

    @property
    def words(self) -> str:
        """What is done."""
        if self.kind == "from the pool":
            return f"{self.per_s:g} % of the requests never give their pooled connection back"
        open_ones = ", each with a transaction open" if self.kind == "in open transactions" else ""
        return f"the site opens {self.per_s:g} sessions a second and forgets them{open_ones}"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Turn the leak on and off."""
        if self.kind == "from the pool":
            wanted: dict[str, object] = {"lose_ratio": self.per_s / 100}
        else:
            open_ones = self.kind == "in open transactions"
            wanted = {"forget_per_s": self.per_s, "forget_in_transaction": open_ones}
        async with rig.turned(**wanted):
            yield
