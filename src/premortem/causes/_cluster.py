"""What the causes of a cluster share: the calm cluster, no cluster at all, a lost consensus."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from premortem.causes._verdict import SLOW_S, fact, num, usual
from premortem.causes._worlds import SITE
from premortem.model import Evidence, History

__all__ = ["CLUSTER", "consensus_lost", "no_replica"]

CLUSTER: Mapping[str, float] = MappingProxyType(
    {
        **SITE,
        "db.replica.count": 2,
        "db.cluster.members": 3,
        "db.cluster.leaders": 1,
        "db.cluster.followers": 2,
        "db.cluster.lag_bytes": 0,
        "db.cluster.timeline": 4,
        "db.cluster.paused": 0,
        "db.cluster.sync_standbys": 2,
        "db.cluster.sync_wanted": 1,
        "db.cluster.silent": 0,
        "db.cluster.primaries": 1,
        "db.cluster.leader_age_s": 86_400.0,
        "db.cluster.consensus_age_s": 0.8,
        "db.cluster.failsafe": 0,
        "db.consensus.members": 3,
        "db.consensus.healthy": 3,
        "db.consensus.reply_ms": 4.0,
        "db.route.primaries": 1,
        "db.route.replicas": 2,
        "db.route.sessions": 8.0,
    }
)
"""The calm site on a cluster of three."""

AGE_S_MIN = 15.0
"""Members reach the consensus store once a loop, each 1 to 10 s (the default); half a loop more is
no accident. The leader's key lives 20 to 30 s: this is before it runs out."""


def no_replica(history: History) -> Evidence | None:
    """The measured absence of any replica, now and usually: then there is no cluster to judge."""
    count = history.value("db.replica.count", max_age_s=SLOW_S)
    if count is None or count >= 1 or (usual(history, "db.replica.count") or 0.0) >= 1:
        return None
    return fact(history, "db.replica.count", count, 1.0, "there is no replica", above=False)


def consensus_lost(history: History) -> Evidence | None:
    """The fact that shows that nobody can be elected now; ``None`` when nothing measured does."""
    return _minority(history) or _failsafe(history) or _old(history)


def _minority(history: History) -> Evidence | None:
    members = history.value("db.consensus.members")
    healthy = history.window("db.consensus.healthy", 3.5).values[-2:]
    if members is None or len(healthy) < 2 or max(healthy) > members // 2:
        return None
    need = members // 2 + 1
    note = f"{num(healthy[-1])} of {num(members)} members of the consensus store are healthy"
    since = history.since("db.consensus.healthy", below=need - 0.5)
    return Evidence(
        "db.consensus.healthy", healthy[-1], need, history.now if since is None else since, note
    )


def _failsafe(history: History) -> Evidence | None:
    if (history.value("db.cluster.failsafe") or 0.0) < 1:
        return None
    note = "1 primary goes on without consensus, by the word of all members"
    return fact(history, "db.cluster.failsafe", 1.0, 0.5, note)


def _old(history: History) -> Evidence | None:
    age_s = history.value("db.cluster.consensus_age_s")
    if age_s is None or age_s < AGE_S_MIN:
        return None
    note = f"no member has reached the consensus store for {num(age_s)} s"
    return fact(history, "db.cluster.consensus_age_s", age_s, AGE_S_MIN, note)
