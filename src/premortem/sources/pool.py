"""The site's pool of database connections, as the site reports it beside its guard's status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from premortem.model import Metric, Reading
from premortem.sources._status import StatusClient, client, status_reading

__all__ = ["METRICS", "UNREACHABLE", "Pool"]

METRICS = (
    Metric("pool.in_use", "connections", "Connections handed out to requests."),
    Metric("pool.size", "connections", "Connections open, handed out or not."),
    Metric("pool.max", "connections", "How many the pool may open."),
    Metric("pool.waiting", "requests", "Requests that wait for a connection."),
    Metric("pool.wait_ms", "ms", "How long requests waited for a connection."),
)

UNREACHABLE = {"url": "http://127.0.0.1:1/"}


@dataclass(slots=True)
class Pool:
    """Reads ``pool.*`` from the same status, over the same connection, as the source ``guard``."""

    name: ClassVar[str] = "pool"

    url: str
    token: str = field(default="", repr=False)
    """Needed when the guard is not asked over loopback."""
    interval_s: float = 1.0
    target: str = field(init=False)
    _client: StatusClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        self._client = client(self.url, self.token)
        self.target = urlsplit(self.url).netloc.rpartition("@")[2]

    async def read(self, now: float) -> Reading:
        """One status, bounded by 1 s; shared with ``guard`` when both read at the same instant."""
        return await status_reading(self.name, self.target, now, self._client, METRICS)

    async def close(self) -> None:
        """Drop the kept connection."""
        await self._client.close()
