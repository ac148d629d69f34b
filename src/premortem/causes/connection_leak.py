"""Connections are taken and not given back."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from premortem.causes._sessions import IDLE, climbs, crept, unused
from premortem.causes._traffic import traffic
from premortem.causes._verdict import fact, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "ConnectionLeak"]

_AGES = ("db.sessions.oldest_idle_s", "db.sessions.oldest_idle_in_transaction_s")


@dataclass(frozen=True, slots=True)
class ConnectionLeak:
    """One application opens or checks out connections and forgets them.

    Shows: sessions idle or idle in transaction, old, growing at flat traffic, in one application's
    hands; the site is slow, then suddenly gone when the last slot or pooled connection is.
    A leak out of a pool opens no session: there the connections handed out grow, their sessions
    sit idle, and requests wait for what never comes back.
    Ruled out by: connections used follow traffic; few idle sessions, or young ones.
    First help: terminate the oldest idle sessions, restart the application that owns them, fix
    the path that does not give back.
    Not this: pools that grew with a surge and stay grown: their number is steady.
    """

    grown_by_min: float = 5.0
    """A pool that opens a few spare connections is no leak."""
    grown_times: float = 1.5
    """Half as many again as usual, for sites with many idle sessions anyway."""
    traffic_times: float = 1.5
    """Idle sessions grow with the traffic (Little's law), give or take half."""
    unused_min: float = 3.0
    """Pooled connections handed out and unused: one or two are between two statements."""
    idle_old_s: float = 5.0
    """A pooled session of a busy site is used again within seconds."""
    full_share: float = 0.9
    """At the limit a leak cannot grow any more."""

    tier: ClassVar[Tier] = "pool"
    remedies: ClassVar[tuple[str, ...]] = ("terminate_idle", "rollback")
    deciding: ClassVar[tuple[str, ...]] = (
        "db.sessions.idle",
        "db.sessions.idle_in_transaction",
    )
    check: ClassVar[str] = "idle sessions by application and age, at flat traffic"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        now, before = self._idle(history), self._usual(history)
        if now is None or before is None:
            lacking = (
                "idle sessions are not measured" if now is None else "what is usual is unknown"
            )
            return verdict(self, "cannot_exclude", f"{lacking}.", check=self.check)
        lost = self._lost(history)
        if lost is not None:
            return self._from_pool(history, lost)
        note = f"{num(now)} sessions are idle, usually {num(before)}"
        grown = now >= max(before + self.grown_by_min, before * self.grown_times)
        facts = fact(
            history, "db.sessions.idle", now, before + self.grown_by_min, note, above=grown
        )
        if not grown:
            state: State = "ruled_out" if self._pool_is_sound(history, now) else "cannot_exclude"
            return verdict(self, state, f"{note}.", facts, check=self.check)
        return self._grown(history, facts, now / max(before, 1.0))

    def _grown(self, history: History, idle: Evidence, times: float) -> Verdict:
        calls, old = traffic(history), self._old(history)
        if calls.risen and times <= self.traffic_times * max(calls.most or 0.0, calls.peak):
            because = f"{idle.note}, but {calls.words}."
            return verdict(self, "ruled_out", because, idle, check=self.check)
        rising = self._rising(history) or self._full(history)
        if not rising or old is None:
            because = f"{idle.note}; {'none is old' if rising else 'their number is steady'}."
            return verdict(self, "cannot_exclude", because, idle, check=self.check)
        flat = "" if calls.most is None else f" at {num(calls.most)} times the usual traffic"
        return verdict(
            self,
            "suspected" if calls.most is None else "confirmed",
            f"{idle.note}, and more come{flat}; {old.note}.",
            idle,
            old,
            check=self.check,
            strength=0.9,
        )

    def _from_pool(self, history: History, lost: Evidence) -> Verdict:
        """Pooled connections are out for long and do nothing."""
        old = self._old(history)
        if old is None:
            because = f"{lost.note}, none for long."
            return verdict(self, "cannot_exclude", because, lost, check=self.check)
        because = f"{lost.note}; {old.note}."
        return verdict(self, "confirmed", because, lost, old, check=self.check, strength=0.9)

    def _pool_is_sound(self, history: History, idle: float) -> bool:
        """Whether nothing can have leaked out of a pool: it is measured, or all idle sessions have
        been used lately, or there are hardly any."""
        ages = [v for m in _AGES if (v := level(history, m)) is not None]
        young = len(ages) == len(_AGES) and max(ages) < self.idle_old_s
        return bool(unused(history, 5.0)) or young or idle < self.unused_min

    def _lost(self, history: History) -> Evidence | None:
        """Connections handed out and unused, more and more of them or all there are."""
        values = unused(history, 60.0)
        if len(values) < 4:
            return None
        now, size = median(values[-4:]), history.value("pool.max", max_age_s=60.0) or 0.0
        usually = median(values[: max(4, len(values) // 3)])
        if now < usually + self.unused_min or min(values[-3:]) < usually + 1:
            return None
        gone = now >= size * self.full_share and crept(values)
        if not gone and not climbs(values[-12:]) and not (crept(values) and climbs(values)):
            return None
        note = f"{num(now)} of {num(size)} pooled connections are out and do nothing"
        return fact(history, "pool.in_use", now, usually + self.unused_min - 0.5, note)

    def _idle(self, history: History) -> float | None:
        found = [level(history, m) for m in IDLE]
        known = [v for v in found if v is not None]
        return sum(known) if len(known) == len(IDLE) else None

    def _usual(self, history: History) -> float | None:
        known = [v for m in IDLE if (v := usual(history, m)) is not None]
        return sum(known) if known else None

    def _old(self, history: History) -> Evidence | None:
        ages = {m: level(history, m) or 0.0 for m in _AGES}
        metric = max(ages, key=lambda m: ages[m])
        if ages[metric] < self.idle_old_s:
            return None
        note = f"the oldest has not been used for {num(ages[metric])} s"
        return fact(history, metric, ages[metric], self.idle_old_s, note)

    def _rising(self, history: History) -> bool:
        """Whether either kind grows from third to third of some seconds or a minute, in steps."""
        return any(
            climbs(history.window(m, s).values) and crept(history.window(m, 60.0).values)
            for m in IDLE
            for s in (12.0, 60.0)
        )

    def _full(self, history: History) -> bool:
        """At the limit nothing grows any more: then how it came there tells."""
        used, most = level(history, "db.connections.used"), history.value("db.connections.max")
        full = bool(used and most and used >= most * self.full_share)
        return full and crept(history.window("db.connections.used", 60.0).values)


FIRES = (
    Example("an error path forgets its connection", SITE, {
        "db.sessions.idle": (12.0, 60.0), "db.connections.used": (14.0, 62.0),
        "db.sessions.oldest_idle_s": (4.0, 16.0),
    }),
    Example("the same in an open transaction, until the slots are gone", SITE, {
        "db.sessions.idle_in_transaction": (3.0, 90.0), "db.connections.used": (13.0, 99.0),
        "db.sessions.oldest_idle_in_transaction_s": (5.0, 17.0),
    }),
    Example("an error path keeps its pooled connection: the pool runs dry", SITE, {
        "pool.in_use": (1.0, 8.0), "db.sessions.active": 0.4, "pool.waiting": (0.0, 30.0),
        "db.sessions.oldest_idle_s": (3.0, 14.0), "user.http.ok_ratio": 0.5,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge: sessions are active", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("a pool grows with traffic", SITE, {
        "db.sessions.idle": (8.0, 30.0), "db.sessions.oldest_idle_s": (2.0, 12.0),
        "web.requests_per_s": (33.0, 90.0), "db.transactions_per_s": (45.0, 120.0),
    }),
    Example("a second application takes all the slots at once", SITE, {
        "db.sessions.idle": 92.0, "db.sessions.oldest_idle_s": (1.0, 13.0),
        "db.connections.used": 95,
    }),
    Example("each page keeps its connection while it renders: all are used again at once", SITE, {
        "pool.in_use": 8, "db.sessions.active": 0.4, "pool.waiting": 9.0,
        "db.sessions.oldest_idle_s": 0.4,
    }),
    Example("a second pool was added and stays", SITE, {
        "db.sessions.idle": 16.0, "db.sessions.oldest_idle_s": 3.0, "db.connections.used": 18,
    }, trouble_s=40),
)  # fmt: skip
