"""Where a request's time goes: the common frame of the causes.

R = accept + worker wait + event loop + pool wait + database connect + database {CPU, I/O, lock,
lightweight lock, client} + other services. The database's parts follow from Little's law:
sessions in a wait class divided by transactions per second are seconds a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from premortem.causes._verdict import SLOW_S, fact, level, num, once, usual
from premortem.model import TIER_DEPTH, Evidence, History, Tier

__all__ = ["Component", "components", "most_grown"]

GROWN_TIMES = 2.0
"""Below twice its usual a component is not what broke."""
GROWN_BY_MS = 20.0
"""Less than this nobody feels; it keeps a jump from 0.1 to 1 ms out."""

_TIMES: tuple[tuple[str, Tier, str], ...] = (
    ("accepting the connection", "network", "user.http.connect_ms"),
    ("waiting for a worker", "web", "web.queue_wait_ms"),
    ("the event loop", "web", "web.loop_lag_ms"),
    ("waiting for a pooled connection", "pool", "pool.wait_ms"),
    ("other services", "downstream", "web.downstream_ms"),
    ("connecting to the database", "database", "db.connect_ms"),
)
_CLASSES: tuple[tuple[str, str], ...] = (
    ("database CPU", "db.wait.cpu"),
    ("database I/O", "db.wait.io"),
    ("database locks", "db.wait.lock"),
    ("database lightweight locks", "db.wait.lwlock"),
    ("waiting for the client inside the database", "db.wait.client"),
)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a request's time now and usually, in milliseconds."""

    name: str
    tier: Tier
    metric: str
    ms: float
    usual_ms: float | None

    @property
    def grown_ms(self) -> float:
        """How much it grew; 0 while what is usual is unknown or the growth is small."""
        if self.usual_ms is None or self.ms < GROWN_TIMES * self.usual_ms:
            return 0.0
        return self.ms - self.usual_ms if self.ms - self.usual_ms >= GROWN_BY_MS else 0.0

    def evidence(self, history: History) -> Evidence:
        """The component as a fact."""
        before = "" if self.usual_ms is None else f" instead of {num(self.usual_ms)} ms"
        note = f"{self.name} takes {num(self.ms)} ms of a request{before}"
        value = level(history, self.metric, max_age_s=SLOW_S) or 0.0
        return fact(history, self.metric, value, usual(history, self.metric) or 0.0, note)


@once
def components(history: History) -> tuple[Component, ...]:
    """Every part that is measured, shallow first."""
    found = [
        Component(name, tier, metric, now, usual(history, metric))
        for name, tier, metric in _TIMES
        if (now := level(history, metric, max_age_s=SLOW_S)) is not None
    ]
    rate = level(history, "db.transactions_per_s")
    if rate is not None:
        found += _database(history, max(rate, 0.5))
    return tuple(found)


def _database(history: History, rate: float) -> list[Component]:
    before = max(usual(history, "db.transactions_per_s") or 0.0, 0.5)
    found = []
    for name, metric in _CLASSES:
        sessions, calm = level(history, metric), usual(history, metric)
        if sessions is not None:
            then = None if calm is None else calm / before * 1000
            found.append(Component(name, "database", metric, sessions / rate * 1000, then))
    return found


def most_grown(parts: Iterable[Component]) -> Component | None:
    """The component that grew most; of two that grew alike (within half) the deeper one."""
    grown = [c for c in parts if c.grown_ms > 0]
    if not grown:
        return None
    most = max(c.grown_ms for c in grown)
    return max(
        (c for c in grown if c.grown_ms >= most / 2), key=lambda c: (TIER_DEPTH[c.tier], c.grown_ms)
    )
