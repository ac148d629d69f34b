"""A source that tells the watch of changes somebody made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from premortem.model import Reading

__all__ = ["Deploys"]


@dataclass(slots=True)
class Deploys:
    """Reports ``{"kind": "deploy", "at": seconds, "text": what}`` rows as they are noted."""

    name: ClassVar[str] = "deploys"

    changes: Sequence[Mapping[str, object]]
    interval_s: float = 1.0
    target: str = "site"

    async def read(self, now: float) -> Reading:
        """All changes so far."""
        return Reading(self.name, self.target, now, rows=tuple(self.changes))

    async def close(self) -> None:
        """Nothing is kept open."""
