"""What each cluster drill does to the cluster, and what it must show of it.

A fault is an async function: it does its worst, says so in events, and returns the facts it knows.
It has put everything back that it can when it returns or is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from premortem.drills import cluster_hosts
from premortem.drills.cluster_stack import ClusterStack
from premortem.remedies._hands import RemedyFailed
from premortem.remedies.switchover import Move

__all__ = [
    "FAULTS",
    "Drill",
    "Facts",
    "Fault",
    "Tell",
    "etcd_down",
    "failover",
    "move",
    "partition",
]

Facts = Mapping[str, Any]

HEALTHY_AGAIN_S = 60.0
"""Until a killed server streams again: rewinding it takes seconds, copying it afresh longer."""


class Tell(Protocol):
    """Writes an event of the drill."""

    def __call__(self, kind: str, text: str, who: str, **data: object) -> None: ...


Fault = Callable[[ClusterStack, Tell, float], Awaitable[Facts]]
"""``await fault(stack, tell, lasts_s)``."""


async def failover(stack: ClusterStack, tell: Tell, lasts_s: float) -> Facts:
    """The primary's server and its Patroni are killed with ``kill -9``."""
    leader = await stack.leader()
    tell("phase", f"{leader.name}, the primary, is killed: its server and its Patroni", "drill",
         phase="fault", fault="kill -9")  # fmt: skip
    stack.crash(leader)
    return {"from": leader.name, **await _recovery(stack, tell, leader.name)}


async def switchover(stack: ClusterStack, tell: Tell, lasts_s: float) -> Facts:
    """A planned switchover by the cluster's own command."""
    tell("phase", "a switchover is asked for", "drill", phase="fault", fault="switchover")
    began = time.monotonic()
    moved = await asyncio.to_thread(stack.cluster.switchover)
    took_s = time.monotonic() - began
    tell("effect", f"{moved['primary']} is the primary after {took_s:.1f} s", "drill")
    return {"from": moved["from"], "to": moved["primary"], "took_s": round(took_s, 2)}


async def etcd_down(stack: ClusterStack, tell: Tell, lasts_s: float) -> Facts:
    """Every member of the consensus store stops answering, and goes on after ``lasts_s``."""
    with stack.consensus_stopped() as count:
        tell("phase", f"all {count} members of the consensus store stop", "drill",
             phase="fault", fault="stopped", members=count)  # fmt: skip
        await asyncio.sleep(lasts_s)
    tell("effect", f"the {count} members go on after {lasts_s:g} s", "drill")
    return {"members": count, "lasted_s": lasts_s}


async def partition(stack: ClusterStack, tell: Tell, lasts_s: float) -> Facts:
    """The primary's host is cut off from the consensus store and from its replicas."""
    leader = await stack.leader()
    others = [n.address for n in stack.state.topology.nodes if n.name != leader.name]
    with ExitStack() as healed:
        tell("phase", f"{leader.name}, the primary, is cut off from {len(others)} other hosts",
             "drill", phase="fault", fault="cut")  # fmt: skip
        healed.enter_context(cluster_hosts.cut(stack.hosts[leader.name], others))
        await asyncio.sleep(lasts_s)
    tell("effect", f"the cut of {leader.name} heals after {lasts_s:g} s", "drill")
    return {"from": leader.name, "lasted_s": lasts_s, "to": (await stack.leader()).name}


async def _recovery(stack: ClusterStack, tell: Tell, gone: str) -> Facts:
    """Who takes over, and when all three are in order again (``None``: not within the run)."""
    began, to = time.monotonic(), ""
    while time.monotonic() < began + HEALTHY_AGAIN_S:
        rows = await stack.members()
        leads = [name for name, row in rows.items() if row.get("role") == "leader"]
        if not to and leads and leads[0] != gone and rows[leads[0]].get("state") == "running":
            to = leads[0]
            tell("effect", f"{to} leads", "cluster", primary=to)
        if to and await stack.is_healthy():
            took_s = round(time.monotonic() - began, 1)
            tell("effect", f"all servers are in order {took_s:g} s after the kill", "cluster")
            return {"to": to, "redundant_again_s": took_s}
        await asyncio.sleep(0.2)
    return {"to": to or None, "redundant_again_s": None}


def move(stack: ClusterStack) -> Move:
    """The hand that the remedy ``switchover`` needs."""

    async def moved(to: str) -> Mapping[str, object]:
        try:
            return await asyncio.to_thread(stack.cluster.switchover, to)
        except RuntimeError as error:
            raise RemedyFailed(f"switchover: {error}") from None

    return moved


@dataclass(frozen=True, slots=True)
class Drill:
    """One cluster drill: what happens, for how long, and which cause the ledger must name."""

    name: str
    fault: Fault
    title: str
    lasts_s: float
    """How long the fault itself lasts."""
    after_s: float
    """Watched after it: long enough to see pools and caches settle."""
    causes: tuple[str, ...]
    namespaces: bool = False

    @property
    def seconds(self) -> float:
        """From the fault to the last user."""
        return self.lasts_s + self.after_s


FAULTS: Mapping[str, Drill] = {
    drill.name: drill
    for drill in (
        Drill("failover", failover, "The primary is killed", 0.0, 25.0, ("failover_in_progress",)),
        Drill("switchover", switchover, "The primary is moved", 0.0, 20.0, ()),
        Drill("etcd-down", etcd_down, "The consensus store is gone", 40.0, 10.0, ("etcd_lost",)),
        Drill("partition", partition, "The primary is cut off", 35.0, 15.0,
              ("failover_in_progress", "split_brain_suspected", "etcd_lost"), namespaces=True),
    )
}  # fmt: skip
"""The key of a cut primary lives 20 s and the failover must fit in the cut: 35 s."""
