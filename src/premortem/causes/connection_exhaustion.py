"""No ordinary connection slot of the database is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._sessions import crept
from premortem.causes._traffic import traffic
from premortem.causes._verdict import (
    SLOW_S,
    fact,
    failed,
    growth,
    held,
    level,
    num,
    usual,
    verdict,
)
from premortem.causes._worlds import DROWNED, OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "ConnectionExhaustion"]


@dataclass(frozen=True, slots=True)
class ConnectionExhaustion:
    """All ordinary connection slots are taken: new sessions are refused with SQLSTATE 53300.

    Shows: 53300 within a millisecond while TCP and the SSL reply are normal; slots used at the
    limit. The state split says why: idle: pools too large for it; active: the database is slow
    for all that arrives; idle in transaction or idle for long: a leak.
    Ruled out by: slots used well below the limit and none refused.
    First help: shed before the pool, stop pools from growing, terminate the oldest idle sessions;
    then a pooler with fewer server connections than slots.
    Not this: a higher limit. Each further active session makes all of them slower.
    """

    used_share_min: float = 0.9
    """Nine of ten slots: at a surge's growth the rest lasts seconds."""
    used_share_low: float = 0.8
    """Below this there are slots for a restart of one more pool: nothing is exhausted."""
    idle_share_leak: float = 0.5
    """Half the slots idle in old sessions at flat traffic: they leak, exhaustion is the effect."""
    idle_old_s: float = 10.0
    """A pooled session of a busy site is used again within seconds."""

    refused_s: float = 10.0
    """A refusal older than this is of another moment; the probe ladder knocks each second or so."""
    recent_s: float = 6.0
    """Sessions that live for one request come and go: the limit is touched, not held."""
    filled_in_s: float = 15.0
    """Slots that at their present growth last less than this are not "well below the limit"."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "cap_pool", "terminate_idle")
    deciding: ClassVar[tuple[str, ...]] = ("db.connections.used", "db.connections.max")
    check: ClassVar[str] = "slots used against the limit, and errors with SQLSTATE 53300"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        used = level(history, "db.connections.used")
        most = history.value("db.connections.max", max_age_s=60.0)
        refusal = self._refusal(history)
        if refusal is None and (used is None or most is None or most <= 0):
            return verdict(
                self,
                "cannot_exclude",
                "connections used and allowed are not measured.",
                check="open one connection by hand: 53300 means no slot is free",
            )
        share = self._peak(history, used, most)
        slots = self._slots(history, used, most)
        if self._full(history, most) or (refusal is not None and share >= self.used_share_low):
            return self._exhausted(history, share, slots, refusal)
        if refusal is not None:
            return verdict(
                self, "suspected", f"{refusal.note} although {slots.note if slots else ''}.",
                refusal, slots,
                check="limits of the role or of the database (CONNECTION LIMIT), reserved slots",
            )  # fmt: skip
        if share < self.used_share_low:
            left_s = self._left_s(history, most)
            if left_s is not None:
                because = (
                    f"{slots.note if slots else ''}; they last {num(left_s)} s at this growth."
                )
                return verdict(self, "cannot_exclude", because, slots, check=self.check)
            because = f"{slots.note}, none refused." if slots else "none refused."
            return verdict(self, "ruled_out", because, slots, check=self.check)
        state: State = "suspected" if share >= self.used_share_min else "cannot_exclude"
        because = f"{slots.note}." if slots else "."
        return verdict(self, state, because, slots, check=self.check)

    def _peak(self, history: History, used: float | None, most: float | None) -> float:
        """The highest share of the slots used of late; 1 where that is not measured."""
        if used is None or not most:
            return 1.0
        lately = history.window("db.connections.used", self.recent_s).values
        return max((used, *lately)) / most

    def _left_s(self, history: History, most: float | None) -> float | None:
        """How long the slots last while they fill quickly; ``None`` while they do not."""
        series = history.window("db.connections.used", 4.5)
        before = usual(history, "db.connections.used")
        if len(series) < 3 or not most or before is None or series.values[-1] < 2 * before:
            return None
        gained = series.values[-1] - series.values[0]
        if gained <= 0:
            return None
        left_s = (most - series.values[-1]) / gained * (series.at[-1] - series.at[0])
        return left_s if left_s < self.filled_in_s else None

    def _full(self, history: History, most: float | None) -> bool:
        limit = (most or 0.0) * self.used_share_min * 0.999
        lately = history.window("db.connections.used", self.recent_s).values
        touched = limit > 0 and sum(v >= limit for v in lately) >= 3
        return touched or (
            limit > 0 and held(history, "db.connections.used", above=limit, samples=2)
        )

    def _slots(self, history: History, used: float | None, most: float | None) -> Evidence | None:
        if used is None or not most:
            return None
        note = f"{num(used)} of {num(most)} connection slots are used"
        return fact(history, "db.connections.used", used, most * self.used_share_min, note)

    def _refusal(self, history: History) -> Evidence | None:
        metric = "db.connections.refused_per_s"
        rate = history.value(metric, max_age_s=SLOW_S) or 0.0
        seen = failed(history, "postgres", "53300", self.refused_s)
        if rate <= 0 and seen == 0:
            return None
        return fact(
            history, metric, max(rate, float(seen)), 0.0, "connections are refused with 53300"
        )

    def _exhausted(
        self, history: History, share: float, slots: Evidence | None, refusal: Evidence | None
    ) -> Verdict:
        facts = [f for f in (slots, refusal) if f is not None]
        shown = "; ".join(f.note for f in facts)
        leak = self._leak(history)
        if leak is not None:
            because = f"{shown}; but {leak.note}: the slots leak."
            return verdict(self, "suspected", because, *facts, leak, check=self.check)
        why, strength = self._why(history)
        return verdict(
            self,
            "confirmed",
            f"{shown}; {why}.",
            *facts,
            check=self.check,
            strength=strength + 0.02 * min(share, 1.0),
        )

    def _leak(self, history: History) -> Evidence | None:
        """Old idle sessions that hold the slots although traffic did not rise."""
        idle = self._idle(history)
        used = level(history, "db.connections.used")
        oldest = max(
            level(history, "db.sessions.oldest_idle_s") or 0.0,
            level(history, "db.sessions.oldest_idle_in_transaction_s") or 0.0,
        )
        if used is None or idle < self.idle_share_leak * used or oldest < self.idle_old_s:
            return None
        before = usual(history, "db.connections.used")
        if before is None or used < 2 * before or traffic(history).risen:
            return None
        if not crept(history.window("db.connections.used", 60.0).values):
            return None  # they came at once: pools that are too large
        note = f"{num(idle)} sessions are idle, the oldest for {num(oldest)} s, at flat traffic"
        return fact(history, "db.sessions.idle", idle, self.idle_share_leak * used, note)

    def _idle(self, history: History) -> float:
        names = ("db.sessions.idle", "db.sessions.idle_in_transaction")
        return sum(level(history, n) or 0.0 for n in names)

    def _why(self, history: History) -> tuple[str, float]:
        """What holds the slots, and how far that makes exhaustion the cause, not an effect."""
        active, idle = level(history, "db.sessions.active") or 0.0, self._idle(history)
        waits = {
            "locks": level(history, "db.wait.lock") or 0.0,
            "I/O": level(history, "db.wait.io") or 0.0,
        }
        top = max(waits, key=lambda n: waits[n])
        if active and waits[top] >= 0.5 * active:
            return f"{num(waits[top])} of {num(active)} active sessions wait for {top}", 0.3
        if idle > active:
            return f"{num(idle)} are idle: the pools are larger than the slots", 0.85
        calls = traffic(history)
        if calls.flat or (not calls.risen and self._dearer(history)):
            return f"{num(active)} are active at flat traffic: each takes longer", 0.3
        return f"{num(active)} are active: more arrives than the database can do", 0.85

    def _dearer(self, history: History) -> bool:
        done = growth(history, "db.transactions_per_s", floor=1.0)
        return done is not None and done < 0.8


FIRES = (
    Example("the seeds: a surge, a connection for each request", OPEN_SITE, {
        **SURGE_OPEN, "db.connections.used": 97, "db.sessions.active": 95.0, "db.wait.cpu": 90.0,
    }, errors=(("http_probe", "first byte timeout after 2 s"),)),
    Example("later: the crowd has halved what the database completes", OPEN_SITE, DROWNED,
            errors=(("http_probe", "first byte timeout after 2 s"),), trouble_s=30),
    Example("ordinary slots are gone: the probe ladder gets 53300", OPEN_SITE, {
        "db.connections.refused_per_s": 0.2, "db.connections.used": 97,
        "db.sessions.active": 90.0, "db.wait.cpu": 85.0, "user.http.ok_ratio": 0.2,
    }, errors=(("postgres", "53300 too many connections"),)),
    Example("a deploy doubled the pools: the slots are full of idle sessions", SITE, {
        "db.connections.used": 99, "db.sessions.idle": 95.0, "db.sessions.oldest_idle_s": 6.0,
    }, errors=(("postgres", "53300 too many connections"),)),
)  # fmt: skip
SILENT = (
    Example("calm: 10 of 100 slots", SITE),
    Example("a guarded site in a surge: 10 of 100 slots", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("the slots leak at flat traffic", SITE, {
        "db.connections.used": (20.0, 99.0), "db.sessions.idle": (18.0, 92.0),
        "db.sessions.oldest_idle_s": (12.0, 40.0),
    }, errors=(("postgres", "53300 too many connections"),), trouble_s=20),
    Example("a large pool, three quarters of the slots, all answered", SITE, {
        "db.connections.used": 75, "db.sessions.idle": 70.0,
    }),
)  # fmt: skip
