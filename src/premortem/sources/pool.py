"""The site's pool of database connections, as the site reports it beside its guard's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.model import Metric
from premortem.sources._status import StatusSource

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
class Pool(StatusSource):
    """Reads ``pool.*`` from the same status, over the same connection, as the source ``guard``."""

    name: ClassVar[str] = "pool"
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
