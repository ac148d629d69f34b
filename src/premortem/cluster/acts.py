"""Performs the steps that `steps` decides, on real processes and servers, each within its time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from premortem.cluster.state import State
from premortem.cluster.steps import Outcome, Script, Step
from premortem.cluster.topology import BadTopology, Node
from premortem.cluster.units import Unit, adopt, kill_all, postmaster, remains, units
from premortem.engines import haproxy
from premortem.engines.errors import EngineError
from premortem.engines.etcd import EtcdClient
from premortem.engines.patroni import members

__all__ = ["Acts", "play"]

LOOK_S = 0.05
"""Between two looks while waiting for a change: small against the second a switchover takes."""

Say = Callable[[str], None]


CONFIRM = "SELECT pg_is_in_recovery(), inet_server_port(), host(inet_server_addr())"
COMMIT = "SELECT pg_logical_emit_message(true, 'premortem', '')"
"""A commit that changes nothing and waits for replicas as every other does. It is never decoded:
replicas skip it."""
LEADER_S = 5.0
"""A busy machine's Patroni may take a second to answer; nobody leads for about one in a switch."""


async def play(script: Script, perform: Callable[[Step], Awaitable[Outcome]]) -> Outcome:
    """Run a script to its end."""
    outcome: Outcome | None = None
    try:
        step = next(script)
        while True:
            outcome = await perform(step)
            step = script.send(outcome)
    except StopIteration as end:
        result: Outcome = end.value
        return result


@dataclass(slots=True)
class Acts:
    """The hands of the control plane. ``start`` is given by whoever owns the processes."""

    state: State
    start: Callable[[str], Awaitable[None]]
    say: Say
    holders: set[object] = field(default_factory=set)
    """Scripts at work that may hold clients; `play` clears them however a script ends."""
    _asked: set[asyncio.Task[str]] = field(default_factory=set)

    async def play(self, script: Script, tell: Say = lambda _: None) -> Outcome:
        """Run a script to its end on real servers."""
        me = object()

        async def perform(step: Step) -> Outcome:
            tell(f"{step.kind} {step.node}".strip())
            if step.kind == "pause":
                self.holders.add(me)
            return await self.perform(step)

        try:
            return await play(script, perform)
        finally:
            self.holders.discard(me)

    async def perform(self, step: Step) -> Outcome:
        """Do one step. What goes wrong, also a time-out, comes back as an outcome."""
        began = time.monotonic()
        try:
            note = await getattr(self, f"_{step.kind}")(step)
            outcome = Outcome(ok=True, note=note or "")
        except (EngineError, BadTopology, OSError, psycopg.Error) as error:
            outcome = Outcome(ok=False, note=" ".join(str(error).split())[:300])
        took_ms = (time.monotonic() - began) * 1000
        word = "done" if outcome.ok else "FAILED"
        self.say(f"{step.kind} {step.node}: {word} in {took_ms:.0f} ms {outcome.note}".strip())
        return outcome

    # -- fencing

    async def _is_leader(self, step: Step) -> None:
        client = EtcdClient(self.state.etcd_urls, within_s=0.3)
        if await asyncio.to_thread(client.get, self.state.leader_key) != step.node:
            raise EngineError("no")

    async def _kill(self, step: Step) -> None:
        """Patroni first, so that nothing starts the server again, then all of the server."""
        node = self.state.topology.node(step.node)
        await asyncio.to_thread(self._end, node, step.within_s)

    def _end(self, node: Node, within_s: float) -> None:
        for proc in adopt(self._patroni(node)).values():
            proc.signal(signal.SIGKILL, group=True)
        kill_all(remains(self.state.data(node)), within_s)

    async def _verify_dead(self, step: Step) -> None:
        node = self.state.topology.node(step.node)
        left = await asyncio.to_thread(self._left, node)
        if left:
            raise EngineError(f"{left} processes of {node.name} are still there")

    def _left(self, node: Node) -> int:
        """Looks twice: a look takes some 20 ms, in which a starter may pass its server on."""
        looks = (remains(self.state.data(node)) for _ in range(2))
        return max(map(len, looks)) + len(adopt(self._patroni(node)))

    async def _release_key(self, step: Step) -> str:
        client = EtcdClient(self.state.etcd_urls)
        gone = await asyncio.to_thread(client.delete_if, self.state.leader_key, step.node)
        return "leader key released" if gone else "it did not hold the leader key"

    async def _start(self, step: Step) -> None:
        await self.start(step.node)

    # -- switching over

    async def _checkpoint(self, step: Step) -> None:
        leader = await self.leader()
        await asyncio.to_thread(self._sql, leader, "CHECKPOINT")

    def _sql(self, node: Node, order: psycopg.abc.QueryNoTemplate) -> None:
        with psycopg.connect(self.state.server_dsn(node), autocommit=True) as connection:
            connection.execute(order)

    async def _pause(self, step: Step) -> None:
        await asyncio.to_thread(self.state.console.pause, step.within_s)

    async def _resume(self, step: Step) -> None:
        """Goes on trying: a pooler that is just being restarted must not stay paused."""
        if self.state.pgbouncer is None:
            return
        deadline = time.monotonic() + step.within_s
        while True:
            try:
                await asyncio.to_thread(self.state.console.resume, 2.0)
            except EngineError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(LOOK_S)
            else:
                return

    async def _stop_server(self, step: Step) -> None:
        """Patroni goes first, so that it does not meddle; the server stops in order."""
        node = self.state.topology.node(step.node)
        await asyncio.to_thread(self._stop_in_order, node, step.within_s)

    def _stop_in_order(self, node: Node, within_s: float) -> None:
        for proc in adopt(self._patroni(node)).values():
            proc.signal(signal.SIGKILL, group=True)
        if (pid := postmaster(self.state.data(node))) is not None:
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + within_s
        while postmaster(self.state.data(node)) is not None:
            if time.monotonic() > deadline:
                raise EngineError(f"{node.name} did not stop within {within_s:g} s")
            time.sleep(0.01)

    def _patroni(self, node: Node) -> list[Unit]:
        return [u for u in units(self.state, node.name) if u.kind == "patroni"]

    async def _ask_switchover(self, step: Step) -> None:
        """Ask Patroni, and go on as soon as the named server says that it is primary."""
        leader, to = await self.leader(), self.state.topology.node(step.node)
        if leader == to:
            return  # an earlier request came true after all
        asked = self._ask(leader, step)
        deadline = time.monotonic() + step.within_s
        while time.monotonic() < deadline:
            if await self.is_primary(to):
                return
            if asked.done() and (error := asked.exception()) is not None:
                raise EngineError(str(error))
            await asyncio.sleep(LOOK_S)
        raise EngineError(f"{to.name} did not become primary within {step.within_s:g} s")

    def _ask(self, leader: Node, step: Step) -> asyncio.Task[str]:
        """Patroni answers a second after it is over: its answer is let come, nobody waits."""
        ask = self.state.patroni(leader, 2.0).switchover
        asked = asyncio.create_task(asyncio.to_thread(ask, leader.name, step.node, step.within_s))
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())
        return asked

    async def _await_route(self, step: Step) -> None:
        """Until a commit through the proxy is confirmed by a primary (the named one, if any)."""
        deadline = time.monotonic() + step.within_s
        while time.monotonic() < deadline:
            left_s = max(deadline - time.monotonic(), 0.1)
            if await asyncio.to_thread(self._lands_on, step.node, left_s):
                return
            await asyncio.sleep(LOOK_S)
        raise EngineError(f"the route does not lead to a primary after {step.within_s:g} s")

    def _lands_on(self, name: str, within_s: float) -> bool:
        """Whether it does now. When no replica confirms the commit in time, PostgreSQL says so in a
        warning and keeps it: then there is no reason to hold clients any longer either."""
        t = self.state.topology
        by_proxy = self.state.haproxy is not None
        node = t.node(name) if name else None
        if by_proxy and not self._one_route():
            return False
        host, port = t.address, t.primary_port
        if not by_proxy:
            host = (node or t.servers[0]).address
            port = (node or t.servers[0]).postgres_port
        try:
            with psycopg.connect(
                host=host,
                port=port,
                user="app",
                password=self.state.secrets.app,
                dbname="app",
                connect_timeout=2,
                autocommit=True,
                options=f"-c statement_timeout={within_s * 1000:.0f}",
            ) as connection:
                row = connection.execute(CONFIRM).fetchone()
                here = node and (node.postgres_port, node.address)
                if row is None or row[0] or here not in (None, row[1:]):
                    return False
                connection.execute(COMMIT)
        except psycopg.Error:
            return False
        return True

    def _one_route(self) -> bool:
        """The proxy must have seen the old primary go, or it would still send sessions there."""
        t = self.state.topology
        try:
            rows = haproxy.statistics(t.address, t.stats_port)
        except EngineError:
            return False  # it is just being started again
        mine = [r for r in rows if r["pxname"] == "primary" and r["svname"] in self._names()]
        return sum(r["status"].startswith("UP") for r in mine) == 1

    def _names(self) -> set[str]:
        return {n.name for n in self.state.topology.servers}

    # -- restarting

    async def _restart(self, step: Step) -> None:
        api = self.state.patroni(self.state.topology.node(step.node))
        await asyncio.to_thread(api.restart, step.within_s)

    async def _await_healthy(self, step: Step) -> None:
        """Until the node itself says that it runs, and the others that it leads or streams.

        With ``sync = "quorum"`` a replica is in order only when commits may wait for it again: if
        the next one is restarted before that, they wait for nobody but the one that is away.
        """
        node = self.state.topology.node(step.node)
        api = self.state.patroni(node)
        for _ in range(int(step.within_s / (LOOK_S * 2))):
            itself = await asyncio.to_thread(api.answers, "/health")
            if itself and self.in_order(*(await self.standing()).get(step.node, ("", ""))):
                return
            await asyncio.sleep(LOOK_S * 2)
        raise EngineError(f"{step.node} neither leads nor streams after {step.within_s:g} s")

    def in_order(self, role: str, state: str) -> bool:
        """Whether a member of this role and state leads, or could: it streams, and with
        ``sync = "quorum"`` commits may wait for it."""
        if role == "leader":
            return state == "running"
        quorum = self.state.topology.sync == "quorum"
        return state == "streaming" and (role == "quorum_standby" or not quorum)

    # -- looking

    async def is_primary(self, node: Node) -> bool:
        return await asyncio.to_thread(self.state.patroni(node).answers, "/primary")

    async def _primaries(self, nodes: Sequence[Node]) -> list[Node]:
        said = await asyncio.gather(*(self.is_primary(n) for n in nodes))
        return [node for node, primary in zip(nodes, said, strict=True) if primary]

    async def leader(self, within_s: float = LEADER_S) -> Node:
        """Who is primary now. Raises ``EngineError`` when nobody says so in time."""
        deadline = time.monotonic() + within_s
        while True:
            if said := await self._primaries(self.state.topology.servers):
                return said[0]
            if time.monotonic() > deadline:
                raise EngineError("no node says that it is the primary")
            await asyncio.sleep(LOOK_S)

    async def standing(self) -> dict[str, tuple[str, str]]:
        """Each member's role and state, as the first node to answer knows them."""
        for node in self.state.topology.servers:
            try:
                said = await asyncio.to_thread(self.state.patroni(node).cluster)
            except EngineError:
                continue
            rows = members(said)
            return {
                str(m["name"]): (str(m.get("role")), str(m.get("state")))
                for m in rows
                if "name" in m
            }
        return {}
