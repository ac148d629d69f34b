"""A release makes every page slow, without using more of anything that is measured."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["DeployOrConfigChange"]


@dataclass(frozen=True, slots=True)
class DeployOrConfigChange:
    """Pages wait inside the application (a lock, a slow look-up, a debug sleep) since a release."""

    wait_ms: float
    seconds_before: float
    """How long before the trouble the release is recorded."""

    expects: ClassVar[Expects] = Expects("deploy_or_config_change", "web")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """0.2 to 0.8 s a page, 0 to 8 s after the release."""
        return cls(round(dice.uniform(200.0, 800.0)), round(dice.uniform(0.0, 8.0), 1))

    @property
    def site(self) -> SiteKind:
        """Not guarded: a guard would refuse what piles up and become the story."""
        return SiteKind(guard="observes")

    @property
    def words(self) -> str:
        """What is done."""
        return (
            f"a release, recorded {self.seconds_before:g} s before, "
            f"makes pages wait {self.wait_ms:g} ms"
        )

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Record the release and slow the pages."""
        at = rig.clock() - self.seconds_before
        rig.deploys.append({"kind": "deploy", "at": at, "text": "release 2.0"})
        async with rig.turned(wait_ms=self.wait_ms):
            yield
