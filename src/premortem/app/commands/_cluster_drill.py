"""What the cluster's drills share: start, play, judge, write, show."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from premortem.app.commands._base import (
    FAILED_ITS_BAR,
    FINE,
    Usage,
    check_writable,
    make_folder,
    new_console,
    run,
)

if TYPE_CHECKING:
    from premortem.app.drill_view import DrillView
    from premortem.drills.cluster_play import Plan, Played, WatchFactory
    from premortem.drills.cluster_stack import ClusterStack
    from premortem.drills.stack import SiteProcesses
    from premortem.pipeline import Tick

__all__ = [
    "EVERYWHERE",
    "USUAL_LOAD",
    "Asked",
    "Door",
    "Load",
    "Wanted",
    "drill",
    "perform",
    "rehearse",
]

CALM_S = 12.0
"""Before the fault: the baseline needs ten seconds of quarantine."""
USERS_PER_S_MAX = 200.0
SECONDS_MAX = 600.0

Door = Literal["pooler", "proxy"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What every drill of the cluster can be told."""

    cluster: Annotated[
        bool, Parameter(help="On a cluster of three servers (there is no other way).")
    ] = False
    json_file: Annotated[
        Path | None, Parameter(name="--json", help="Also write the result here.")
    ] = None
    folder: Annotated[Path | None, Parameter(help="Where the report goes; made if missing.")] = None
    seed: Annotated[int, Parameter(help="Seed of the users' arrivals and choices.")] = 1
    live: Annotated[bool, Parameter(help="Draw a live view when the output is a terminal.")] = True


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The users of a drill whose load is not the matter."""

    seconds: Annotated[float | None, Parameter(help="How long users come, from the fault on.")] = (
        None
    )
    users_per_s: Annotated[
        float, Parameter(name="--users", help="Users per second, about 2.2 requests each.")
    ] = 8.0


EVERYWHERE, USUAL_LOAD = Asked(), Load()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One drill, as it was asked for."""

    drill: str
    asked: Asked
    load: Load = USUAL_LOAD
    door: Door = "pooler"

    def check(self) -> Path:
        """The folder of the report. Raises ``Usage``."""
        if not self.asked.cluster:
            raise Usage(
                f"premortem drill {self.drill} needs a cluster: add --cluster (it starts one)"
            )
        if self.load.seconds is not None and not 5 <= self.load.seconds <= SECONDS_MAX:
            raise Usage(f"--seconds {self.load.seconds:g}: from 5 to {SECONDS_MAX:g}")
        if not 0.5 <= self.load.users_per_s <= USERS_PER_S_MAX:
            raise Usage(f"--users {self.load.users_per_s:g}: from 0.5 to {USERS_PER_S_MAX:g}")
        stamp = time.strftime("%Y%m%d-%H%M%S")
        where = self.asked.folder or Path(f"premortem-drill-{self.drill}-{stamp}")
        make_folder(where)
        if self.asked.json_file is not None:
            check_writable(self.asked.json_file)
        return where


def drill(wanted: Wanted) -> int:
    """Play one of the faults and say whether its bars were met."""
    from premortem.drills.cluster_faults import FAULTS  # noqa: PLC0415 - keeps --help fast

    known = FAULTS[wanted.drill]

    async def work(view: DrillView, where: Path) -> dict[str, Any]:
        from premortem.drills.clients import poisson  # noqa: PLC0415
        from premortem.drills.cluster_play import Plan  # noqa: PLC0415

        after_s = wanted.load.seconds or known.seconds
        plan = Plan(
            known.name,
            [poisson(CALM_S + after_s, wanted.load.users_per_s)],
            CALM_S,
            known.fault,
            lasts_s=min(known.lasts_s, max(1.0, after_s - known.after_s)),
            door=wanted.door,
            seed=wanted.asked.seed,
        )
        about = {
            "title": known.title,
            "what": _first_line(known.fault),
            "zero": "the fault",
            "to_name": known.causes,
        }

        async def ready(stack: ClusterStack) -> tuple[Plan, Mapping[str, Any]]:
            return plan, about

        return await rehearse(wanted, ready, view, where, namespaces=known.namespaces)

    return perform(wanted, work)


def perform(wanted: Wanted, work: Callable[..., Any]) -> int:
    """Run ``work(view, folder)`` under a live view, print its table; the exit code."""
    from premortem.app.drill import new_view  # noqa: PLC0415

    where = wanted.check()
    console = new_console()
    with new_view(console, live=wanted.asked.live) as view:
        result = run(work(view, where))
    _print(console, result, where)
    if wanted.asked.json_file is not None:
        wanted.asked.json_file.write_text(json.dumps(result, indent=2) + "\n")
    return FINE if result["met"] else FAILED_ITS_BAR


def _first_line(fault: object) -> str:
    return (fault.__doc__ or "").strip().splitlines()[0].replace("``", "`")


async def rehearse(
    wanted: Wanted,
    ready: Callable[[ClusterStack], Any],
    view: DrillView,
    where: Path,
    *,
    namespaces: bool = False,
    watch: WatchFactory | None = None,
    pinned: bool = False,
) -> dict[str, Any]:
    """Start a cluster, ask ``ready`` what to play on it, play it, write what happened.

    ``pinned``: the servers have cores of their own, as they must where load is the matter.
    """
    from premortem.app.loop import wall_clock  # noqa: PLC0415
    from premortem.drills.cluster_play import play  # noqa: PLC0415
    from premortem.drills.cluster_stack import ClusterStack  # noqa: PLC0415
    from premortem.drills.cores import claimed  # noqa: PLC0415
    from premortem.drills.stack import Layout, layout, usable_cpus  # noqa: PLC0415

    plan_of_cores = layout(usable_cpus()) if pinned else Layout(None, None, None)
    began = time.monotonic()
    async with claimed(usable_cpus(), lambda: view.stage("another drill is under way: waiting")):
        view.stage("starting a cluster of three servers of its own and the shop on it")
        async with ClusterStack.start(
            "shop", say=view.stage, namespaces=namespaces, layout=plan_of_cores
        ) as stack:
            view.stage(f"the cluster is ready after {time.monotonic() - began:.0f} s")
            plan, about = await ready(stack)
            with _keeper(wanted.drill, where) as keep:
                played = await play(
                    stack, plan, watch or _watch, keep=keep, show=view.progress, clock=wall_clock()
                )
            view.stage("counting what was acknowledged, removing the cluster")
    result = _result(wanted, plan, about, played, time.monotonic() - began)
    _write(where, result, played)
    return result


def _keeper(name: str, where: Path) -> AbstractContextManager[Callable[[Tick], None]]:
    from premortem.app.keep import Keeper  # noqa: PLC0415

    return Keeper(f"cluster-{name}", recording=where / "recording.jsonl", history=None)


def _watch(stack: ClusterStack, web: SiteProcesses) -> AsyncGenerator[Tick, None]:
    """The watch over a site on a cluster: it looks and proposes."""
    from premortem.app.assemble import new_pipeline, remedies  # noqa: PLC0415
    from premortem.app.loop import Watch  # noqa: PLC0415
    from premortem.drills.cluster_faults import move  # noqa: PLC0415
    from premortem.remedies.policy import Policy  # noqa: PLC0415
    from premortem.remedies.switchover import ClusterHands  # noqa: PLC0415

    hands = ClusterHands(move=move(stack))
    return Watch(stack.sources(web), new_pipeline(), Policy(), remedies(), hands).ticks()


def _result(
    wanted: Wanted, plan: Plan, about: Mapping[str, Any], played: Played, took_s: float
) -> dict[str, Any]:
    from premortem import __version__  # noqa: PLC0415
    from premortem.drills.cluster_score import figures, goodput_rps, judge, met  # noqa: PLC0415

    record = played.record
    found: dict[str, Any] = {
        "drill": wanted.drill,
        "premortem": __version__,
        **about,
        "door": plan.door,
        "cap": plan.cap,
        "users_per_s": wanted.load.users_per_s,
        "seed": wanted.asked.seed,
        **played.facts,
        **played.writes,
        **figures(
            seconds=record.seconds,
            events=record.events,
            zero=record.ramp_at,
            fault_at=record.ramp_at + plan.fault_at_s,
            gap=(played.gap.start, played.gap.end),
            causes=about["to_name"],
            tier=about.get("to_name_tier", ""),
            final=played.clients,
        ),
        "write_problems": list(played.write_problems),
        "took_s": round(took_s, 1),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(terse=True)},
    }
    if "hold_s" in about:
        found["goodput_rps"] = goodput_rps(record.seconds, *about["hold_s"])
    judged = judge(wanted.drill, found)
    bars = [
        {"figure": j.bar.figure, "text": j.bar.text, "unit": j.bar.unit, "most": j.bar.most,
         "value": j.value, "met": j.met}
        for j in judged
    ]  # fmt: skip
    return found | {"bars": bars, "met": met(judged)}


def _write(where: Path, result: Mapping[str, Any], played: Played) -> None:
    from premortem.drills.cluster_report import page, postmortem  # noqa: PLC0415

    (where / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    (where / "postmortem.md").write_text(postmortem(result, played.record))
    (where / "report.html").write_text(page(result, played.record))
    lines = [
        {"at": e.at, "kind": e.kind, "who": e.who, "text": e.text, "data": dict(e.data)}
        for e in played.record.events
    ]
    text = "".join(json.dumps(line, default=str) + "\n" for line in lines)
    (where / "events.jsonl").write_text(text)


def _print(console: Any, result: Mapping[str, Any], where: Path) -> None:
    from rich.table import Table  # noqa: PLC0415

    from premortem.drills.cluster_report import rows, told  # noqa: PLC0415

    table = Table(title=f"{result['title']} ({result['door']})", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for label, value in rows(result):
        table.add_row(label, value)
    console.print(table)
    for bar in result["bars"]:
        mark = "✓" if bar["met"] else "✗"
        value, most = (told(bar[name], bar["unit"]) for name in ("value", "most"))
        text = f"{mark} {bar['text']}: {value} (at most {most})"
        console.print(text, highlight=False, markup=False)
    if not result["clients_valid"]:
        console.print(f"! the load generator was in trouble: {result['clients_reason']}")
    console.print(f"report: {where / 'report.html'}", highlight=False)
