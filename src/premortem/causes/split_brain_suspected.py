"""Two servers take writes at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._cluster import CLUSTER, no_replica
from premortem.causes._verdict import fact, num, verdict
from premortem.causes._worlds import SITE
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "SplitBrainSuspected"]


@dataclass(frozen=True, slots=True)
class SplitBrainSuspected:
    """More than one member says that it takes writes: what each accepts the other will never have.

    Shows: two members with the role of a primary, usually on two timelines; where the proxy sends
    writes to both, users' data is being split now.
    Ruled out by: every member answering, and one at most taking writes.
    First help: cut the clients off the one on the lower timeline at once (the proxy, or stop it),
    keep its data folder: what only it has must be merged by hand. Only then find out how it came.
    Not this: a moment during a switchover in which the old primary still says what it was.
    """

    primaries_min: float = 2.0
    """One too many."""
    looks_min: int = 2
    """A switchover may show both once, a second apart from each other."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("isolate_server",)
    deciding: ClassVar[tuple[str, ...]] = ("db.cluster.primaries", "db.cluster.silent")
    check: ClassVar[str] = "on every server: SELECT pg_is_in_recovery(); and its timeline"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        primaries = history.value("db.cluster.primaries", max_age_s=3.0)
        routes = self._routes(history)
        if primaries is not None and primaries >= self.primaries_min:
            return self._two(history, primaries, routes)
        if routes is not None:
            because = f"{routes.note}, though not two say that they take writes."
            return verdict(self, "suspected", because, routes, check=self.check)
        silent = history.value("db.cluster.silent", max_age_s=3.0)
        if primaries is None or silent is None:
            return self._unmeasured(history)
        if silent > 0:
            because = f"{num(silent)} member(s) do not answer; whether they take writes is unknown."
            return verdict(self, "cannot_exclude", because, check=self.check)
        note = f"all members answer, {num(primaries)} takes writes"
        one = fact(history, "db.cluster.primaries", primaries, self.primaries_min, note)
        return verdict(self, "ruled_out", f"{note}.", one, check=self.check)

    def _two(self, history: History, primaries: float, routes: Evidence | None) -> Verdict:
        note = f"{num(primaries)} members say that they take writes"
        two = fact(
            history, "db.cluster.primaries", primaries, self.primaries_min - 0.5, note
        )  # since when it has been more than one
        last = history.window("db.cluster.primaries", 6.0).values[-self.looks_min :]
        sure = len(last) >= self.looks_min and min(last) >= self.primaries_min
        words = f"{note}{f', and {routes.note}' if routes else ''}."
        if not sure:
            return verdict(self, "suspected", words, two, routes, check=self.check)
        strength = 1.0 if routes else 0.99
        return verdict(self, "confirmed", words, two, routes, check=self.check, strength=strength)

    def _routes(self, history: History) -> Evidence | None:
        """The proxy itself lets writes go to more than one."""
        routes = history.value("db.route.primaries", max_age_s=3.0)
        if routes is None or routes < self.primaries_min:
            return None
        note = f"the proxy sends writes to {num(routes)} servers"
        return fact(history, "db.route.primaries", routes, self.primaries_min - 0.5, note)

    def _unmeasured(self, history: History) -> Verdict:
        none = no_replica(history)
        if none is not None:
            because = "there is no replica that could become a second primary."
            return verdict(self, "ruled_out", because, none, check=self.check)
        because = "no cluster is watched."
        return verdict(self, "cannot_exclude", because, check=self.check)


FIRES = (
    Example("the old primary came back and was never fenced", CLUSTER, {
        "db.cluster.primaries": 2, "db.cluster.timeline": 5, "db.cluster.leader_age_s": 40.0,
    }),
    Example("and the proxy sends writes to both", CLUSTER, {
        "db.cluster.primaries": 2, "db.route.primaries": 2, "db.cluster.leader_age_s": 40.0,
    }),
)  # fmt: skip
SILENT = (
    Example("a calm cluster", CLUSTER),
    Example("a calm site whose replica nobody manages", SITE),
)
NEAR_MISS = (
    Example("a switchover: both for one look", CLUSTER, {"db.cluster.primaries": 2}, trouble_s=1),
    Example("the old primary is silent: nobody knows what it does", CLUSTER, {
        "db.cluster.silent": 1, "db.cluster.leader_age_s": 60.0,
    }),
)  # fmt: skip
