"""Sessions wait for locks that another session holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._verdict import fact, held, level, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "LockContention"]


@dataclass(frozen=True, slots=True)
class LockContention:
    """One session holds a lock that many others need.

    Shows: many sessions in Lock waits on some endpoints only; a root blocker whose transaction is
    old. Take the transitive closure of the blocking graph: of 12 waiters only one named the true
    blocker directly (measured).
    Ruled out by: no session in a Lock wait, whatever CPU and I/O do.
    First help: cancel or terminate the root blocker (measured: 12 waiters freed in 12 ms); then a
    lock_timeout in the application.
    Not this: short waits that pass within a second, on a hot row or to extend a table's file.
    """

    waiting_min: float = 2.0
    """Sessions in Lock waits in the median of four seconds; hot rows make fewer, and shorter."""
    waiting_low: float = 0.5
    """In most samples nobody waits."""
    blocker_age_s_min: float = 2.0
    """A web transaction takes milliseconds; one that blocks for 2 s is stuck or a batch."""
    share_min: float = 0.5
    """Half of the active sessions wait for locks: locks, not CPU or I/O, are the limit."""
    waiting_many: float = 3.0
    """With that share and no view of the blocker, this many waiters are needed."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("cancel_blocker", "shed")
    deciding: ClassVar[tuple[str, ...]] = ("db.wait.lock",)
    check: ClassVar[str] = "sessions in Lock waits and the age of the root blocker's transaction"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        waiting = level(history, "db.wait.lock")
        if waiting is None:
            return verdict(
                self,
                "cannot_exclude",
                "lock waits are not measured.",
                check="count the sessions that wait for a lock (wait class Lock)",
            )
        note = f"{num(waiting)} sessions wait for a lock"
        many = held(history, "db.wait.lock", above=self.waiting_min * 0.9)
        locks = fact(
            history, "db.wait.lock", waiting, self.waiting_min, note,
            above=waiting >= self.waiting_min,
        )  # fmt: skip
        if many:
            return self._waiting(history, waiting, locks)
        state: State = "ruled_out" if waiting < self.waiting_low else "cannot_exclude"
        return verdict(self, state, f"{note}.", locks, check=self.check)

    def _waiting(self, history: History, waiting: float, locks: Evidence) -> Verdict:
        root = self._root(history)
        active = level(history, "db.sessions.active") or waiting
        share = waiting / max(active, 1.0)
        most = share >= self.share_min
        unseen = level(history, "db.root_blocker.age_s") is None
        sure = root is not None or (unseen and most and waiting >= self.waiting_many)
        name = "" if root is None else f"; {root.note}"
        return verdict(
            self,
            "confirmed" if sure else "suspected",
            f"{locks.note} of {num(active)} active{name}.",
            locks,
            root,
            check=self.check,
            strength=0.9 + min(share, 1.0) / 20 if most else 0.5,
        )

    def _root(self, history: History) -> Evidence | None:
        metric = "db.root_blocker.age_s"
        age = level(history, metric)
        if age is None or age < self.blocker_age_s_min:
            return None
        who = _holder(history.rows("postgres"))
        note = f"the root blocker{who} holds its transaction for {num(age)} s"
        return fact(history, metric, age, self.blocker_age_s_min, note)


def _holder(rows: tuple[Mapping[str, object], ...]) -> str:
    """Who holds the lock most others wait for, in words, where the rows say so."""
    roots = [r.get("root") for r in rows if r.get("root") not in (None, r.get("pid"))]
    if not roots:
        return ""
    pid = max(roots, key=roots.count)
    row: Mapping[str, object] = next((r for r in rows if r.get("pid") == pid), {})
    more = ", ".join(str(row[k]) for k in ("application", "state") if row.get(k))
    return f" (pid {pid}{', ' + more if more else ''})"


_ROWS: tuple[Mapping[str, object], ...] = (
    {"kind": "session", "pid": 4242, "state": "idle in transaction", "application": "nightly"},
    {"kind": "session", "pid": 51, "wait": "lock", "blocked_by": [4242], "root": 4242},
    {"kind": "session", "pid": 52, "wait": "lock", "blocked_by": [51], "root": 4242},
)
FIRES = (
    Example("a batch holds the stock rows: checkouts wait", SITE, {
        "db.wait.lock": 7.0, "db.blocked_sessions": 7.0, "db.root_blocker.blocked_sessions": 7.0,
        "db.root_blocker.age_s": (3.0, 14.0), "db.sessions.active": 7.5, "pool.in_use": 8,
        "web.queue_length": 9.0, "user.http.first_byte_ms": 2000.0, "db.wait.cpu": 0.3,
        "db.transactions_per_s": 20.0,
    }, rows={"postgres": _ROWS}),
    Example("an unprotected site: the slots fill with waiters", OPEN_SITE, {
        "db.wait.lock": (5.0, 85.0), "db.blocked_sessions": (5.0, 85.0),
        "db.root_blocker.age_s": (3.0, 14.0), "db.sessions.active": (6.0, 90.0),
        "db.connections.used": (10.0, 95.0), "user.http.ok_ratio": 0.4,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("a surge without lock waits", SITE, SURGE_PROTECTED),
    Example("the seeds' surge", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("a hot row in a surge: short waits, the CPU is the limit", SITE, {
        **SURGE_PROTECTED, "db.wait.lock": 1.2, "db.wait.cpu": 6.0, "db.root_blocker.age_s": 0.1,
    }),
    Example("writers queue to extend a table's file: nobody holds a lock for long", SITE, {
        "db.wait.lock": 6.0, "db.blocked_sessions": 6.0, "db.root_blocker.blocked_sessions": 6.0,
        "db.root_blocker.age_s": 0.05, "db.sessions.active": 7.0, "db.wait.cpu": 1.0,
    }),
    Example("an old transaction that blocks nobody", SITE, {
        "db.sessions.oldest_transaction_s": (30.0, 42.0),
    }),
)  # fmt: skip
