"""The orders a supervisor takes: switch over, restart in turn, add, remove, copy afresh, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from premortem.cluster import steps
from premortem.cluster.acts import LOOK_S
from premortem.cluster.check import check
from premortem.cluster.files import write_files
from premortem.cluster.state import save
from premortem.cluster.steps import Outcome
from premortem.cluster.topology import BadTopology, Node, Topology
from premortem.cluster.units import Proc, spawn, units
from premortem.engines import haproxy
from premortem.engines.errors import EngineError

if TYPE_CHECKING:
    from premortem.cluster.supervisor import Supervisor

__all__ = ["Orders"]

Say = Callable[[str], None]


class Orders:
    """Obeys one supervisor's callers."""

    def __init__(self, owner: Supervisor) -> None:
        self.owner = owner

    async def take(self, order: Mapping[str, object], say: Say) -> Mapping[str, object]:
        """Do one order. Raises ``EngineError`` with one line when it cannot be done."""
        do = getattr(self, f"_{order.get('do')}", None)
        if do is None:
            raise EngineError(f"no such order: {order.get('do')!r}")
        if order.get("do") != "ready":
            self.owner.say(f"order: {order.get('do')} {order.get('node') or ''}")
        try:
            result: Mapping[str, object] = await do(str(order.get("node") or ""), order, say)
        except BadTopology as error:
            raise EngineError(str(error)) from error
        return result

    async def _ready(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        return {"ready": self.owner.ready}

    async def _stop(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        self.owner.stopping.set()
        return {}

    async def _switchover(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        if self.owner.switching.locked():
            raise EngineError("a switchover or a rolling restart is under way: wait for it")
        async with self.owner.switching:
            leader = await self.owner.acts.leader()
            await self._heir(leader)
            if node:
                self.owner.state.topology.node(node)
            if node == leader.name:
                raise EngineError(f"{node} is the primary already")
            script = steps.switchover if node else steps.hand_over
            await self._play(script(node or leader.name, pooled=self._pooled), say, leader)
            return {"from": leader.name, "primary": (await self.owner.acts.leader()).name}

    async def _rolling(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        if self.owner.switching.locked():
            raise EngineError("a switchover or a rolling restart is under way: wait for it")
        async with self.owner.switching:
            leader = await self.owner.acts.leader()
            replicas = [n.name for n in self.owner.state.topology.servers if n != leader]
            if replicas:
                await self._heir(leader)
            script = steps.rolling(replicas, leader.name, pooled=self._pooled)
            await self._play(script, say, leader)
            return {"restarted": [*replicas, leader.name]}

    @property
    def _pooled(self) -> bool:
        return self.owner.state.pgbouncer is not None

    async def _play(self, script: steps.Script, say: Say, leader: Node) -> None:
        async def whole() -> Outcome:
            self.owner.held.add(leader.name)
            try:
                return await self.owner.acts.play(script, say)
            finally:
                self.owner.held.discard(leader.name)

        # a caller that hangs up must not end a switchover between PAUSE and RESUME
        outcome = await asyncio.shield(asyncio.create_task(whole()))
        if not outcome.ok:
            raise EngineError(outcome.note)

    async def _heir(self, leader: Node) -> None:
        """Nothing is stopped unless somebody streams who could take over.

        Just after a change of primary nobody may for a moment: that is waited for.
        """
        deadline = time.monotonic() + steps.HEIR_S
        while len(self.owner.state.topology.servers) > 1:
            for name, (role, state) in (await self.owner.acts.standing()).items():
                if name != leader.name and self.owner.acts.in_order(role, state):
                    return
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_S)
        raise EngineError("no replica streams from the primary: see premortem cluster status")

    # -- more and fewer nodes

    async def _add_node(
        self, node: str, order: Mapping[str, object], say: Say
    ) -> Mapping[str, object]:
        added = Node(**order["add"])  # type: ignore[arg-type]
        t = self.owner.state.topology
        if any(n.name == added.name for n in t.nodes):
            raise EngineError(f"there is a node {added.name!r} already")
        await self._become(replace(t, nodes=(*t.nodes, added)))
        say(f"{added.name} copies the primary")
        await self._healthy(added.name)
        return {"node": added.name}

    async def _remove_node(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        t = self.owner.state.topology
        gone = t.node(node)
        if len(t.servers) == 1:
            raise EngineError("it is the last server: premortem cluster destroy removes all")
        if (await self.owner.acts.leader()).name == node:
            raise EngineError(f"{node} is the primary: premortem cluster switchover first")
        voter = replace(gone, postgres=False)
        rest = tuple(voter if n == gone else n for n in t.nodes if n != gone or gone.etcd)
        await self._become(replace(t, nodes=rest))
        return {"node": node, "votes_in_etcd": gone.etcd}

    async def _become(self, topology: Topology) -> None:
        """Take on another topology: files, processes, routes; no session is cut."""
        owner = self.owner
        bad = [p for p in check(topology) if p.severity == "refuse"]
        if bad:
            raise EngineError(str(bad[0]))
        state = owner.state.with_topology(topology)
        await asyncio.to_thread(write_files, state)
        await asyncio.to_thread(save, state)
        wanted = {u.name: u for u in units(state, owner.host)}
        for name in [n for n in owner.kept if n not in wanted]:
            await owner.forget(name)  # while the old topology still tells where its data is
        owner.state = owner.acts.state = state
        for name, unit in wanted.items():
            if name not in owner.kept:
                owner.add(unit)
        await self._reload_proxy()

    async def _reload_proxy(self) -> None:
        """A new proxy takes the ports; the old one ends with its last session."""
        kept, program = self.owner.kept.get("haproxy"), self.owner.state.haproxy
        if kept is None or program is None or kept.proc is None:
            return
        conf = self.owner.state.front / "haproxy.cfg"
        old: Proc = kept.proc
        kept.proc = spawn(kept.unit, haproxy.command(program, conf, old.pid))

    async def _healthy(self, name: str) -> None:
        outcome = await self.owner.acts.perform(steps.Step("await_healthy", name, 60.0))
        if not outcome.ok:
            raise EngineError(outcome.note)

    async def _reinit(self, node: str, order: object, say: Say) -> Mapping[str, object]:
        target = self.owner.state.topology.node(node)
        if (await self.owner.acts.leader()).name == node:
            raise EngineError(f"{node} is the primary: its data is the one that counts")
        await asyncio.to_thread(self.owner.state.patroni(target).reinitialize)
        say(f"{node} copies the primary afresh")
        await asyncio.sleep(1.0)  # until Patroni has begun and no longer says "streaming"
        await self._healthy(node)
        return {"node": node}
