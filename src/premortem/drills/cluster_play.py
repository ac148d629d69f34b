"""Plays one cluster drill: users on a real site, a fault, the watch, and what became of all.

Times are seconds from ``zero``: the fault, or in the surge the start of its ramp.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from premortem.drills.clients import Clients
from premortem.drills.cluster_faults import Facts, Fault
from premortem.drills.cluster_stack import ClusterStack, Door
from premortem.drills.cluster_writer import Gap, Witness, Writer, longest_gap, overlaps, prepare
from premortem.drills.play import Progress, journey_of
from premortem.drills.sites import site
from premortem.drills.stack import SiteProcesses
from premortem.incidents.record import Record
from premortem.model import Event, State, Verdict
from premortem.pipeline import Tick

__all__ = ["Plan", "Played", "WatchFactory", "play"]

WARM_UP_S = 2.0
"""Between starting the clients and their first arrival: an interpreter starts in this time."""

Clock = Callable[[], float]
WatchFactory = Callable[[ClusterStack, SiteProcesses], AsyncGenerator[Tick, None]]
"""Makes the watch over a site on a cluster. Injected: the loop is the app's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played."""

    name: str
    pace: Sequence[Mapping[str, Any]]
    """Segments of arrivals, in users per second (load.pace)."""
    calm_s: float
    """Before zero, so that there is something to compare with."""
    fault: Fault
    fault_at_s: float = 0.0
    lasts_s: float = 0.0
    door: Door = "pooler"
    cap: int = 0
    """Requests in flight that the site's guard lets in; 0: no guard."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Played:
    """What a run left behind."""

    record: Record
    gap: Gap
    facts: Facts
    writes: Mapping[str, int]
    """``writes_acknowledged``, ``writes_lost``, ``write_errors``, ``orders_…``, ``rows_by_two``."""
    clients: Mapping[str, Any]
    write_problems: tuple[str, ...]


@dataclass(slots=True)
class _Run:
    """The mutable inside of one run."""

    plan: Plan
    zero: float
    progress: Progress
    show: Callable[[Progress], None]
    clock: Clock
    events: list[Event] = field(default_factory=list)
    sessions: list[tuple[float, float, float, float]] = field(default_factory=list)
    ledger: list[tuple[float, Mapping[str, State]]] = field(default_factory=list)
    final_ledger: tuple[Verdict, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def tell(self, kind: str, text: str, who: str, **data: object) -> None:
        self._add(Event(self.clock(), kind, text, who, data))

    def _add(self, *events: Event) -> None:
        self.events.extend(events)
        self.progress.events.extend(events)

    def take(self, tick: Tick) -> None:
        """Keep what a second of the watch brought."""
        t = round(tick.now - self.zero, 1)
        self.progress.tick, self.progress.t = tick, t
        seen = {name: v for r in tick.readings for name, v in r.values.items()}
        if "db.sessions.active" in seen:
            used, active = seen.get("db.connections.used", 0.0), seen["db.sessions.active"]
            limit = seen.get("db.connections.max", 0.0)
            self.sessions.append((t, active, max(used - active, 0.0), limit))
        states = tick.diagnosis.states()
        if not self.ledger or dict(self.ledger[-1][1]) != dict(states):
            self.ledger.append((t, states))
        if tick.diagnosis.cause and t >= 0 and not self.final_ledger:
            self.final_ledger = tick.diagnosis.ledger
        self._add(*tick.events)


async def play(
    stack: ClusterStack,
    plan: Plan,
    make_watch: WatchFactory,
    *,
    keep: Callable[[Tick], None],
    show: Callable[[Progress], None],
    clock: Clock,
) -> Played:
    """Play the plan once. Raises ``EngineError`` or ``ClientsFailed``, perhaps in a group."""
    await prepare(await stack.primary_dsn())
    async with stack.serve(plan.door, plan.cap) as web, AsyncExitStack() as writing:
        zero = clock() + WARM_UP_S + plan.calm_s
        run = _Run(plan, zero, Progress(plan.name, zero), show, clock)
        clients = await _users(stack, web, plan, zero)
        watch = make_watch(stack, web)
        writer, witness = Writer(stack.door(plan.door), clock), _witness(stack, clock)
        try:
            await writing.enter_async_context(writer.writing())
            if witness is not None:
                await writing.enter_async_context(witness.watching())
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(_look(run, watch, keep))
                acting = group.create_task(_act(run, stack))
                await _follow(run, clients)
                until = clock()
                await acting
                looking.cancel()
        finally:
            await clients.stop()
            await watch.aclose()
    await stack.healthy()
    writes = await _writes(stack, plan, writer, witness)
    gap = longest_gap(writer.at, zero + plan.fault_at_s, until)
    problems = tuple(dict.fromkeys(text for _, text in writer.errors))
    return Played(_record(run, clients, plan), gap, run.facts, writes, clients.final, problems)


async def _users(stack: ClusterStack, web: SiteProcesses, plan: Plan, zero: float) -> Clients:
    return await Clients.start(
        base_url=web.url,
        journey=journey_of(stack.scenario),
        pace=plan.pace,
        folder=stack.folder,
        name="users",
        seed=plan.seed,
        start_at=zero - plan.calm_s,
        cpus=stack.layout.clients,
        leash=stack.leash,
    )


def _witness(stack: ClusterStack, clock: Clock) -> Witness | None:
    """Only where servers are cut off from each other can two of them take rows."""
    if not stack.hosts:
        return None
    servers = stack.state.topology.servers
    return Witness({n.name: stack.state.server_dsn(n, "app", "app") for n in servers}, clock)


# -- what goes on at once


async def _follow(run: _Run, clients: Clients) -> None:
    async for row in clients.seconds():
        run.progress.row = row
        run.progress.t = run.clock() - run.zero
        run.show(run.progress)


async def _look(run: _Run, watch: AsyncGenerator[Tick, None], keep: Callable[[Tick], None]) -> None:
    async for tick in watch:
        keep(tick)
        run.take(tick)
        run.show(run.progress)


async def _act(run: _Run, stack: ClusterStack) -> None:
    plan = run.plan
    run.progress.phase = "calm"
    run.tell("phase", "users arrive, nothing is wrong", "drill", phase="calm")
    await asyncio.sleep(max(0.0, run.zero + plan.fault_at_s - run.clock()))
    run.progress.phase = plan.name
    run.facts.update(await plan.fault(stack, run.tell, plan.lasts_s))
    run.progress.phase = "after"


# -- afterwards


async def _writes(
    stack: ClusterStack, plan: Plan, writer: Writer, witness: Witness | None
) -> dict[str, int]:
    """What was acknowledged and what the primary still holds of it."""
    dsn = await stack.primary_dsn()
    ids = [json.loads(line)["id"] for line in _lines(stack.folder / "users.acknowledged.jsonl")]
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        count = site(stack.scenario).acknowledged_count_sql.encode()
        row = await (await connection.execute(count, {"ids": ids})).fetchone()
    found = {
        "orders_acknowledged": len(ids),
        "orders_lost": len(ids) - int(row[0] if row else 0),
        "writes_acknowledged": len(writer.acknowledged),
        "writes_lost": await writer.lost(dsn),
        "write_errors": len(writer.errors),
    }
    return found if witness is None else found | {"rows_by_two": overlaps(witness.took)}


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _record(run: _Run, clients: Clients, plan: Plan) -> Record:
    failed_at = clients.final.get("first_failed_at")
    if failed_at is not None:
        event = Event(failed_at, "phase", "a user fails", "drill", {"phase": "first_failure"})
        run.events.append(event)
    return Record(
        mode=plan.name,
        ramp_at=run.zero,
        seconds=tuple(_seconds(clients, plan)),
        sessions=tuple(run.sessions),
        events=tuple(sorted(run.events, key=lambda e: e.at)),
        ledger=tuple(run.ledger),
        final_ledger=run.final_ledger,
        scenario=f"cluster {plan.name}",
    )


def _seconds(clients: Clients, plan: Plan) -> list[dict[str, float]]:
    """Users by the second they arrived in; who was neither served nor refused has failed."""
    done = {row["second"]: row for row in clients.rows}
    return [
        {
            "t": row["second"] - plan.calm_s,
            "offered": row["offered"],
            "served": row["served"],
            "refused": row["refused"],
            "failed": row["offered"] - row["served"] - row["refused"],
            "requests_ok": done.get(row["second"], {}).get("requests_ok", 0),
            "attempts": done.get(row["second"], {}).get("attempts", 0),
        }
        for row in clients.final["arrived"]
    ]
