"""The store that decides who leads has no majority: nobody can be elected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._cluster import CLUSTER, consensus_lost, no_replica
from premortem.causes._users import hurt
from premortem.causes._verdict import fact, num, verdict
from premortem.causes._worlds import SITE
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "EtcdLost"]


@dataclass(frozen=True, slots=True)
class EtcdLost:
    """The consensus store lost its majority, or nobody reaches it: the cluster cannot fail over.

    Shows: fewer than half of its members healthy; no member of the cluster has reached it for
    longer than a loop. With a failsafe the primary goes on as long as all others confirm it;
    without one it stops taking writes when its key runs out, after 20 to 30 s.
    Ruled out by: a healthy majority, reached by the cluster within its last loop.
    First help: bring a majority of the store's members back (disk, network, memory, clock); leave
    the database alone: a restart now may end with nobody in the lead.
    Not this: one member of three gone. The other two decide.
    """

    fresh_s: float = 12.0
    """The slowest usual loop is 10 s, and members write whole seconds."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("restore_consensus",)
    deciding: ClassVar[tuple[str, ...]] = ("db.consensus.healthy", "db.cluster.consensus_age_s")
    check: ClassVar[str] = "the health of every member of the consensus store, and its disk"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        lost = consensus_lost(history)
        if lost is None:
            return self._there(history)
        primaries = history.value("db.cluster.primaries", max_age_s=3.0)
        felt = hurt(history)
        if felt is not None and primaries is not None and primaries >= 1:
            because = f"{lost.note}; but a primary takes writes: that is not why {felt.note}."
            return verdict(self, "suspected", because, lost, felt, check=self.check)
        now = "the primary goes on" if primaries else "nobody can be elected"
        return verdict(
            self, "confirmed", f"{lost.note}: {now}.", lost, check=self.check,
            strength=0.4 if primaries else 0.99,
        )  # fmt: skip

    def _there(self, history: History) -> Verdict:
        seen = self._majority(history) or self._reached(history)
        if seen is not None:
            return verdict(self, "ruled_out", f"{seen.note}.", seen, check=self.check)
        none = no_replica(history)
        if none is not None:
            because = "there is no replica, so nobody needs to be elected."
            return verdict(self, "ruled_out", because, none, check=self.check)
        because = "the health of the consensus store is not measured."
        return verdict(self, "cannot_exclude", because, check=self.check)

    def _majority(self, history: History) -> Evidence | None:
        members = history.value("db.consensus.members")
        healthy = history.value("db.consensus.healthy")
        if members is None or healthy is None or healthy <= members // 2:
            return None
        need = members // 2 + 1
        note = f"{num(healthy)} of {num(members)} members of the consensus store are healthy"
        return fact(history, "db.consensus.healthy", healthy, need, note, above=False)

    def _reached(self, history: History) -> Evidence | None:
        if history.targets("db.consensus.healthy"):
            return None  # its members are watched themselves: their word counts
        age_s = history.value("db.cluster.consensus_age_s")
        if age_s is None or age_s > self.fresh_s:
            return None
        note = f"the consensus store was reached {num(age_s)} s ago"
        return fact(history, "db.cluster.consensus_age_s", age_s, self.fresh_s, note)


FIRES = (
    Example("all members are gone, the failsafe holds", CLUSTER, {
        "db.consensus.healthy": 0, "db.cluster.failsafe": 1,
        "db.cluster.consensus_age_s": (1.0, 14.0),
    }, errors=(("etcd", "3 of 3 members are not healthy: no answer within 1 s"),),
        gone=("db.cluster.leaders", "db.cluster.members", "db.cluster.sync")),
    Example("two of three are gone and there is no failsafe", CLUSTER, {
        "db.consensus.healthy": 1, "db.cluster.consensus_age_s": (5.0, 25.0),
        "db.cluster.primaries": 0, "user.http.ok_ratio": 0.2,
    }, gone=("db.cluster.leader", "db.cluster.members", "db.cluster.sync")),
    Example("only the cluster is watched, not the store itself",
            {k: v for k, v in CLUSTER.items() if not k.startswith("db.consensus")},
            {"db.cluster.consensus_age_s": (16.0, 30.0), "db.cluster.failsafe": 1}),
)  # fmt: skip
SILENT = (
    Example("a calm cluster", CLUSTER),
    Example("a calm site whose replica nobody manages", SITE),
)
NEAR_MISS = (
    Example("one of three members is gone", CLUSTER, {"db.consensus.healthy": 2}),
    Example("a slow loop of the cluster's managers", CLUSTER, {
        "db.cluster.consensus_age_s": (1.0, 11.0),
    }),
)  # fmt: skip
