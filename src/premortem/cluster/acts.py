"""Performs the steps that `steps` decides, on real processes and servers, each within its time."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import psycopg

from premortem.cluster.state import State
from premortem.cluster.steps import Outcome, Script, Step
from premortem.cluster.topology import BadTopology, Node
from premortem.cluster.units import adopt, kill_all, postmaster, remains, units
from premortem.engines import haproxy
from premortem.engines.errors import EngineError
from premortem.engines.etcd import EtcdClient
from premortem.engines.patroni import members

__all__ = ["Acts", "play"]

LOOK_S = 0.05
"""Between two looks while waiting for a change: small against the second a switchover takes."""

HEALTHY = (("leader", "running"), ("replica", "streaming"))
Say = Callable[[str], None]


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
    _asked: dict[str, asyncio.Task[str]] = field(default_factory=dict)

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
        wanted = [u for u in units(self.state, node.name) if u.kind == "patroni"]
        for proc in adopt(wanted).values():
            proc.signal(signal.SIGKILL, group=True)
        kill_all(remains(self.state.data(node)), within_s)

    async def _verify_dead(self, step: Step) -> None:
        node = self.state.topology.node(step.node)
        left = await asyncio.to_thread(self._left, node)
        if left:
            raise EngineError(f"{left} processes of {node.name} are still there")

    def _left(self, node: Node) -> int:
        wanted = [u for u in units(self.state, node.name) if u.kind == "patroni"]
        return len(remains(self.state.data(node))) + len(adopt(wanted))

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
        data = self.state.data(node)
        wanted = [u for u in units(self.state, node.name) if u.kind == "patroni"]
        for proc in adopt(wanted).values():
            proc.signal(signal.SIGKILL, group=True)
        pid = postmaster(data)
        if pid is not None:
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + within_s
        while remains(data):
            if time.monotonic() > deadline:
                raise EngineError(f"{node.name} did not stop within {within_s:g} s")
            time.sleep(0.01)

    async def _ask_switchover(self, step: Step) -> None:
        """Ask Patroni, and go on as soon as the new primary says it is one."""
        leader, to = await self.leader(), self.state.topology.node(step.node)
        if leader.name == to.name:
            raise EngineError(f"{to.name} is the primary already")
        api = self.state.patroni(leader, 2.0)
        asked = asyncio.create_task(
            asyncio.to_thread(api.switchover, leader.name, to.name, step.within_s)
        )
        deadline = time.monotonic() + step.within_s
        while time.monotonic() < deadline:
            if await self.is_primary(to):
                self._asked["switchover"] = asked  # its answer says nothing new: let it come
                asked.add_done_callback(lambda t: t.exception())
                return
            if asked.done() and asked.exception() is not None:
                raise EngineError(str(asked.exception()))
            await asyncio.sleep(LOOK_S)
        asked.add_done_callback(lambda t: t.exception())
        raise EngineError(f"{to.name} did not become primary within {step.within_s:g} s")

    async def _await_route(self, step: Step) -> None:
        """Until a session through the proxy lands on a writable server (the named one, if any)."""
        deadline = time.monotonic() + step.within_s
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self._lands_on, step.node):
                return
            await asyncio.sleep(LOOK_S)
        raise EngineError(f"the route does not lead to a primary after {step.within_s:g} s")

    def _lands_on(self, name: str) -> bool:
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
            ) as connection:
                row = connection.execute(
                    "SELECT pg_is_in_recovery(), inet_server_port(), host(inet_server_addr())"
                ).fetchone()
        except psycopg.Error:
            return False
        if row is None or row[0]:
            return False
        return node is None or (row[1] == node.postgres_port and row[2] == node.address)

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
        """Until the node itself says that it runs, and the others that it leads or streams."""
        node = self.state.topology.node(step.node)
        api = self.state.patroni(node)
        for _ in range(int(step.within_s / (LOOK_S * 2))):
            itself = await asyncio.to_thread(api.answers, "/health")
            if itself and (await self.standing()).get(step.node) in HEALTHY:
                return
            await asyncio.sleep(LOOK_S * 2)
        raise EngineError(f"{step.node} neither leads nor streams after {step.within_s:g} s")

    # -- looking

    async def is_primary(self, node: Node) -> bool:
        return await asyncio.to_thread(self.state.patroni(node).answers, "/primary")

    async def leader(self) -> Node:
        """Who is primary now. Raises ``EngineError`` when nobody says so."""
        servers = self.state.topology.servers
        said = await asyncio.gather(*(self.is_primary(n) for n in servers))
        for node, primary in zip(servers, said, strict=True):
            if primary:
                return node
        raise EngineError("no node says that it is the primary")

    async def standing(self) -> dict[str, tuple[str, str]]:
        """Each member's role and state, as the first node to answer knows them."""
        for node in self.state.topology.servers:
            try:
                said = await asyncio.to_thread(self.state.patroni(node).cluster)
            except EngineError:
                continue
            rows = members(said)
            return {str(m["name"]): (_role(m), str(m.get("state"))) for m in rows if "name" in m}
        return {}


def _role(member: Mapping[str, object]) -> str:
    return "leader" if member.get("role") == "leader" else "replica"
