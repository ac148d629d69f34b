"""Plays the timeline once on a real stack and keeps what happened.

Three things go on at once: users arrive (a process of their own), the watch looks on, and the
operators of the seeds do what they did at their compressed minutes. What happened is kept as a
:class:`~premortem.incidents.record.Record`, a recording, and the figures of ``score``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.drills.calibrate import Calibration
from premortem.drills.clients import Clients, poisson
from premortem.drills.scenario import SEED, Step, Timeline
from premortem.drills.score import RunScore, Second, score
from premortem.drills.sites import site
from premortem.drills.stack import SiteProcesses, Stack
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED, Record
from premortem.model import Event, State
from premortem.pipeline import Tick

__all__ = ["MODES", "Mode", "Played", "Progress", "WatchFactory", "play"]

WARM_UP_S = 2.0
"""Between starting the clients and their first arrival: an interpreter starts in this time."""

ALERT_SHARE = 0.9
"""The seeds' monitoring alerted when 100 % of the users were out; 90 % within a second is that,
with room for one lucky user."""

ALERT_USERS_MIN = 5
"""Fewer users than this in a second are no outage of a site."""

RESTART_SHARE = 0.4
"""Of the seeds' 30 minutes between the restart and normal operation, how long the database is
away: shutting an overloaded server down and bringing it back takes minutes, not seconds."""

ADDED_WORKERS = 2
"""What the operators add: three web processes instead of one."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How the site is run."""

    name: str
    database_access: str
    threads: int
    guarded: bool


MODES: Mapping[str, Mode] = {
    # A connection per request, as a site with CONN_MAX_AGE=0 does, from as many threads as the
    # team once raised them to "so that pages do not queue".
    AS_IT_HAPPENED: Mode(AS_IT_HAPPENED, "connection_per_request", 80, guarded=False),
    PROTECTED: Mode(PROTECTED, "pool", 80, guarded=True),
}

WatchFactory = Callable[[Stack, SiteProcesses, str, Calibration], AsyncGenerator[Tick, None]]
"""Makes the watch over a running stack, given the mode. Injected: the loop is the app's."""


@dataclass(slots=True)
class Progress:
    """What a person watching a run sees; updated in place, drawn by whoever likes."""

    mode: str
    ramp_at: float = 0.0
    """Seconds since the epoch; events are drawn relative to it."""
    t: float = 0.0
    phase: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)
    tick: Tick | None = None
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Played:
    """One run: its record, its figures, and the events premortem would have written unseen."""

    record: Record
    score: RunScore
    shadow: tuple[Event, ...]
    """What the pipeline made of the readings of the run as it happened, where nobody looked."""
    clients: Mapping[str, Any]


@dataclass(slots=True)
class _Run:
    """The mutable inside of one run."""

    mode: Mode
    line: Timeline
    ramp_at: float
    progress: Progress
    show: Callable[[Progress], None]
    clock: Callable[[], float]
    events: list[Event] = field(default_factory=list)
    shadow: list[Event] = field(default_factory=list)
    sessions: list[tuple[float, float, float, float]] = field(default_factory=list)
    ledger: list[tuple[float, Mapping[str, State]]] = field(default_factory=list)
    alerted: bool = False
    named_ledger: tuple[Any, ...] = ()

    def say(self, kind: str, text: str, who: str, **data: object) -> None:
        event = Event(self.clock(), kind, text, who, data)
        self.events.append(event)
        self.progress.events.append(event)


async def play(
    stack: Stack,
    mode: Mode,
    line: Timeline,
    found: Calibration,
    make_watch: WatchFactory,
    *,
    seed: int,
    keep: Callable[[Tick], None],
    show: Callable[[Progress], None],
    clock: Callable[[], float],
) -> Played:
    """Play the timeline in one mode. Raises ``EngineError`` or ``ClientsFailed``."""
    pool = found.cap + 2  # the cap stays below the pool: health checks and admin pages get through
    async with stack.serve(
        mode=mode.database_access,
        pool_size=pool,
        threads=mode.threads,
        cap=found.cap if mode.guarded else 0,
    ) as web:
        ramp_at = clock() + WARM_UP_S - line.start_s
        progress = Progress(mode.name, ramp_at)
        run = _Run(mode, line, ramp_at, progress, show, clock)
        name = f"clients-{mode.name}"
        clients = await Clients.start(
            base_url=web.url,
            journey=journey_of(stack.scenario),
            pace=pace(line, found.knee_users_per_s),
            folder=stack.folder,
            name=name,
            seed=seed,
            start_at=ramp_at + line.start_s,
            cpus=stack.layout.clients,
            leash=stack.leash,
        )
        watch = make_watch(stack, web, mode.name, found)
        try:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(_look(run, watch, keep))
                operating = group.create_task(_operate(run, stack, web))
                phases = group.create_task(_phases(run))
                await _follow(run, clients)
                for task in (looking, operating, phases):
                    task.cancel()
        finally:
            await clients.stop()
            await watch.aclose()
    lost, acknowledged = await _count(stack, stack.folder / f"{name}.acknowledged.jsonl")
    return _conclude(run, clients, found, pool, acknowledged, lost, stack.scenario)


def journey_of(scenario: str) -> str:
    """Where the scenario's journey is: ``module:function``."""
    return f"premortem.drills.sites.{scenario}.journey:journey"


def pace(line: Timeline, knee_users_per_s: float) -> list[dict[str, Any]]:
    """The timeline's phases as arrivals in users per second."""
    return [
        poisson(p.end_s - p.start_s, p.from_share * knee_users_per_s, p.to_share * knee_users_per_s)
        for p in line.phases
    ]


# -- the three things that go on at once


async def _follow(run: _Run, clients: Clients) -> None:
    async for row in clients.seconds():
        run.progress.row = row
        run.progress.t = run.clock() - run.ramp_at
        done = row["served"] + row["refused"] + row["failed"]
        if (
            not run.alerted
            and run.mode.name == AS_IT_HAPPENED
            and done >= ALERT_USERS_MIN
            and row["failed"] >= ALERT_SHARE * done
        ):
            run.alerted = True
            share = row["failed"] / done
            run.say(
                "operator",
                f"the monitoring alerts: {share:.0%} of the users of the last second failed",
                "monitoring",
                action="alert",
                share=round(share, 3),
            )
        run.show(run.progress)


async def _look(run: _Run, watch: AsyncGenerator[Tick, None], keep: Callable[[Tick], None]) -> None:
    async for tick in watch:
        keep(tick)
        _take(run, tick)
        run.show(run.progress)


def _take(run: _Run, tick: Tick) -> None:
    t = tick.now - run.ramp_at
    run.progress.tick = tick
    run.progress.t = t
    seen: dict[str, float] = {}
    for reading in tick.readings:
        seen.update(reading.values)
    if "db.sessions.active" in seen:
        used, active = seen.get("db.connections.used", 0.0), seen["db.sessions.active"]
        run.sessions.append(
            (round(t, 1), active, max(used - active, 0.0), seen.get("db.connections.max", 0.0))
        )
    states = tick.diagnosis.states()
    if not run.ledger or dict(run.ledger[-1][1]) != dict(states):
        run.ledger.append((round(t, 1), states))
    if tick.diagnosis.cause is not None and not run.named_ledger:
        run.named_ledger = tick.diagnosis.ledger
    if run.mode.name == PROTECTED:
        run.events.extend(tick.events)
        run.progress.events.extend(tick.events)
    else:
        run.shadow.extend(tick.events)


async def _operate(run: _Run, stack: Stack, web: SiteProcesses) -> None:
    if run.mode.name != AS_IT_HAPPENED:
        return
    for step in run.line.steps:
        await asyncio.sleep(max(0.0, run.ramp_at + step.at_s - run.clock()))
        run.say(
            "operator",
            step.text,
            "operators",
            action=step.action,
            tier=step.tier,
            minute=step.minute,
        )
        await _do(step, run, stack, web)


async def _do(step: Step, run: _Run, stack: Stack, web: SiteProcesses) -> None:
    if step.action == "add_workers":
        await web.add(ADDED_WORKERS)
        run.say(
            "effect",
            f"{len(web.children)} web processes serve the site instead of 1",
            "operators",
            workers=len(web.children),
        )
    elif step.action == "restart_database":
        began = run.clock()
        away_s = RESTART_SHARE * (SEED.recovered_min - SEED.mitigated_min)
        await stack.database.restart("fast", down_s=away_s / run.line.speed_min_per_s)
        took = run.clock() - began
        run.say(
            "effect",
            f"the database is back after {took:.1f} s, every session it had is gone",
            "operators",
            took_s=round(took, 1),
        )


async def _phases(run: _Run) -> None:
    words = {
        "calm": "users arrive at {from_share:.0%} of the knee",
        "ramp": "the surge begins: from {from_share:.0%} to {to_share:.0%} of the knee",
        "hold": "the surge is at {to_share:.0%} of the knee",
        "after": "the surge is over: {to_share:.0%} of the knee again",
    }
    for phase in run.line.phases:
        await asyncio.sleep(max(0.0, run.ramp_at + phase.start_s - run.clock()))
        run.progress.phase = phase.name
        text = words[phase.name].format(from_share=phase.from_share, to_share=phase.to_share)
        name = "surge_end" if phase.name == "after" else phase.name
        run.say(
            "phase", text, "drill", phase=name, from_share=phase.from_share, to_share=phase.to_share
        )


# -- afterwards


async def _count(stack: Stack, acknowledged: Path) -> tuple[int, int]:
    """(lost, acknowledged): ids the clients were told are stored, and how many are not."""
    ids = [json.loads(line)["id"] for line in _lines(acknowledged)]
    rows = await stack.query(site(stack.scenario).acknowledged_count_sql, {"ids": ids})
    return len(ids) - int(rows[0][0]), len(ids)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _seconds(clients: Clients, line: Timeline) -> tuple[Second, ...]:
    """Users by the second they arrived in, requests by the second they ended in; 0 is the ramp's
    start. Users whose fate was open when the clients stopped count as failed."""
    done = {row["second"]: row for row in clients.rows}
    shift = round(line.start_s)
    return tuple(
        Second(
            t=row["second"] + shift,
            offered=row["offered"],
            served=row["served"],
            refused=row["refused"],
            failed=row["offered"] - row["served"] - row["refused"],
            requests_ok=done.get(row["second"], {}).get("requests_ok", 0),
            attempts=done.get(row["second"], {}).get("attempts", 0),
        )
        for row in clients.final["arrived"]
    )


def _conclude(
    run: _Run,
    clients: Clients,
    found: Calibration,
    pool: int,
    acknowledged: int,
    lost: int,
    scenario: str,
) -> Played:
    final = clients.final
    seconds = _seconds(clients, run.line)
    failed_at = final.get("first_failed_at")
    first_failure_s = None if failed_at is None else round(failed_at - run.ramp_at, 2)
    if failed_at is not None:
        run.events.append(
            Event(failed_at, "phase", "the first user fails", "drill", {"phase": "first_failure"})
        )
    run.events.sort(key=lambda e: e.at)
    figures = score(
        mode=run.mode.name,
        line=run.line,
        seconds=seconds,
        events=run.events,
        ramp_at=run.ramp_at,
        requests_per_journey=found.requests_per_journey,
        first_failure_s=first_failure_s,
        acknowledged=acknowledged,
        lost=lost,
        p50_ms=final["response_ms"]["p50"],
        p99_ms=final["response_ms"]["p99"],
    )
    _mark_end(run, figures)
    settings: dict[str, object] = {"threads": run.mode.threads}
    if run.mode.guarded:
        settings |= {"cap": found.cap, "pool_size": pool}
    record = Record(
        mode=run.mode.name,
        ramp_at=run.ramp_at,
        seconds=tuple(_row(s) for s in seconds),
        sessions=tuple(run.sessions),
        events=tuple(run.events),
        ledger=tuple(run.ledger),
        final_ledger=tuple(run.named_ledger),
        scenario=scenario,
        result=figures.as_dict() | {"settings": settings},
        knee_rps=found.knee_rps,
        speed_min_per_s=run.line.speed_min_per_s,
    )
    return Played(record, figures, tuple(run.shadow), final)


def _mark_end(run: _Run, figures: RunScore) -> None:
    """Write the moment of recovery into the timeline, where there was one."""
    after = run.line.phase("after").start_s
    if figures.recovered_s is not None:
        at = run.ramp_at + after + figures.recovered_s
    elif figures.recovered_after_restart_s is not None:
        restart = next(s.at_s for s in run.line.steps if s.action == "restart_database")
        at = run.ramp_at + restart + figures.recovered_after_restart_s
    else:
        return
    run.events.append(
        Event(at, "phase", "the users are served again", "drill", {"phase": "recovered"})
    )
    run.events.sort(key=lambda e: e.at)


def _row(second: Second) -> dict[str, float]:
    return {
        "t": second.t,
        "offered": second.offered,
        "served": second.served,
        "refused": second.refused,
        "failed": second.failed,
        "requests_ok": second.requests_ok,
        "attempts": second.attempts,
    }
