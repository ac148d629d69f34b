"""`premortem drill`: calibrate, play the outage twice, write what happened."""

from __future__ import annotations

import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from premortem import __version__
from premortem.app.assemble import new_pipeline, remedies, site_sources
from premortem.app.drill_view import DrillView
from premortem.app.keep import Keeper
from premortem.app.loop import Watch, wall_clock
from premortem.drills.calibrate import (
    Calibration,
    Trial,
    TrialResult,
    calibrate,
    remeasured,
)
from premortem.drills.cores import claimed
from premortem.drills.play import MODES, Played, play
from premortem.drills.report import render
from premortem.drills.scenario import SEED, Timeline, timeline
from premortem.drills.sites import site as rehearsal_site
from premortem.drills.stack import Layout, SiteProcesses, Stack, layout, usable_cpus
from premortem.drills.trial import perform as perform_trial
from premortem.engines.leash import Leash
from premortem.incidents.postmortem import draft
from premortem.incidents.record import AS_IT_HAPPENED, PROTECTED, Record
from premortem.model import Event
from premortem.pipeline import Tick
from premortem.remedies._hands import Hands
from premortem.remedies.policy import Policy
from premortem.store import Store

__all__ = ["DrillOptions", "Outcome", "drill"]

DRILL_POLICY = Policy(
    act=True, allow=("shed", "cap_pool", "cancel_blocker", "terminate_idle"), again_after_s=60.0
)
"""On its own rehearsal premortem may do all it knows; on a real site it proposes until allowed."""


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """What the person asked for."""

    scenario: str
    folder: Path
    speed_min_per_s: float = 2.5
    seed: int = 1
    site_port: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result and where it was written."""

    result: dict[str, Any]
    folder: Path


async def drill(options: DrillOptions, view: DrillView) -> Outcome:
    """Run the whole drill. Raises ``EngineError`` and its kin with one line when it cannot."""
    line = timeline(options.speed_min_per_s)
    plan = layout(usable_cpus())
    async with claimed(plan.all, lambda: view.stage("another drill is under way: waiting for it")):
        result = await _both(options, line, plan, view)
    return Outcome(result, options.folder)


async def _both(
    options: DrillOptions, line: Timeline, plan: Layout, view: DrillView
) -> dict[str, Any]:
    began = time.monotonic()
    with Leash() as leash, _scratch(leash) as scratch:
        view.stage(f"starting a PostgreSQL of its own and the {options.scenario}")
        async with Stack.start(
            options.scenario, scratch, plan, leash=leash, site_port=options.site_port
        ) as stack:
            view.stage("calibrating: raising the arrival rate until goodput stops rising")
            found = await _calibrate(stack, view, options.seed)
            view.stage(
                f"knee: {found.knee_rps:.0f} requests/s, {found.knee_users_per_s:.0f} users/s, "
                f"{found.cap} in flight"
            )
            played, later = [], []
            for name in MODES:
                if name == PROTECTED:
                    later.append(await _plateau(stack, found, view, options.seed + 100))
                played.append(await _play(stack, name, line, found, options, view))
            later.append(await _plateau(stack, found, view, options.seed + 200))
            version = await _server_version(stack)
    result = _result(options, line, found, later, played, version, time.monotonic() - began)
    _write(options.folder, result, [replace(p.record, knee_rps=result["knee_rps"]) for p in played])
    return result


class _scratch:
    """A temporary folder that the leash removes even if we are killed."""

    def __init__(self, leash: Leash) -> None:
        self._leash = leash

    def __enter__(self) -> Path:
        self._path = Path(tempfile.mkdtemp(prefix="premortem-"))
        self._path.chmod(0o755)  # the database's unprivileged user must reach its folder below
        self._leash.hold_folder(self._path)
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


async def _calibrate(stack: Stack, view: DrillView, seed: int) -> Calibration:
    guarded = MODES[PROTECTED]
    async with stack.serve(
        mode=guarded.database_access, pool_size=18, threads=guarded.threads, cap=8
    ) as site:
        hands = Hands(guard_url=site.url, guard_token=site.token)

        async def perform(trial: Trial) -> TrialResult:
            await hands.set_guard({"cap": trial.cap})
            result = await perform_trial(stack, site.url, trial, seed)
            view.trial(result)
            return result

        return await calibrate(perform)


async def _plateau(stack: Stack, found: Calibration, view: DrillView, seed: int) -> TrialResult:
    """Measure the knee again on a fresh guarded site: a shared machine drifts."""
    view.stage("measuring the knee again")
    guarded = MODES[PROTECTED]
    async with stack.serve(
        mode=guarded.database_access,
        pool_size=found.cap + 2,
        threads=guarded.threads,
        cap=found.cap,
    ) as site:
        result = await perform_trial(stack, site.url, found.plateau, seed)
    view.trial(result)
    return result


async def _play(
    stack: Stack,
    name: str,
    line: Timeline,
    found: Calibration,
    options: DrillOptions,
    view: DrillView,
) -> Played:
    view.stage(
        "run A: the outage as it happened"
        if name == AS_IT_HAPPENED
        else "run B: the same surge with premortem"
    )
    letter = "a" if name == AS_IT_HAPPENED else "b"
    with Keeper(
        f"{options.scenario}-{letter}",
        recording=options.folder / f"recording-{letter}.jsonl",
        history=options.folder / "history.db",
    ) as keep:
        return await play(
            stack,
            MODES[name],
            line,
            found,
            _make_watch,
            seed=options.seed,
            keep=keep,
            show=view.progress,
            clock=wall_clock(),
        )


def _make_watch(
    stack: Stack, site: SiteProcesses, mode: str, found: Calibration
) -> AsyncGenerator[Tick, None]:
    protected = mode == PROTECTED
    sources = site_sources(
        url=site.url + rehearsal_site(stack.scenario).probe,
        dsn=stack.database.monitor_dsn,
        guard_url=site.url if protected else None,
        guard_token=site.token if protected else "",
        db_cores=len(stack.layout.database) if stack.layout.database else None,
        db_pid=lambda: stack.database.pid,
        web_pids=site.pids,
    )
    watch = Watch(
        sources,
        new_pipeline(),
        policy=DRILL_POLICY if protected else Policy(),
        remedies=remedies() if protected else {},
        hands=Hands(site.url, site.token, None, found.cap) if protected else Hands(),
    )
    return watch.ticks()


async def _server_version(stack: Stack) -> str:
    rows = await stack.query("SHOW server_version")
    return str(rows[0][0])


def _result(
    options: DrillOptions,
    line: Timeline,
    found: Calibration,
    later: list[TrialResult],
    played: list[Played],
    server_version: str,
    took_s: float,
) -> dict[str, Any]:
    knee_rps, low, high = remeasured(found, later)
    return {
        "scenario": options.scenario,
        "premortem": __version__,
        "knee_rps": round(knee_rps, 1),
        "knee_rps_quartiles": [round(low, 1), round(high, 1)],
        "knee_rps_before": round(found.knee_rps, 1),
        "knee_journeys_per_s": round(found.knee_users_per_s, 2),
        "requests_per_journey": round(found.requests_per_journey, 3),
        "cap_in_flight": found.cap,
        "seed": {
            "named_min": SEED.named_min,
            "mitigated_min": SEED.mitigated_min,
            "recovered_min": SEED.recovered_min,
        },
        "speed_min_per_s": line.speed_min_per_s,
        "took_s": round(took_s, 1),
        "machine": {
            "cpus": os.cpu_count(),
            "system": platform.platform(terse=True),
            "python": platform.python_version(),
            "postgresql": server_version,
        },
        "clients_valid": [bool(p.clients.get("valid")) for p in played],
        "clients_reason": [p.clients.get("reason") for p in played],
        "runs": [
            p.score.as_dict() | {"shadow": _shadow(p)} if p.shadow else p.score.as_dict()
            for p in played
        ],
    }


def _shadow(played: Played) -> dict[str, Any]:
    """What the same readings would have told, had anybody looked."""
    ramp_at = played.record.ramp_at

    def first(kind: str) -> Event | None:
        return next((e for e in played.shadow if e.kind == kind and e.at >= ramp_at), None)

    warned, named = first("signal"), first("diagnosis")
    return {
        "detected_s": None if warned is None else round(warned.at - ramp_at, 2),
        "named_s": None if named is None else round(named.at - ramp_at, 2),
        "tier": None if named is None else named.data.get("tier"),
        "cause": None if named is None else named.data.get("cause"),
    }


def _write(folder: Path, result: dict[str, Any], records: list[Record]) -> None:
    with Store.open(folder / "history.db") as store:
        store.add_load_run(result["scenario"], records[0].ramp_at, result)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    for letter, record in zip("ab", records, strict=True):
        (folder / f"postmortem-{letter}.md").write_text(draft(record))
        events = [
            {"at": e.at, "kind": e.kind, "who": e.who, "text": e.text, "data": dict(e.data)}
            for e in record.events
        ]
        lines = "".join(json.dumps(e, default=str) + "\n" for e in events)
        (folder / f"events-{letter}.jsonl").write_text(lines)
        (folder / f"seconds-{letter}.csv").write_text(_csv(record.seconds))
    (folder / "report.html").write_text(render(result, records))


def _csv(rows: Sequence[Mapping[str, float]]) -> str:
    """The seconds as a table, for whoever wants to draw their own."""
    names = list(rows[0]) if rows else []
    lines = [",".join(names), *(",".join(f"{r[n]:g}" for n in names) for r in rows)]
    return "\n".join(lines) + "\n"


def new_view(console: Console, *, live: bool) -> DrillView:
    """The view for this console; without a terminal, a line per event."""
    return DrillView(console, live and console.is_terminal)
