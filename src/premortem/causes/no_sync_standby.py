"""No replica confirms commits, though they are to wait for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._cluster import CLUSTER, no_replica
from premortem.causes._users import hurt
from premortem.causes._verdict import SLOW_S, fact, num, usual, verdict
from premortem.causes._worlds import SITE
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "NoSyncStandby"]


@dataclass(frozen=True, slots=True)
class NoSyncStandby:
    """A commit that is acknowledged now lives on one server only: its crash would lose it.

    Shows: the cluster is set to wait for a replica and has none that confirms. Depending on its
    settings writes go on without the guarantee, or wait until a replica is back.
    Ruled out by: at least one replica that confirms commits; a cluster that is not set to wait.
    First help: bring a replica back (start it, copy it afresh, free its disk); until then plan no
    switchover and no restart of the primary.
    Not this: the first seconds after a failover, in which the new primary takes its replicas on.
    """

    after_s: float = 5.0
    """A new primary takes its replicas on within a loop or two of one second each."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("restore_replica",)
    deciding: ClassVar[tuple[str, ...]] = ("db.cluster.sync_standbys", "db.cluster.sync_wanted")
    check: ClassVar[str] = "which replicas stream, and the cluster's synchronous mode"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        wanted = history.value("db.cluster.sync_wanted", max_age_s=60.0)
        confirming = history.value("db.cluster.sync_standbys", max_age_s=SLOW_S)
        if confirming is not None and confirming >= 1:
            note = f"{num(confirming)} replica(s) confirm commits"
            some = fact(history, "db.cluster.sync_standbys", confirming, 1.0, note, above=False)
            return verdict(self, "ruled_out", f"{note}.", some, check=self.check)
        if wanted == 0:
            note = "commits are not set to wait for a replica"
            free = fact(history, "db.cluster.sync_wanted", 0.0, 1.0, note, above=False)
            return verdict(self, "ruled_out", f"{note}.", free, check=self.check)
        if confirming is None or (
            wanted is None and not usual(history, "db.cluster.sync_standbys")
        ):
            return self._unmeasured(history)
        return self._none(history, wanted)

    def _none(self, history: History, wanted: float | None) -> Verdict:
        since = history.since("db.cluster.sync_standbys", below=0.5)
        began = history.now if since is None else since
        lasts_s = history.now - began
        note = f"no replica has confirmed commits for {num(lasts_s)} s"
        none = Evidence("db.cluster.sync_standbys", 0.0, 1.0, began, note)
        if wanted is None:
            because = f"{note}; one usually does, whether one must is not measured."
            return verdict(self, "suspected", because, none, check=self.check)
        felt = hurt(history)
        if felt is not None:
            because = f"{note}: a risk, but not why {felt.note}."
            return verdict(self, "suspected", because, none, felt, check=self.check)
        state: State = "confirmed" if lasts_s >= self.after_s else "suspected"
        because = f"{note}: the loss of 1 server would lose what it acknowledged."
        return verdict(self, state, because, none, check=self.check, strength=0.3)

    def _unmeasured(self, history: History) -> Verdict:
        none = no_replica(history)
        if none is not None:
            because = "there is no replica, and none was to confirm anything."
            return verdict(self, "ruled_out", because, none, check=self.check)
        because = "whether replicas confirm commits is not measured."
        return verdict(self, "cannot_exclude", because, check=self.check)


FIRES = (
    Example("both replicas are gone, writes go on", CLUSTER, {
        "db.cluster.sync_standbys": 0, "db.cluster.followers": 0, "db.cluster.silent": 2,
        "db.replica.count": 0, "db.route.replicas": 0,
    }, trouble_s=14),
    Example("both replicas stream, none is taken on", CLUSTER, {"db.cluster.sync_standbys": 0},
            trouble_s=14),
)  # fmt: skip
SILENT = (
    Example("a calm cluster", CLUSTER),
    Example("asynchronous by choice", {
        **CLUSTER, "db.cluster.sync_wanted": 0, "db.cluster.sync_standbys": 0,
    }),
    Example("a calm site whose replica nobody manages", SITE),
)  # fmt: skip
NEAR_MISS = (
    Example("one of two replicas is gone", CLUSTER, {
        "db.cluster.sync_standbys": 1, "db.cluster.followers": 1, "db.replica.count": 1,
    }),
    Example("the first seconds after a failover", CLUSTER, {
        "db.cluster.sync_standbys": 0, "db.cluster.leader_age_s": (0.2, 4.0),
    }, trouble_s=4),
)  # fmt: skip
