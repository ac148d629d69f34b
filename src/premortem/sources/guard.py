"""The web tier as its own guard sees it: requests, queue, refusals, loop lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.model import Metric
from premortem.sources._status import StatusSource

__all__ = ["METRICS", "UNREACHABLE", "Guard"]

METRICS = (
    Metric("web.requests_per_s", "per_s", "Requests that arrived."),
    Metric("web.in_flight", "requests", "Requests being worked on."),
    Metric("web.in_flight_limit", "requests", "How many may be worked on at once."),
    Metric("web.queue_length", "requests", "Requests that wait for their turn."),
    Metric("web.queue_wait_ms", "ms", "How long the admitted requests had waited."),
    Metric("web.refused_per_s", "per_s", "Requests refused politely (503 with Retry-After)."),
    Metric("web.served_per_s", "per_s", "Requests answered without an error."),
    Metric("web.errors_per_s", "per_s", "Requests that ended in an error."),
    Metric("web.loop_lag_ms", "ms", "How late the event loop runs what is due."),
    Metric("web.response_ms", "ms", "Median time of the answers of the last second."),
    Metric("web.repeat_ratio", "ratio", "Requests whose client had asked the same within 5 s."),
    Metric("web.abandoned_ratio", "ratio", "Requests whose client left before the answer."),
    Metric("web.downstream_ms", "ms", "Time of one call to another service."),
)

UNREACHABLE = {"url": "http://127.0.0.1:1/"}


@dataclass(slots=True)
class Guard(StatusSource):
    """Asks the guard of the site at ``url`` (several workers: the one that answers)."""

    name: ClassVar[str] = "guard"
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
