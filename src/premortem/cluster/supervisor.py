"""Keeps every process of one host running, fences, and only then releases the leader key.

``python -m premortem.cluster.supervisor FOLDER [--host NAME]``. Without a host it owns all of a
cluster on this machine; with one, that node's processes (or ``front``: proxy and pooler), as one
would run it on each of several machines. When it is killed its twin starts it again within a
second, and it adopts what runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import psycopg

from premortem.cluster import housekeeping, steps
from premortem.cluster.acts import Acts
from premortem.cluster.control import serve
from premortem.cluster.orders import Orders
from premortem.cluster.state import State, load
from premortem.cluster.steps import Heartbeat, watch_over
from premortem.cluster.units import FRONT, Proc, Unit, adopt, postmaster, spawn, units
from premortem.engines.errors import EngineError

__all__ = ["Supervisor", "main"]

LOOK_S = 0.02
"""Between two looks at every process: what died is seen within it. A look costs microseconds."""
RESTART_S_MIN = 0.5
"""Least time between two starts of one unit, so that a crash loop does not eat a core."""
RESTART_S_MAX = 5.0
DYING_S = 0.1
"""How long a server that is killed together with its Patroni may still be there."""
STOP_S = 20.0
"""Patience with a server's own orderly stop (checkpoint) before SIGKILL."""


@dataclass(slots=True)
class Kept:
    """One unit and the process that is it now."""

    unit: Unit
    proc: Proc | None = None
    started_at: float = 0.0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    answered_at: float = 0.0

    @property
    def alive(self) -> bool:
        return self.proc is not None and self.proc.alive()

    def recent_deaths(self, now: float) -> int:
        return sum(1 for at in self.deaths if at > now - steps.CRASH_WINDOW_S)


class Supervisor:
    """The owner of one host's processes. One asyncio task a unit."""

    def __init__(self, state: State, host: str | None) -> None:
        self.state = state
        self.host = host
        self.kept: dict[str, Kept] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.ready = False
        self.stopping = asyncio.Event()
        self.acts = Acts(state, self.start_node, self.say)
        self.switching = asyncio.Lock()
        self.held: set[str] = set()
        """Nodes that a planned script works on: their watchers leave them alone."""

    def say(self, text: str) -> None:
        """One dated line in supervisor.log (our standard output)."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(f"{now} {self.host or 'all'} {text}", flush=True)

    # -- life

    async def run(self) -> None:
        """Adopt what runs, recover, keep everything running until told to stop."""
        for u in units(self.state, self.host):
            self.kept[u.name] = Kept(u)
        await self._adopt()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        if self.front:
            self._task("recover", self._recover)
        for name in self.kept:
            self.keep(name)
        self._task("twin", partial(housekeeping.twin, self))
        self._task("logs", partial(housekeeping.logs, self))
        if self.front:
            self._task("prepare", partial(housekeeping.prepare, self))
            self._task("pause_guard", partial(housekeeping.pause_guard, self))
        async with serve(self.state.run / f"{self.host or 'all'}.sock", Orders(self)):
            await self.stopping.wait()
        await self._stop()

    @property
    def front(self) -> bool:
        """Whether the pooler is ours: then switchovers and RESUME are too."""
        return self.host in (None, FRONT)

    def _task(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self.tasks[name] = asyncio.create_task(self._guarded(name, work))

    async def _guarded(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """A task that fails is said and begun again: nothing here may silently stop looking."""
        while True:
            try:
                await work()
            except (EngineError, OSError, ValueError, psycopg.Error, psutil.Error) as error:
                self.say(f"{name}: {error}")
                await asyncio.sleep(RESTART_S_MIN)
            else:
                return

    async def _recover(self) -> None:
        """Whatever our predecessor left half done: let clients through first of all."""
        await self.acts.play(steps.recover(()))

    async def _adopt(self) -> None:
        found = await asyncio.to_thread(adopt, [k.unit for k in self.kept.values()])
        for name, proc in found.items():
            self.kept[name].proc = proc
            self.kept[name].started_at = self.kept[name].answered_at = time.monotonic()
            self.say(f"adopted {name} (pid {proc.pid})")

    # -- keeping

    def keep(self, name: str) -> None:
        """Begin to look after a unit."""
        kept = self.kept[name]
        keep = self._keep_node if kept.unit.kind == "patroni" else self._keep
        self._task(name, partial(keep, kept))

    def add(self, unit: Unit) -> None:
        """Look after one more unit."""
        self.kept[unit.name] = Kept(unit)
        self.keep(unit.name)

    async def forget(self, name: str) -> None:
        """Stop looking after a unit and end its process."""
        self.tasks.pop(name).cancel()
        kept = self.kept.pop(name)
        await self._end(kept, signal.SIGTERM)

    async def _keep(self, kept: Kept) -> None:
        """etcd, proxy, pooler: start again what died."""
        while True:
            if not kept.alive:
                await self._start(kept)
            await asyncio.sleep(LOOK_S)

    async def _keep_node(self, kept: Kept) -> None:
        """Patroni and the server it holds: start again, or fence."""
        node = self.state.topology.node(kept.unit.host)
        data, looked_at = self.state.data(node), 0.0
        if not kept.alive and not data.exists():
            await self._start(kept)  # a new node: nothing to fence
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            if node.name in self.held:
                continue  # a script is at work on it
            if kept.alive and now - looked_at < 1.0:
                continue
            looked_at = now
            if kept.alive and await asyncio.to_thread(
                self.state.patroni(node).answers, "/liveness"
            ):
                kept.answered_at = time.monotonic()
            await self._judge(kept, data)

    async def _judge(self, kept: Kept, data: Path) -> None:
        now, patroni = time.monotonic(), kept.alive
        if not patroni and kept.proc is not None:
            kept.deaths.append(now)
        seen = Heartbeat(
            patroni=patroni,
            server=postmaster(data) is not None,  # after Patroni: it may have died just before it
            silent_s=now - max(kept.answered_at, kept.started_at),
            deaths=kept.recent_deaths(now),
        )
        ttl_s = self.state.topology.timing.ttl_s
        what = watch_over(seen, ttl_s)
        if what == "start":
            await asyncio.sleep(DYING_S)
            what = watch_over(replace(seen, server=postmaster(data) is not None), ttl_s)
        if what == "start":
            self.say(f"{kept.unit.name} died, its server lives: starting it again")
            await self._start(kept)
        elif what == "fence":
            why = "is silent" if seen.patroni else "is not running"
            self.say(f"{kept.unit.name} {why}: fencing")
            await self._fail_over(kept.unit.host)

    async def _fail_over(self, node: str) -> None:
        pooled = self.front and self.state.pgbouncer is not None
        await self.acts.play(steps.fail_over(node, pooled=pooled))

    async def start_node(self, node: str) -> None:
        """Start a node's Patroni (the step ``start``)."""
        await self._start(self.kept[f"patroni-{node}"])

    async def _start(self, kept: Kept) -> None:
        now = time.monotonic()
        loops = kept.recent_deaths(now)
        wait_s = min(RESTART_S_MAX, RESTART_S_MIN * max(1, loops - 2))
        if kept.proc is not None and now - kept.started_at < wait_s:
            await asyncio.sleep(wait_s - (now - kept.started_at))
        if kept.proc is not None and kept.unit.kind != "patroni":
            kept.deaths.append(now)
            self.say(f"{kept.unit.name} died: starting it again")
        try:
            kept.proc = spawn(kept.unit)
        except EngineError as error:
            self.say(str(error))
        kept.started_at = time.monotonic()

    # -- stopping

    async def _stop(self) -> None:
        """Doors first, replicas next, the primary last, etcd when nobody needs it any more."""
        self.say("stopping")
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        leader = ""
        with contextlib.suppress(EngineError):
            leader = (await self.acts.leader(within_s=1.0)).name
        doors = [k for k in self.kept.values() if k.unit.host == FRONT]
        nodes = [k for k in self.kept.values() if k.unit.kind == "patroni"]
        for group in (
            doors,
            [k for k in nodes if k.unit.host != leader],
            [k for k in nodes if k.unit.host == leader],
            [k for k in self.kept.values() if k.unit.kind == "etcd"],
        ):
            await asyncio.gather(*(self._end(k, signal.SIGTERM) for k in group))
        self.say("stopped")

    async def _end(self, kept: Kept, number: signal.Signals) -> None:
        if kept.proc is None:
            return
        kept.proc.signal(number)
        for _ in range(int(STOP_S / 0.02)):
            if not kept.alive:
                break
            await asyncio.sleep(0.02)
        kept.proc.signal(signal.SIGKILL, group=True)
        if kept.unit.kind == "patroni":
            # never leave a server behind that nobody holds in check
            await self.acts.perform(steps.Step("kill", kept.unit.host, 5.0))


def main() -> int:
    """Run until SIGTERM. Exit 0 when stopped in order, 3 when another one owns the host."""
    parser = argparse.ArgumentParser(prog="premortem.cluster.supervisor")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default=None)
    args = parser.parse_args()
    state = load(args.folder)
    with (state.run / f"{args.host or 'all'}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another supervisor owns this host", flush=True)
            return 3
        asyncio.run(_main(state, args.host))
    return 0


async def _main(state: State, host: str | None) -> None:
    await Supervisor(state, host).run()


if __name__ == "__main__":
    sys.exit(main())
