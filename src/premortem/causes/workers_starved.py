"""The web workers wait for pooled connections that a slow database holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import idle, pressure
from premortem.causes._traffic import made_above
from premortem.causes._verdict import fact, held, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "WorkersStarved"]


@dataclass(frozen=True, slots=True)
class WorkersStarved:
    """All pooled connections are busy in a slow database; the workers queue for them.

    Shows: the time to first byte is pegged at the pool's time-out, web CPU is *low*; requests wait
    for a pooled connection; active sessions about equal the pool's size.
    Ruled out by: no wait for the pool; an idle database behind a full pool (pool too small).
    First help: cap and shed before the pool, then help the database: its own row is the cause.
    Not this: more web servers. Each brings another pool to the same database.
    """

    wait_ms_min: float = 50.0
    """Usual pool waits are below 1 ms; 50 ms is several queries of queue."""
    wait_times_usual: float = 3.0
    """A pool with a usual queue is judged by it."""
    active_share_min: float = 0.7
    """The rest of the pool is between two statements of a request."""

    tier: ClassVar[Tier] = "pool"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "cap_pool")
    deciding: ClassVar[tuple[str, ...]] = ("pool.wait_ms", "pool.waiting")
    check: ClassVar[str] = "pool wait time with active sessions against the pool's size"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        wait = self._wait(history)
        if wait is None:
            return self._none(history)
        active, size = level(history, "db.sessions.active"), self._size(history)
        if active is None or size is None:
            because = f"{wait.note}; what the connections do is not measured."
            return verdict(self, "suspected", because, wait, check=self.check)
        doing = fact(
            history, "db.sessions.active", active, size * self.active_share_min,
            f"{num(active)} of the pool's {num(size)} connections are active",
        )  # fmt: skip
        if active < size * self.active_share_min or (idle(history) and not self._many(active)):
            because = f"{wait.note}, but {doing.note} and {pressure(history).words}."
            return verdict(self, "ruled_out", because, wait, doing, check=self.check)
        above = made_above(history)
        if above is not None:
            because = f"{wait.note}; {doing.note}; but {above.note}."
            return verdict(self, "suspected", because, wait, doing, above, check=self.check)
        because = f"{wait.note}; {doing.note}."
        return verdict(self, "confirmed", because, wait, doing, check=self.check, strength=0.5)

    def _many(self, active: float) -> bool:
        return active >= 8.0  # eight active sessions are work, whatever class they wait in

    def _size(self, history: History) -> float | None:
        size = history.value("pool.max", max_age_s=60.0)
        return size if size is not None and size > 0 else None

    def _wait(self, history: History) -> Evidence | None:
        wait = level(history, "pool.wait_ms")
        limit = max(
            self.wait_ms_min, self.wait_times_usual * (usual(history, "pool.wait_ms") or 0.0)
        )
        if wait is not None and wait >= limit:
            note = f"a request waits {num(wait)} ms for a pooled connection"
            return fact(history, "pool.wait_ms", wait, limit * 0.999, note)
        if not held(history, "pool.waiting", above=0.9):
            return None
        waiting = level(history, "pool.waiting") or 0.0
        note = f"{num(waiting)} requests wait for a pooled connection"
        return fact(history, "pool.waiting", waiting, 0.0, note)

    def _none(self, history: History) -> Verdict:
        waiting, wait = level(history, "pool.waiting"), level(history, "pool.wait_ms")
        if waiting is None or wait is None:
            return verdict(
                self, "cannot_exclude", "the pool is not measured.",
                check="does the application log time-outs of its connection pool?",
            )  # fmt: skip
        note = f"{num(waiting)} requests wait for a pooled connection, {num(wait)} ms long"
        calm = fact(history, "pool.wait_ms", wait, self.wait_ms_min, note, above=False)
        return verdict(self, "ruled_out", f"{note}.", calm, check=self.check)


FIRES = (
    Example("a pool of 20 on a full database, no guard before it", SITE, {
        "pool.max": 20, "pool.in_use": 20, "pool.waiting": (10.0, 80.0), "pool.wait_ms": 900.0,
        "db.sessions.active": 19.0, "db.wait.cpu": 18.0, "db.cpu.busy_ratio": 0.99,
        "web.in_flight": 90.0, "user.http.first_byte_ms": 1500.0, "web.requests_per_s": 120.0,
        "db.transactions_per_s": 95.0,
    }),
    Example("commits wait for a replica that is gone; the clients try again", SITE, {
        "pool.max": 5, "pool.in_use": 5, "pool.waiting": (40.0, 75.0), "pool.wait_ms": 2000.0,
        "db.sessions.active": 5.0, "db.wait.cpu": 0.0, "db.wait.other": 5.0,
        "db.cpu.busy_ratio": 0.02, "db.transactions_per_s": 2.0, "web.requests_per_s": 70.0,
        "web.repeat_ratio": 0.65, "user.http.first_byte_ms": 2000.0, "user.http.ok_ratio": 0.2,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("no pool is measured", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("retries fill the database and the pool: the clients make the load", SITE, {
        "web.requests_per_s": 95.0, "web.served_per_s": 6.0, "web.repeat_ratio": 0.66,
        "pool.in_use": 8, "pool.waiting": 30.0, "pool.wait_ms": 900.0, "db.wait.cpu": 7.5,
        "db.sessions.active": 7.8, "db.cpu.busy_ratio": 0.98, "user.http.ok_ratio": 0.1,
    }),
    Example("the pool is full and the database idle: the pool is too small", SITE, {
        "pool.max": 4, "pool.in_use": 4, "pool.waiting": 9.0, "pool.wait_ms": 300.0,
        "db.sessions.active": 0.7, "db.wait.cpu": 0.5, "user.http.first_byte_ms": 400.0,
    }),
)  # fmt: skip
