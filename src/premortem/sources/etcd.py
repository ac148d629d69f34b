"""etcd: whether enough members of the consensus store live to decide who leads.

``GET /health`` of each member (https://etcd.io/docs/v3.4/op-guide/monitoring/); it answers
"true" only where a leader is known, so a member cut from the majority is not healthy.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from premortem.model import Metric, Reading
from premortem.sources._http import FetchError, checked, get

__all__ = ["METRICS", "UNREACHABLE", "Etcd"]

METRICS = (
    Metric("db.consensus.members", "servers", "Members of the consensus store that are asked."),
    Metric("db.consensus.healthy", "servers", "Members that answer and know a leader."),
    Metric("db.consensus.reply_ms", "ms", "The slowest healthy member's answer."),
)

UNREACHABLE = {"urls": ("http://127.0.0.1:1",)}


@dataclass(slots=True)
class Etcd:
    """Asks every member for its health."""

    name: ClassVar[str] = "etcd"

    urls: Sequence[str]
    """Every member's client address, as in ``http://10.0.0.1:2379``; one alone may be plain."""
    interval_s: float = 1.0
    timeout_s: float = 1.0
    """Twice a usual election time-out of etcd is 2 s; a healthy member answers in 5 ms."""
    target: str = field(init=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        urls = (self.urls,) if isinstance(self.urls, str) else tuple(self.urls)
        if not urls:
            raise ValueError("no member to ask: give at least one URL")
        self.target = ",".join(checked(url) for url in urls)
        self.urls = tuple(url.rstrip("/") for url in urls)

    async def read(self, now: float) -> Reading:
        """Ask all at once."""
        found = await asyncio.gather(*(self._health(url) for url in self.urls))
        replies = [ms for ms in found if isinstance(ms, float)]
        values = {
            "db.consensus.members": float(len(found)),
            "db.consensus.healthy": float(len(replies)),
        }
        if replies:
            values["db.consensus.reply_ms"] = max(replies)
        return Reading(self.name, self.target, now, values, error=_error(found))

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _health(self, url: str) -> float | str:
        """How long a healthy member took in ms; of another why it is not healthy."""
        began = time.perf_counter()
        try:
            _, body = await get(url + "/health", self.timeout_s)
            said = json.loads(body)
        except FetchError as problem:
            return str(problem)
        except ValueError:
            return "not etcd's answer"
        healthy = isinstance(said, dict) and str(said.get("health")).lower() == "true"
        return (time.perf_counter() - began) * 1000 if healthy else "it knows no leader"


def _error(found: Sequence[float | str]) -> str | None:
    """Why the store cannot decide, once a majority is not healthy."""
    bad = [why for why in found if isinstance(why, str)]
    if len(found) - len(bad) > len(found) // 2:
        return None
    return f"{len(bad)} of {len(found)} members are not healthy: {bad[0]}"
