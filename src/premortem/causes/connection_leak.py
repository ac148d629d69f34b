"""Connections are taken and not given back."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, median_high, median_low
from typing import ClassVar

from premortem.causes._traffic import traffic
from premortem.causes._verdict import fact, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "ConnectionLeak"]

_IDLE = ("db.sessions.idle", "db.sessions.idle_in_transaction")
_AGES = ("db.sessions.oldest_idle_s", "db.sessions.oldest_idle_in_transaction_s")


@dataclass(frozen=True, slots=True)
class ConnectionLeak:
    """One application opens or checks out connections and forgets them.

    Shows: sessions idle or idle in transaction, old, growing at flat traffic, in one application's
    hands; the site is slow, then suddenly gone when the last slot or pooled connection is.
    Ruled out by: connections used follow traffic; few idle sessions, or young ones.
    First help: terminate the oldest idle sessions, restart the application that owns them, fix
    the path that does not give back.
    Not this: pools that grew with a surge and stay grown: their number is steady.
    """

    grown_by_min: float = 5.0
    """A pool that opens a few spare connections is no leak."""
    grown_times: float = 1.5
    """Half as many again as usual, for sites with many idle sessions anyway."""
    rising_by_min: float = 2.0
    """Sessions more across the last 12 s or 60 s: it still grows."""
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
        note = f"{num(now)} sessions are idle, usually {num(before)}"
        grown = now >= max(before + self.grown_by_min, before * self.grown_times)
        facts = fact(
            history, "db.sessions.idle", now, before + self.grown_by_min, note, above=grown
        )
        if not grown:
            return verdict(self, "ruled_out", f"{note}.", facts, check=self.check)
        return self._grown(history, facts)

    def _grown(self, history: History, idle: Evidence) -> Verdict:
        calls, old = traffic(history), self._old(history)
        if calls.risen:
            because = f"{idle.note}, but traffic is {num(calls.most or 0)} times the usual."
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

    def _idle(self, history: History) -> float | None:
        found = [level(history, m) for m in _IDLE]
        known = [v for v in found if v is not None]
        return sum(known) if len(known) == len(_IDLE) else None

    def _usual(self, history: History) -> float | None:
        known = [v for m in _IDLE if (v := usual(history, m)) is not None]
        return sum(known) if known else None

    def _old(self, history: History) -> Evidence | None:
        ages = {m: level(history, m) or 0.0 for m in _AGES}
        metric = max(ages, key=lambda m: ages[m])
        if ages[metric] < self.idle_old_s:
            return None
        note = f"the oldest has not been used for {num(ages[metric])} s"
        return fact(history, metric, ages[metric], self.idle_old_s, note)

    def _rising(self, history: History) -> bool:
        """Whether either kind grows from third to third of the last seconds or minute."""
        return any(self._climbs(history, m, over_s) for m in _IDLE for over_s in (12.0, 60.0))

    def _climbs(self, history: History, metric: str, over_s: float) -> bool:
        """Three rising thirds: one step, however high, makes only two levels."""
        values = history.window(metric, over_s).values
        third = len(values) // 3
        if third < 3:
            return False
        first, middle, last = values[:third], values[third:-third], values[-third:]
        rise = self.rising_by_min / 2
        return (
            median(last) >= median_high(middle) + rise
            and median_low(middle) >= median(first) + rise
        )

    def _full(self, history: History) -> bool:
        used, most = level(history, "db.connections.used"), history.value("db.connections.max")
        return bool(used and most and used >= most * self.full_share)


FIRES = (
    Example("an error path forgets its connection", SITE, {
        "db.sessions.idle": (12.0, 60.0), "db.connections.used": (14.0, 62.0),
        "db.sessions.oldest_idle_s": (4.0, 16.0),
    }),
    Example("the same in an open transaction, until the slots are gone", SITE, {
        "db.sessions.idle_in_transaction": (30.0, 90.0), "db.connections.used": (40.0, 99.0),
        "db.sessions.oldest_idle_in_transaction_s": (5.0, 17.0),
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
    Example("a second pool was added and stays", SITE, {
        "db.sessions.idle": 16.0, "db.sessions.oldest_idle_s": 3.0, "db.connections.used": 18,
    }, trouble_s=40),
)  # fmt: skip
