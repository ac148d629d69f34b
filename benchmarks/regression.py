"""Is a release that bears 20 % less found, and is one that did not change left alone?

``python -m benchmarks.regression [--json] [--only NAME] [--state FILE] [--runs 16]``

Real: planted sites (see ``_planted``) as old release, as new release, and the old release once
more; all three are loaded in turn by what ``premortem load compare`` runs. Each real
run is used once: four against four, the fewest that it accepts, make the real comparisons.

Resampled: the same test on samples drawn from those measured values, ``DRAWS`` times, at four and
at eight runs a side: its power for the planted drop, and how often it flags no change. For the
latter both sides are drawn from the runs of one release. These are resampled measurements, not
further runs. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._planted_sites import Rig, go_first
from benchmarks._planted_sites import Site as Planted
from premortem.app.load_compare import Plan, compared, measure_pairs
from premortem.app.load_compare import Sides as Values
from premortem.app.load_config import LoadConfig
from premortem.app.load_run import mute_forked_children
from premortem.app.load_target import Aim
from premortem.engines.leash import Leash
from premortem.load.journey import Choice, Plain
from premortem.load.requests import Settings

DRAWS = 2000
RUN_S = 2.0
POWER_MIN, FLAGGED_MAX = 0.9, 0.05
REAL_RUNS = 4
"""Runs a side of a real comparison."""


@dataclass(frozen=True, slots=True)
class Case:
    """A site before and after, and what is measured of it."""

    name: str
    measure: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    rate: float = 100.0


def _workers(hold_ms: float) -> tuple[str, ...]:
    return ("--kind", "workers", "--slots", "8", "--hold-ms", str(hold_ms))


CASES = (
    # a request that needs a quarter more bears a fifth less: 1 / 1.25 = 0.8; the slots are held
    # long, so that what the server itself takes (about a millisecond) does not thin the drop
    Case("slots_capacity", "capacity", _workers(40.0), _workers(50.0)),
    Case(
        "cpu_capacity", "capacity",
        ("--kind", "cpu", "--hold-ms", "2"), ("--kind", "cpu", "--hold-ms", "2.5"),
    ),
    Case("slots_p95", "p95", _workers(40.0), _workers(50.0)),
)  # fmt: skip


async def pooled(
    case: Case, rig: Rig, runs: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Values of the old release, of it once more, and of the new one, measured in turn."""
    plan = Plan(case.measure, REAL_RUNS, RUN_S, case.rate, 16, 0.05, 1)
    found: dict[str, list[float]] = {"old": [], "again": [], "new": []}
    sites = [
        Planted(case.name, None, None, argv) for argv in (case.before, case.before, case.after)
    ]
    async with contextlib.AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(rig.started(site)))[0] for site in sites]
        aims = [_aim(url) for url in urls]
        for number in range(runs // REAL_RUNS):
            for side, which in (("again", 1), ("new", 2)):
                values = await measure_pairs(
                    aims[0], aims[which], _seeded(plan, number), lambda *a: None
                )
                found["old"] += values.baseline
                found[side] += values.candidate
                say(f"  {side}: {_words(values.baseline)} against {_words(values.candidate)}")
    return found


def _seeded(plan: Plan, number: int) -> Plan:
    return Plan(
        plan.measure,
        plan.pairs,
        plan.seconds,
        plan.rate,
        plan.crowd,
        plan.smallest_effect,
        number + 1,
    )


def _words(values: Sequence[float]) -> str:
    return f"{median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def _aim(url: str) -> Aim:
    table = LoadConfig(stop_failed_share=1.0)
    settings = Settings(timeout_s=10.0, retries=0, drain_s=2.0)
    return Aim("planted", url, url, "/", (Choice(Plain("/")),), (), table, settings=settings)


def verdict_of(case: Case, baseline: Sequence[float], candidate: Sequence[float]) -> str:
    plan = Plan(case.measure, len(baseline), RUN_S, case.rate, 16, 0.05, 1)
    return compared(Values(tuple(baseline), tuple(candidate)), plan).verdict


def real(case: Case, found: dict[str, list[float]]) -> dict[str, Any]:
    """The comparisons as they were made, four runs against four."""
    blocks = len(found["new"]) // REAL_RUNS
    changed, unchanged = [], []
    for number in range(blocks):
        part = slice(number * REAL_RUNS, (number + 1) * REAL_RUNS)
        # the old release ran eight times a block: first beside itself, then beside the new one
        first = number * 2 * REAL_RUNS
        beside_itself = found["old"][first : first + REAL_RUNS]
        beside_new = found["old"][first + REAL_RUNS : first + 2 * REAL_RUNS]
        changed.append(verdict_of(case, beside_new, found["new"][part]))
        unchanged.append(verdict_of(case, beside_itself, found["again"][part]))
    return {
        "changed": changed,
        "unchanged": unchanged,
        "found": sum(v == "worse" for v in changed) / max(1, len(changed)),
        "flagged": sum(v in ("worse", "better") for v in unchanged) / max(1, len(unchanged)),
    }


def resampled(case: Case, found: dict[str, list[float]], runs: int) -> dict[str, float]:
    """Power and false alarms of the same test on draws from the measured values."""
    dice = random.Random(1)
    unchanged = [*found["old"], *found["again"]]
    hits = flags = 0
    for _ in range(DRAWS):
        old = dice.choices(found["old"], k=runs)
        hits += verdict_of(case, old, dice.choices(found["new"], k=runs)) == "worse"
        same = dice.sample(unchanged, 2 * runs)
        flags += verdict_of(case, same[:runs], same[runs:]) in ("worse", "better")
    return {"runs": runs, "power": hits / DRAWS, "flagged": flags / DRAWS}


def judged(cases: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """The figures of all cases measured so far."""
    known = [case for case in CASES if case.name in cases]
    results = {
        case.name: {
            "drop": 1.0 - median(cases[case.name]["new"]) / median(cases[case.name]["old"]),
            "real": real(case, cases[case.name]),
            "resampled": [resampled(case, cases[case.name], runs) for runs in (4, 8)],
        }
        for case in known
    }
    usual = [r["resampled"][1] for r in results.values()]
    changed = [v for r in results.values() for v in r["real"]["changed"]]
    unchanged = [v for r in results.values() for v in r["real"]["unchanged"]]
    figures = {
        "power_resampled": min((u["power"] for u in usual), default=0.0),
        "flagged_resampled": max((u["flagged"] for u in usual), default=1.0),
        "power_real": sum(v == "worse" for v in changed) / max(1, len(changed)),
        "flagged_real": sum(v in ("worse", "better") for v in unchanged) / max(1, len(unchanged)),
        "real_comparisons": len(changed) + len(unchanged),
        "not_measured": [case.name for case in CASES if case.name not in cases],
    }
    figures["ok"] = bool(
        not figures["not_measured"]
        and min(figures["power_resampled"], figures["power_real"]) >= POWER_MIN
        and max(figures["flagged_resampled"], figures["flagged_real"]) <= FLAGGED_MAX
    )
    return {**figures, "cases": results, "values": cases}


async def play(
    cases: Sequence[Case], runs: int, keep: Callable[[str, dict[str, list[float]]], None],
    say: Callable[[str], None],
) -> None:  # fmt: skip
    cpus = sorted(os.sched_getaffinity(0))[:2]
    go_first()
    os.sched_setaffinity(0, {cpus[-1]})
    mute_forked_children()
    with tempfile.TemporaryDirectory(prefix="premortem-regression-") as name, Leash() as leash:
        rig = Rig(Path(name), leash, None, (cpus[0], cpus[-1]))
        for case in cases:
            say(case.name)
            keep(case.name, await pooled(case, rig, runs, say))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument("--only", default="", help="cases by name, with commas")
    parser.add_argument("--state", type=Path, help="keep values here from call to call")
    parser.add_argument("--runs", type=int, default=16, help="of each release; a multiple of four")
    wanted = parser.parse_args()
    known: dict[str, dict[str, list[float]]] = {}
    if wanted.state is not None and wanted.state.exists():
        known = json.loads(wanted.state.read_text())

    def keep(name: str, values: dict[str, list[float]]) -> None:
        known[name] = values
        if wanted.state is not None:
            wanted.state.write_text(json.dumps(known))

    only = {name for name in wanted.only.split(",") if name}
    cases = [case for case in CASES if not only or case.name in only]
    say: Callable[[str], None] = lambda text: None if wanted.json else print(text, flush=True)  # noqa: E731
    asyncio.run(play(cases, wanted.runs, keep, say))
    result = judged(known)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
