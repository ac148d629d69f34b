"""Transactions stay open while their client does something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._sessions import climbs
from premortem.causes._users import hurt
from premortem.causes._verdict import SLOW_S, fact, growth, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "IdleInTransaction"]


@dataclass(frozen=True, slots=True)
class IdleInTransaction:
    """Sessions sit between two statements of an open transaction.

    Shows: sessions that wait for their client with an old transaction start; the oldest snapshot
    ages; slow, then sudden, when their locks or their slots are needed.
    Ruled out by: no session idle in a transaction for more than a moment.
    First help: terminate the oldest; then idle_in_transaction_session_timeout.
    Not this: short pauses between the statements of a request.
    """

    age_s_min: float = 5.0
    """A request's transaction pauses for milliseconds; for 5 s its client has gone elsewhere."""
    age_s_long: float = 10.0
    """Ten seconds of an open snapshot are thousands of transactions on a busy site."""
    age_s_low: float = 2.0
    """A request with a slow outbound call in its transaction stays below two seconds."""
    several_min: float = 3.0
    """Three at once are a habit of the code, not one open console."""
    xmin_times_usual: float = 5.0
    """Five times the usual age: the snapshot stands still while work goes on."""
    xmin_age_min: float = 1000.0
    """Transactions the oldest snapshot is behind, before vacuum is held back noticeably."""
    leak_share: float = 0.3
    """Beyond 30 % of the slots they are a leak of connections first."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("terminate_idle",)
    deciding: ClassVar[tuple[str, ...]] = ("db.sessions.oldest_idle_in_transaction_s",)
    check: ClassVar[str] = "sessions idle in transaction with their transaction's age and owner"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        metric = "db.sessions.oldest_idle_in_transaction_s"
        age = level(history, metric)
        if age is None:
            return verdict(
                self, "cannot_exclude", "the age of idle transactions is not measured.",
                check="select the sessions in state 'idle in transaction' with xact_start",
            )  # fmt: skip
        note = f"the oldest idle transaction is {num(age)} s old"
        old = fact(history, metric, age, self.age_s_min, note, above=age >= self.age_s_min)
        if age < self.age_s_min:
            state: State = "ruled_out" if age < self.age_s_low else "cannot_exclude"
            return verdict(self, state, f"{note}.", old, check=self.check)
        return self._old(history, age, old)

    def _old(self, history: History, age: float, old: Evidence) -> Verdict:
        many, snapshot, felt = self._several(history), self._snapshot(history), hurt(history)
        leak = self._leak(history)
        if leak:
            because = f"{old.note}; so many, or ever more, are a leak of connections."
            return verdict(self, "suspected", because, old, many, check=self.check)
        sure = many is not None or (
            age >= self.age_s_long and (snapshot is not None or felt is not None)
        )
        shown = [e for e in (old, many, snapshot) if e is not None]
        return verdict(
            self,
            "confirmed" if sure else "suspected",
            f"{'; '.join(e.note for e in shown)}.",
            *shown,
            felt,
            check=self.check,
            strength=0.55,
        )

    def _several(self, history: History) -> Evidence | None:
        metric = "db.sessions.idle_in_transaction"
        now = level(history, metric)
        if now is None or now < max(self.several_min, 2 * (usual(history, metric) or 0.0)):
            return None
        note = f"{num(now)} sessions are idle in a transaction"
        return fact(history, metric, now, self.several_min * 0.9, note)

    def _snapshot(self, history: History) -> Evidence | None:
        metric = "db.xmin.age"
        now = level(history, metric, max_age_s=SLOW_S)
        times = growth(history, metric, floor=50.0, max_age_s=SLOW_S)
        if now is None or times is None or times < self.xmin_times_usual or now < self.xmin_age_min:
            return None
        note = f"the oldest snapshot is {num(now)} transactions old"
        return fact(history, metric, now, now / times * 2, note)

    def _leak(self, history: History) -> bool:
        """So many that the slots are the trouble, or more and more of them."""
        metric = "db.sessions.idle_in_transaction"
        many = level(history, metric) or 0.0
        if many >= self.several_min and climbs(history.window(metric, 12.0).values):
            return True
        most = history.value("db.connections.max", max_age_s=60.0) or 100.0
        return many >= most * self.leak_share


FIRES = (
    Example("a handler calls a payment service inside its transaction", SITE, {
        "db.sessions.idle_in_transaction": 5.0, "db.wait.client": 5.0,
        "db.sessions.oldest_idle_in_transaction_s": (3.0, 15.0), "pool.in_use": 6.0,
        "db.xmin.age": (200.0, 1500.0),
    }),
    Example("one forgotten console holds the oldest snapshot", SITE, {
        "db.sessions.idle_in_transaction": 1.2, "db.xmin.age": 40_000.0,
        "db.sessions.oldest_idle_in_transaction_s": (600.0, 612.0),
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("a console open for seven seconds, nothing feels it", SITE, {
        "db.sessions.idle_in_transaction": 1.2,
        "db.sessions.oldest_idle_in_transaction_s": 7.0,
    }),
    Example("connections leak in open transactions", SITE, {
        "db.sessions.idle_in_transaction": (40.0, 90.0), "db.connections.used": (50.0, 99.0),
        "db.sessions.oldest_idle_in_transaction_s": (5.0, 17.0),
    }),
)  # fmt: skip
