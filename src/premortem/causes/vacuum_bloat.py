"""Dead rows pile up, or transaction ids run out, because vacuum cannot do its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._verdict import fact, level, num, percent, verdict
from premortem.causes._worlds import SITE, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "VacuumBloat"]


@dataclass(frozen=True, slots=True)
class VacuumBloat:
    """Something holds the oldest snapshot back; tables bloat, ids age.

    Shows: a slow drift of all times; dead rows and the age of the oldest snapshot grow; the holder
    is a transaction, a replication slot or a prepared transaction.
    Ruled out by: few dead rows and young transaction ids.
    First help: remove the holder of the oldest snapshot; then vacuum the worst table by hand.
    Not this: a burst of dead rows that the next autovacuum takes away.
    """

    dead_ratio_min: float = 0.2
    """Autovacuum starts at 20 % of a table (its default scale factor): more is left behind."""
    dead_ratio_low: float = 0.1
    """Half of where autovacuum starts: it is ahead of the work."""
    xmin_age_min: float = 10_000.0
    """Transactions since the oldest snapshot: seconds of a busy site, not milliseconds."""
    xmin_age_min_s: float = 60.0
    """A minute of the site's transactions: requests do not hold a snapshot for so long."""
    xid_ratio_min: float = 0.5
    """Half of 2^31 used; autovacuum forces itself in at 200 million, about 0.1."""
    xid_ratio_low: float = 0.2
    """Autovacuum's forced runs start near 0.1 and bring it back below 0.2."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("terminate_idle",)
    deciding: ClassVar[tuple[str, ...]] = ("db.dead_tuple_ratio", "db.xid.age_ratio")
    check: ClassVar[str] = "oldest snapshot: long transactions, replication slots, prepared ones"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        age = level(history, "db.xid.age_ratio", max_age_s=60.0)
        dead = level(history, "db.dead_tuple_ratio", max_age_s=60.0)
        if age is not None and age >= self.xid_ratio_min:
            note = f"{percent(age)} of the transaction ids are used"
            ids = fact(history, "db.xid.age_ratio", age, self.xid_ratio_min * 0.999, note)
            return verdict(self, "confirmed", f"{note}.", ids, check=self.check, strength=age / 2)
        if dead is not None and dead >= self.dead_ratio_min:
            return self._bloated(history, dead)
        if age is None or dead is None:
            lacking = "ages of transaction ids are" if age is None else "dead rows are"
            return verdict(self, "cannot_exclude", f"{lacking} not measured.", check=self.check)
        note = f"{percent(dead)} of the rows are dead, {percent(age)} of the ids used"
        calm = fact(history, "db.dead_tuple_ratio", dead, self.dead_ratio_min, note, above=False)
        if (holder := self._holder(history)) is not None:
            because = f"{note}; but {holder.note}."
            return verdict(self, "cannot_exclude", because, calm, holder, check=self.check)
        young = dead < self.dead_ratio_low and age < self.xid_ratio_low
        state: State = "ruled_out" if young else "cannot_exclude"
        return verdict(self, state, f"{note}.", calm, check=self.check)

    def _bloated(self, history: History, dead: float) -> Verdict:
        note = f"{percent(dead)} of the rows are dead"
        rows = fact(history, "db.dead_tuple_ratio", dead, self.dead_ratio_min * 0.999, note)
        holder = self._holder(history)
        because = f"{note}; {holder.note}." if holder else f"{note}; nothing holds vacuum back."
        return verdict(
            self, "confirmed" if holder else "cannot_exclude", because, rows, holder,
            check=self.check, strength=0.4,
        )  # fmt: skip

    def _holder(self, history: History) -> Evidence | None:
        metric = "db.xmin.age"
        age = level(history, metric, max_age_s=60.0)
        done = history.median("db.transactions_per_s", 60.0) or 0.0
        if age is None or age < max(self.xmin_age_min, self.xmin_age_min_s * done):
            return None
        note = f"the oldest snapshot is {num(age)} transactions old"
        return fact(history, metric, age, self.xmin_age_min * 0.999, note)


FIRES = (
    Example("an abandoned replication slot holds the snapshot", SITE, {
        "db.dead_tuple_ratio": (0.25, 0.4), "db.xmin.age": (20_000.0, 60_000.0),
    }),
    Example("a prepared transaction nobody ends; before it nothing held a snapshot", SITE, {
        "db.dead_tuple_ratio": 0.21, "db.xmin.age": 15_100.0,
    }),
    Example("transaction ids run out", SITE, {"db.xid.age_ratio": 0.7}),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("500 transactions a second: a report of some seconds holds twelve thousand of them", {
        **SITE, "db.transactions_per_s": 500.0,
    }, {"db.dead_tuple_ratio": 0.21, "db.xmin.age": 12_000.0}),
    Example("a nightly delete left dead rows, autovacuum is at them", SITE, {
        "db.dead_tuple_ratio": (0.3, 0.2),
    }),
)  # fmt: skip
