"""The application's pool is the narrowest place; the database behind it has room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import idle, pressure
from premortem.causes._verdict import fact, held, level, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "PoolTooSmall"]


@dataclass(frozen=True, slots=True)
class PoolTooSmall:
    """Every pooled connection is checked out, requests wait, and the database idles.

    Shows: checked-out connections flat at the pool's size, requests waiting for one, active
    sessions far fewer than the pool holds, CPU of the database low.
    Ruled out by: nobody waits for the pool; or an active, busy database (then it is slow, and a
    larger pool makes it slower); or connections that sit unused for long (then they leak).
    First help: a larger pool, by as much as the database has room; hold connections shorter.
    Not this: a full pool in front of a full database.
    """

    idle_old_s: float = 3.0
    """While requests wait, a connection that is given back is used at once: one that has not been
    for 3 s is kept by somebody, or lost."""
    active_share_max: float = 0.5
    """Fewer than half of the checked-out connections work in the database at any time."""

    web_busy_full: float = 0.9
    """A web process that computes all the time keeps its connections, however many, for longer."""

    tier: ClassVar[Tier] = "pool"
    remedies: ClassVar[tuple[str, ...]] = ("shed",)
    deciding: ClassVar[tuple[str, ...]] = (
        "pool.waiting",
        "pool.in_use",
        "pool.max",
        "db.wait.cpu",
    )
    check: ClassVar[str] = "connections checked out against the pool's size and active sessions"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        waiting, used = level(history, "pool.waiting"), level(history, "pool.in_use")
        size = history.value("pool.max", max_age_s=60.0)
        if waiting is None or used is None or size is None or size <= 0:
            return verdict(
                self, "cannot_exclude", "the pool is not measured.",
                check="does the application log time-outs of its connection pool?",
            )  # fmt: skip
        note = (
            f"{num(used)} of {num(size)} pooled connections are out, {num(waiting)} requests wait"
        )
        full = held(history, "pool.waiting", above=0.0) and used >= size * 0.95
        pool = fact(history, "pool.in_use", used, size * 0.949, note, above=full)
        if not full:
            return verdict(self, "ruled_out", f"{note}.", pool, check=self.check)
        return self._full(history, pool, size)

    def _full(self, history: History, pool: Evidence, size: float) -> Verdict:
        room, load = idle(history), pressure(history)
        active = level(history, "db.sessions.active")
        if room is None:
            because = f"{pool.note}; what the database does is not measured."
            return verdict(self, "cannot_exclude", because, pool, check=self.check)
        if not room and (load.saturated or (active or 0.0) > size * self.active_share_max):
            because = f"{pool.note}, but the database is busy: {load.words}."
            return verdict(self, "ruled_out", because, pool, load.evidence, check=self.check)
        if held(history, "web.cpu.busy_ratio", above=self.web_busy_full):
            because = f"{pool.note}, but the web processes have no CPU to give them back."
            return verdict(self, "suspected", because, pool, check=self.check)
        lost = level(history, "db.sessions.oldest_idle_s") or 0.0
        if lost >= self.idle_old_s and (active or 0.0) < 1.0:
            because = f"{pool.note}, but one sits unused for {num(lost)} s: kept, or leaked."
            return verdict(self, "suspected", because, pool, check=self.check)
        return verdict(
            self, "confirmed" if room else "suspected", f"{pool.note} while {load.words}.",
            pool, load.evidence, check=self.check, strength=0.8,
        )  # fmt: skip


FIRES = (
    Example("a pool of 2 for a site that calls another service inside its transaction", SITE, {
        "pool.max": 2, "pool.in_use": 2, "pool.waiting": 12.0, "pool.wait_ms": 400.0,
        "db.sessions.active": 0.5, "db.wait.cpu": 0.4, "user.http.first_byte_ms": 500.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("no pool is measured", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site: the pool is full, nobody waits", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("the pool is full because the database is", SITE, {
        **SURGE_PROTECTED, "pool.waiting": 20.0, "pool.wait_ms": 300.0,
    }),
    Example("the pool is full because the web processes have no CPU left", SITE, {
        "pool.max": 10, "pool.in_use": 10, "pool.waiting": 12.0, "pool.wait_ms": 800.0,
        "web.cpu.busy_ratio": 0.95, "db.sessions.active": 0.5, "db.wait.cpu": 0.1,
        "user.http.first_byte_ms": 2000.0,
    }),
)  # fmt: skip
