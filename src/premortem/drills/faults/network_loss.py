"""The path between users and site loses or delays packets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["NetworkLoss"]


@dataclass(frozen=True, slots=True)
class NetworkLoss:
    """Packets of the users (and of the watch) are lost or late, each way, on all ports."""

    loss_ratio: float
    delay_ms: float

    expects: ClassVar[Expects] = Expects("network_loss", "network")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """5 to 25 % of the packets lost, or all delayed by 150 to 400 ms each way."""
        if dice.random() < 0.7:
            return cls(round(dice.uniform(0.05, 0.25), 3), 0.0)
        return cls(0.0, round(dice.uniform(150.0, 400.0)))

    @property
    def site(self) -> SiteKind:
        """Reached over a path of its own. Its database listens on that path as well."""
        return SiteKind(lossy_path=True, settings={"listen_addresses": "0.0.0.0"})

    @property
    def words(self) -> str:
        """What is done."""
        if self.loss_ratio:
            return f"{self.loss_ratio:.1%} of the packets are lost, each way"
        return f"every packet takes {self.delay_ms:g} ms longer, each way"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Spoil the path and mend it."""
        assert rig.path is not None
        rig.path.set(loss_ratio=self.loss_ratio, delay_ms=self.delay_ms)
        try:
            yield
        finally:
            rig.path.set()
