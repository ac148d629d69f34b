"""What the guard sees: requests from arrival to end, the pool, the loop. Pure: told the time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal

from premortem.guard.limit import WINDOW_S, Window
from premortem.guard.pools import PoolReader
from premortem.guard.queue import Entry
from premortem.guard.tally import Repeats, Tally

__all__ = ["Observer", "Outcome"]

Outcome = Literal["served", "errors", "refused", "abandoned"]
"""Every request ends in one: answered below 500; answered with 5xx, cut short or not at all;
turned away; or its client had gone before the answer."""


class Observer:
    """Keeps the last second for the status and the last window for the limit."""

    def __init__(self, pool: Any = None) -> None:
        self._pool = None if pool is None else PoolReader(pool)
        self._pool_of_window = None if pool is None else PoolReader(pool, WINDOW_S)
        self._pool_values: Mapping[str, float] = {}
        self._window = Window()
        self._tally = Tally()
        self._repeats = Repeats()
        self._unanswered: dict[Entry, None] = {}  # in order of admission
        self._outgoing: dict[object, float] = {}  # in order of their beginning

    # -- a request's life

    def asked(self, what: Hashable, now: float) -> None:
        """A request arrived; ``what`` names its client and all that it asks for."""
        bucket = self._tally.at(now)
        bucket.requests += 1
        bucket.repeats += self._repeats.seen(what, now)

    def entered(self, entry: Entry, in_flight: int) -> None:
        """An admitted request is handed to the application."""
        self._unanswered[entry] = None
        self._window.in_flight_max = max(self._window.in_flight_max, in_flight)

    def answered(self, entry: Entry, now: float, slow_ms: float) -> None:
        """The response to an admitted request begins."""
        if self._unanswered.pop(entry, self) is None:
            self._window.answers += 1
            self._window.slow += 1000 * (now - entry.decided_s) > slow_ms

    def ended(self, entry: Entry, outcome: Outcome, now: float) -> None:
        """All is over with a request."""
        self._unanswered.pop(entry, None)
        self._tally.waited(now, entry.decided_s - entry.arrived_s)
        bucket = self._tally.at(now)
        setattr(bucket, outcome, getattr(bucket, outcome) + 1)
        if outcome == "served":
            self._tally.responded(now, now - entry.arrived_s)

    # -- the rest of the world

    def lagged(self, lag_s: float, now: float) -> None:
        """A timer of the event loop was late by ``lag_s``."""
        bucket = self._tally.at(now)
        bucket.lag_max_s = max(bucket.lag_max_s, lag_s)

    def look_at_pool(self, now: float) -> None:
        """Read the pool for the status."""
        if self._pool is not None:
            self._pool_values = self._pool.read(now)

    def called(self, ticket: object, now: float) -> None:
        """A call to another service begins."""
        self._outgoing[ticket] = now

    def returned(self, ticket: object, now: float) -> None:
        """A call to another service is over."""
        self._tally.downstream(now, now - self._outgoing.pop(ticket))

    # -- what comes of it

    def close_window(self, now: float, slow_ms: float, in_flight: int) -> Window:
        """What was seen since the last call; requests that hang count as slow answers."""
        window, self._window = self._window, Window(in_flight_max=in_flight)
        for entry in self._unanswered:
            if 1000 * (now - entry.decided_s) <= slow_ms:
                break
            window.answers += 1
            window.slow += 1
        if self._pool_of_window is not None:
            window.pool_wait_ms = self._pool_of_window.read(now).get("pool.wait_ms", 0.0)
        return window

    def values(self, now: float) -> dict[str, float]:
        """Metrics of the last second. When nothing was answered, the response time is the age of
        the oldest request in flight; a call to another service counts while it still runs."""
        values = {**self._tally.values(now), **self._pool_values}
        oldest = next(iter(self._unanswered), None)
        if oldest is not None and "web.response_ms" not in values:
            values["web.response_ms"] = 1000 * (now - oldest.arrived_s)
        if self._outgoing:
            slowest_ms = 1000 * (now - next(iter(self._outgoing.values())))
            values["web.downstream_ms"] = max(values.get("web.downstream_ms", 0.0), slowest_ms)
        return values
