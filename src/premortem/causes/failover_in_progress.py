"""The cluster is changing its primary: for a moment nobody takes writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._cluster import CLUSTER, consensus_lost, no_replica
from premortem.causes._verdict import fact, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "FailoverInProgress"]


@dataclass(frozen=True, slots=True)
class FailoverInProgress:
    """The primary is gone or being moved, and another server takes over or just did.

    Shows: no member says that it takes writes; the consensus store names no leader, or one that is
    silent; then another member leads on a higher timeline, and clients open new sessions.
    Ruled out by: the same member leading for longer than clients need to come back.
    First help: hold the clients at the pooler so that they wait instead of failing, and let it
    end: it takes one to five seconds after a crash, up to the leader key's life (20 to 30 s)
    after a silent death. Then see why the old primary went, before it is made primary again.
    Not this: a lost consensus store. Then nobody can be elected however long one waits.
    """

    settle_s: float = 10.0
    """Pools find the new primary within a second or two, DNS and slow clients within ten."""
    silent_s: float = 3.0
    """A primary that is merely busy answers its own cluster manager again within three looks."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("hold_clients",)
    deciding: ClassVar[tuple[str, ...]] = ("db.cluster.primaries", "db.cluster.leader_age_s")
    check: ClassVar[str] = "who says that it takes writes, and since when: the cluster's status"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        primaries = history.value("db.cluster.primaries", max_age_s=3.0)
        leaders = history.value("db.cluster.leaders", max_age_s=3.0)
        if primaries is None and leaders is None:
            return self._unmeasured(history)
        if primaries == 0 or (primaries is None and leaders == 0):
            return self._nobody(history, leaders)
        age_s = history.value("db.cluster.leader_age_s", max_age_s=3.0)
        if age_s is None or primaries is None:
            because = "since when the primary leads is not measured."
            return verdict(self, "cannot_exclude", because, check=self.check)
        return self._led(history, age_s)

    def _nobody(self, history: History, leaders: float | None) -> Verdict:
        metric = "db.cluster.leaders" if leaders == 0 else "db.cluster.primaries"
        since = history.since(metric, below=0.5)
        began = history.now if since is None else since
        note = "0 members say that they take writes"
        nobody = Evidence(metric, 0.0, 1.0, began, note)
        lost = consensus_lost(history)
        if lost is not None:
            because = f"{note}, but {lost.note}: nobody can be elected."
            return verdict(self, "suspected", because, nobody, lost, check=self.check)
        agreed = leaders == 0 or history.now - began >= self.silent_s
        shut = self._shut(history)
        if not agreed and shut is None:
            because = f"{note}; the one that leads is silent."
            return verdict(self, "suspected", because, nobody, check=self.check)
        words = "no leader is elected yet" if leaders == 0 else "the one that leads is silent"
        return verdict(
            self, "confirmed", f"{note}; {words}.", nobody, shut, check=self.check, strength=0.98
        )

    def _shut(self, history: History) -> Evidence | None:
        """Clients' own way to the database is closed too."""
        failures = history.failures("postgres", self.silent_s)
        if not failures:
            return None
        note = f"sessions fail: {failures[-1].error[:60]}"
        return Evidence("db.up", 0.0, 0.5, failures[0].at, note)

    def _led(self, history: History, age_s: float) -> Verdict:
        began = history.now - age_s
        timeline = history.value("db.cluster.timeline", max_age_s=5.0)
        where = "" if timeline is None else f" on timeline {num(timeline)}"
        note = f"the same member has led{where} for {num(age_s)} s"
        if age_s > self.settle_s:
            led = Evidence(
                "db.cluster.leader_age_s", age_s, self.settle_s, min(began, history.now), note
            )
            return verdict(self, "ruled_out", f"{note}.", led, check=self.check)
        note = f"another member took over{where} {num(age_s)} s ago"
        fresh = fact(history, "db.cluster.leader_age_s", age_s, self.settle_s, note, above=False)
        because = f"{note}; clients are coming back."
        return verdict(self, "confirmed", because, fresh, check=self.check, strength=0.96)

    def _unmeasured(self, history: History) -> Verdict:
        none = no_replica(history)
        if none is not None:
            because = "there is no replica that could take over."
            return verdict(self, "ruled_out", because, none, check=self.check)
        because = "no cluster is watched."
        return verdict(self, "cannot_exclude", because, check=self.check)


FIRES = (
    Example("the primary's server and its manager were killed", CLUSTER, {
        "db.up": 0, "db.cluster.primaries": 0, "db.cluster.leaders": 0, "db.cluster.silent": 1,
        "db.cluster.followers": 2, "db.route.primaries": 0, "user.http.ok_ratio": 0.4,
    }, errors=(("postgres", "refused"), ("patroni", "the cluster has no running leader")),
        gone=("db.wait", "db.sessions", "db.connections", "db.cluster.leader_age")),
    Example("its host fell silent: the key has not run out yet", CLUSTER, {
        "db.up": 0, "db.cluster.primaries": 0, "db.cluster.silent": 1, "user.http.ok_ratio": 0.1,
    }, errors=(("postgres", "connect timeout"),),
        gone=("db.wait", "db.sessions", "db.connections", "db.cluster.leader_age")),
    Example("over within a second: another member leads", CLUSTER, {
        "db.cluster.leader_age_s": (0.3, 9.0), "db.cluster.timeline": 5,
    }),
)  # fmt: skip
SILENT = (
    Example("a calm cluster", CLUSTER),
    Example("a calm site whose replica nobody manages", SITE),
    Example("no replica at all, in a surge", {**OPEN_SITE, "db.replica.count": 0}, SURGE_OPEN),
)
NEAR_MISS = (
    Example("the primary's manager misses a look, all else is well", CLUSTER, {
        "db.cluster.silent": 1, "db.cluster.primaries": 0,
    }, trouble_s=2),
    Example("the consensus store is gone and the primary gave up", CLUSTER, {
        "db.cluster.primaries": 0, "db.consensus.healthy": 0, "user.http.ok_ratio": 0.1,
        "db.cluster.consensus_age_s": (16.0, 30.0),
    }, gone=("db.cluster.leader", "db.cluster.members", "db.cluster.followers")),
)  # fmt: skip
