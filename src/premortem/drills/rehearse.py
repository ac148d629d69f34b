"""Plays one fault on a running stack: calm, the fault, the mend; and keeps what the watch saw."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from premortem.drills.clients import RETRIES, Clients, poisson
from premortem.drills.faults._fault import Fault, Rig
from premortem.drills.faults._path import lossy_path
from premortem.drills.faults._replica import streaming_replica
from premortem.drills.play import journey_of
from premortem.drills.rehearse_stack import Site, cores_of, serve
from premortem.drills.stack import Layout, Stack
from premortem.model import Event
from premortem.parts import parts
from premortem.pipeline import Tick

__all__ = ["Case", "Played", "Times", "View", "case_of", "fault_names", "rehearse"]

WARM_UP_S = 1.5
"""Between starting the users' process and their first arrival."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long the parts of a case last, in seconds."""

    calm_s: float = 26.0
    """Ten seconds of quarantine, then some samples of what is usual."""
    fault_s: float = 22.0
    after_s: float = 6.0
    settled_s: float | None = None
    """End the fault this long after the true cause was named; ``None``: play it to its end."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault to rehearse, drawn from a seed."""

    name: str
    seed: int
    fault: Fault
    changing: bool
    """Whether traffic rises all the time, from 0.7 to 1.3 of its share, instead of being steady."""


@cache
def fault_names() -> tuple[str, ...]:
    """Every fault there is a file for, in alphabetical order."""
    return tuple(parts("premortem.drills.faults"))


def case_of(name: str, seed: int) -> Case:
    """The case of a name and a seed: always the same. Raises ``ValueError`` for a wrong name."""
    known = parts("premortem.drills.faults")
    if name not in known:
        raise ValueError(f"no fault is called {name!r}: choose one of {', '.join(known)}")
    dice = random.Random(f"{name}-{seed}")
    fault: Fault = known[name].draw(dice)  # type: ignore[attr-defined]
    return Case(name, seed, fault, changing=seed % 2 == 0)


@dataclass(frozen=True, slots=True)
class View:
    """What the watch needs to know of a case's stack."""

    stack: Stack
    site: Site
    plan: Layout
    probe_host: str
    """Where users reach the site."""
    guarded: bool
    deploys: Sequence[Mapping[str, object]]


WatchFactory = Callable[[View], AsyncGenerator[Tick, None]]


@dataclass(slots=True)
class Played:
    """One case as it went. Times in seconds since the epoch."""

    onset: float = 0.0
    until: float = 0.0
    first_failure: float | None = None
    """When the first user failed after the onset, to the second."""
    users: int = 0
    failed: int = 0
    events: list[Event] = field(default_factory=list)


async def rehearse(
    stack: Stack,
    case: Case,
    times: Times,
    make_watch: WatchFactory,
    *,
    knee_users_per_s: float,
    keep: Callable[[Tick], None],
    say: Callable[[str], None],
    clock: Callable[[], float],
) -> Played:
    """Play one case. Raises ``EngineError`` or ``ClientsFailed``."""
    kind = case.fault.site
    plan = cores_of(kind, stack.layout)
    if plan.clients is not None:
        os.sched_setaffinity(0, plan.clients)
    deploys: list[Mapping[str, object]] = []
    async with AsyncExitStack() as running:
        path = (
            await running.enter_async_context(lossy_path(stack, plan)) if kind.lossy_path else None
        )
        replica = (
            await running.enter_async_context(streaming_replica(stack, plan))
            if kind.replica
            else None
        )
        await running.enter_async_context(_settings(stack, kind.settings))
        site = await running.enter_async_context(serve(stack, kind, plan))
        host = path.host if path else "127.0.0.1"
        crowd = _Crowd(stack, plan, f"http://{host}:{site.web.port}", case, kind.cache, running)
        rig = Rig(
            stack=stack,
            web=site.web,
            switches_file=site.switches_file,
            knee_users_per_s=knee_users_per_s,
            users=crowd.more,
            deploys=deploys,
            clock=clock,
            dice=random.Random(case.seed),
            path=path,
            replica_dsn=replica,
            switches=site.switches,
        )
        share = kind.load_share * knee_users_per_s
        pace = _pace(share, times, changing=case.changing)
        start = clock() + WARM_UP_S
        users = await crowd.start(pace, start, kind.retries)
        watch = make_watch(View(stack, site, plan, host, kind.guard != "absent", deploys))
        running.push_async_callback(watch.aclose)
        return await _Run(case, times, rig, users, watch, keep, say, clock, start).play()


def _pace(users_per_s: float, times: Times, *, changing: bool) -> list[dict[str, Any]]:
    whole = times.calm_s + times.fault_s + times.after_s + 20  # the mend may take a while
    if not changing:
        return [poisson(whole, users_per_s)]
    return [poisson(whole, 0.7 * users_per_s, 1.3 * users_per_s)]


class _settings:
    """The database with other settings for one case: restarted before and after."""

    def __init__(self, stack: Stack, wanted: Mapping[str, str]) -> None:
        self._stack, self._wanted = stack, wanted
        self._before = stack.database.settings

    async def __aenter__(self) -> None:
        if self._wanted:
            self._stack.database.settings = {**self._before, **self._wanted}
            await self._stack.database.restart("fast")

    async def __aexit__(self, *_: object) -> None:
        if self._wanted:
            self._stack.database.settings = self._before
            await self._stack.database.restart("fast")


@dataclass(slots=True)
class _Crowd:
    """Starts users; ends them with the case."""

    stack: Stack
    plan: Layout
    url: str
    case: Case
    popular: bool
    running: AsyncExitStack

    async def start(
        self, pace: Sequence[Mapping[str, Any]], start_at: float | None, retries: int = RETRIES
    ) -> Clients:
        journey = journey_of(self.stack.scenario)
        if self.popular:
            journey = journey.replace(".journey:", ".popular:")
        clients = await Clients.start(
            base_url=self.url,
            journey=journey,
            pace=pace,
            folder=self.stack.folder,
            name=f"users-{secrets.token_hex(4)}",
            seed=self.case.seed,
            start_at=start_at,
            cpus=self.plan.clients,
            leash=self.stack.leash,
            retries=retries,
        )
        self.running.push_async_callback(clients.stop)
        return clients

    async def more(self, pace: Sequence[Mapping[str, Any]], retries: int = RETRIES) -> None:
        """Send more users, unobserved."""
        clients = await self.start(pace, None, retries)
        reading = asyncio.create_task(_drain(clients))
        self.running.callback(reading.cancel)


async def _drain(clients: Clients) -> None:
    """Read what nobody looks at, so that the pipe does not fill."""
    stream = clients.child.process.stdout
    while stream is not None and await stream.readline():
        pass


@dataclass(slots=True)
class _Run:
    """The inside of one case."""

    case: Case
    times: Times
    rig: Rig
    users: Clients
    watch: AsyncGenerator[Tick, None]
    keep: Callable[[Tick], None]
    say: Callable[[str], None]
    clock: Callable[[], float]
    start: float
    played: Played = field(default_factory=Played)
    named: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self) -> Played:
        try:
            await self._all()
        except ExceptionGroup as group:  # the first one tells what went wrong
            raise group.exceptions[0] from None
        return self.played

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look())
            following = group.create_task(self._follow())
            await asyncio.sleep(max(0.0, self.start + self.times.calm_s - self.clock()))
            await self._break()
            await asyncio.sleep(self.times.after_s)
            looking.cancel()
            following.cancel()

    async def _break(self) -> None:
        self.played.onset = self.clock()
        self._event(f"the fault begins: {self.case.fault.words}")
        async with self.case.fault.inject(self.rig):
            await self._long_enough()
            self.played.until = self.clock()
            self._event("the fault ends")
        self._event("all is mended")

    def _event(self, text: str) -> None:
        self.say(text)
        self.played.events.append(Event(self.clock(), "phase", text, "drill"))

    async def _long_enough(self) -> None:
        """Until the fault's time is over, or it has been named for long enough."""
        left = self.played.onset + self.times.fault_s - self.clock()
        wait = self.times.settled_s
        if wait is None:
            await asyncio.sleep(max(0.0, left))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.named.wait(), max(0.0, left))
            left = self.played.onset + self.times.fault_s - self.clock()
            await asyncio.sleep(max(0.0, min(wait, left)))

    async def _look(self) -> None:
        async for tick in self.watch:
            self.keep(tick)
            right = tick.diagnosis.cause == self.case.fault.expects.cause
            if right and self.played.onset:
                self.named.set()

    async def _follow(self) -> None:
        async for row in self.users.seconds():
            self.played.users += row["offered"]
            self.played.failed += row["failed"]
            at = self.start + row["second"] + 1.0
            began = self.played.onset and at > self.played.onset
            if row["failed"] and began and self.played.first_failure is None:
                self.played.first_failure = at
