"""Is the knee found, and what saturates named? Sites with a planted limit, searched.

``python -m benchmarks.knee [--json] [--only NAME,NAME] [--state FILE]``

Every site is real: a web server of its own process, for half of them a real PostgreSQL, each on
its core; the generator and the watch have the other. Each limits one resource (see ``_planted``).
The truth is what a closed loop of more users than slots gets served, a second at a time, right
before and right after the search: no arrivals, no promise, nothing that a search could get wrong.
The search knows only the address and what the watch's own sources read.

``time_ratio`` is the wall time of the search, recovery and all, against the trials alone of a
staircase that begins at half the knee already and climbs in steps of the same precision, each a
full trial long. With ``--state`` results are kept from call to call, so that the sites can be
measured a few at a time. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._planted_sites import CEILING_PER_S, SITES, Rig, Site, database_on, go_first
from premortem.app.assemble import site_sources
from premortem.app.load_config import LoadConfig
from premortem.app.load_run import mute_forked_children
from premortem.app.load_search import Searched, promise_of, search_site
from premortem.app.load_target import Aim
from premortem.engines.leash import Leash
from premortem.engines.processes import Spawned
from premortem.load.journey import Choice, Plain
from premortem.load.knee import Bars, Measured, Trial, trial_seconds
from premortem.load.pace import Constant
from premortem.load.requests import Settings
from premortem.load.spec import Attack
from premortem.load.workers import attack_many

PROMISE = promise_of("p99<300ms")
SEARCH = Bars(
    PROMISE.violation_ratio_max,
    start_per_s=32.0,
    short_s=1.0,
    full_s=6.0,
    rate_max_per_s=CEILING_PER_S,
)
TRUTH_S = 4
"""Seconds of the closed loop, of which the first does not count."""
CROWD = 32
"""More users than any planted site has slots."""
ERROR_MEDIAN_MAX, ERROR_MAX, NAMED_MIN, TIME_RATIO_MAX = 0.05, 0.15, 0.95, 0.5


@dataclass(slots=True)
class Outcome:
    """What the search made of one site."""

    name: str
    resource: str | None
    nominal_per_s: float | None
    truth_per_s: float | None
    truths: list[float] = field(default_factory=list)
    knee_per_s: float | None = None
    low_per_s: float | None = None
    high_per_s: float | None = None
    error: float | None = None
    named: str | None = None
    why: str = ""
    abstained: bool = False
    wall_s: float = 0.0
    trials_s: float = 0.0
    trials: int = 0
    staircase_s: float | None = None


def closed_loop(url: str) -> float:
    """What a crowd that is always there gets served, in users a second."""
    users = (Choice(Plain("/")),)
    plan = Attack(
        url,
        users,
        Constant(0.0, TRUTH_S),
        crowd=CROWD,
        settings=Settings(timeout_s=10.0),
        start_at=time.time() + 0.35,
    )
    tally = attack_many(plan, 1).tally
    return median(tally.seconds[second].served for second in range(1, TRUTH_S))


def staircase_s(knee_per_s: float, bars: Bars) -> float:
    """Time of a plain staircase of the same precision that begins at half the knee."""
    rate, total = knee_per_s / 2.0, 0.0
    while rate <= knee_per_s * (1.0 + bars.precision):
        total += max(bars.full_s, trial_seconds(rate, bars.precision, bars))
        rate *= 1.0 + bars.precision
    return total


async def measure(site: Site, rig: Rig, say: Callable[[str], None]) -> Outcome:
    """Truth, search, truth."""
    found = Outcome(site.name, site.resource, site.nominal_per_s, None)
    bars = Bars(
        SEARCH.violation_ratio_max,
        SEARCH.precision,
        SEARCH.start_per_s,
        site.ceiling_per_s,
        SEARCH.short_s,
        SEARCH.full_s,
    )
    async with rig.started(site) as (url, web):
        if site.has_knee:
            found.truths.append(await asyncio.to_thread(closed_loop, url))
            await asyncio.sleep(1.0)
        begun = time.monotonic()
        searched = await search_site(
            _aim(site, url, web, rig),
            bars,
            PROMISE,
            lambda trial, measured: say(_trial_line(trial, measured)),
        )
        found.wall_s = round(time.monotonic() - begun, 2)
        if site.has_knee:
            await asyncio.sleep(1.0)
            found.truths.append(await asyncio.to_thread(closed_loop, url))
    return _judged(found, searched, bars)


def _trial_line(trial: Trial, measured: Measured) -> str:
    return (
        f"  {trial.purpose:8}{trial.users_per_s:7.1f}/s {measured.seconds:5.1f} s: "
        f"{measured.served_per_s:6.1f}/s served, {measured.violations} in trouble"
    )


def _aim(site: Site, url: str, web: Spawned, rig: Rig) -> Aim:
    database = rig.database if site.database else None
    sources = site_sources(
        url=url, dsn=None if database is None else database.monitor_dsn, guard_url=url, db_cores=1,
        db_pid=None if database is None else lambda: database.pid, web_pids=lambda: (web.pid,),
    )  # fmt: skip
    table = LoadConfig(stop_failed_share=1.0, stop_causes=())
    return Aim(
        "planted", url, url, "/", (Choice(Plain("/")),), tuple(sources), table,
        settings=Settings(timeout_s=10.0, retries=0),
    )  # fmt: skip


def _judged(found: Outcome, searched: Searched, bars: Bars) -> Outcome:
    knee = searched.knee
    found.knee_per_s, found.low_per_s, found.high_per_s = (
        knee.users_per_s,
        knee.low_per_s,
        knee.high_per_s,
    )
    found.abstained, found.trials, found.trials_s = (
        knee.abstained,
        len(knee.trials),
        round(knee.seconds, 2),
    )
    found.named = searched.bottleneck.resource
    found.why = knee.reason if knee.abstained else searched.bottleneck.reason
    if found.truths:
        found.truth_per_s = sum(found.truths) / len(found.truths)
        found.staircase_s = round(staircase_s(found.truth_per_s, bars), 1)
        if found.knee_per_s is not None:
            found.error = abs(found.knee_per_s / found.truth_per_s - 1.0)
    return found


def verdict(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of the bars, over the sites measured so far."""
    planted = [o for o in outcomes if o.resource is not None]
    errors = [o.error if o.error is not None else 1.0 for o in planted]
    ratios = [o.wall_s / o.staircase_s for o in planted if o.staircase_s]
    figures = {
        "sites": len(outcomes),
        "sites_planted": len(planted),
        "knee_error_median": round(median(errors), 4) if errors else None,
        "knee_error_max": round(max(errors), 4) if errors else None,
        "resource_named_right": round(
            sum(o.named == o.resource for o in planted) / max(1, len(planted)), 4
        ),
        "abstained_right": all(o.abstained == (o.resource is None) for o in outcomes),
        "time_ratio": round(
            sum(o.wall_s for o in planted) / max(1e-9, sum(o.staircase_s or 0.0 for o in planted)),
            4,
        ),
        "time_ratio_max": round(max(ratios), 4) if ratios else None,
    }
    missing = sorted({s.name for s in SITES} - {o.name for o in outcomes})
    figures["not_measured"] = missing
    figures["ok"] = bool(
        not missing
        and errors
        and median(errors) <= ERROR_MEDIAN_MAX
        and max(errors) <= ERROR_MAX
        and figures["resource_named_right"] >= NAMED_MIN
        and figures["abstained_right"]
        and figures["time_ratio"] <= TIME_RATIO_MAX
    )
    return {**figures, "measured": [asdict(o) for o in outcomes]}


async def play(
    sites: Sequence[Site], keep: Callable[[Outcome], None], say: Callable[[str], None]
) -> None:
    """Measure the sites one after the other, on two cores that are theirs."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    if len(cpus) < 2:
        raise SystemExit("two cores are needed: one for the site, one for the generator")
    go_first()
    os.sched_setaffinity(0, {cpus[1]})
    mute_forked_children()
    with tempfile.TemporaryDirectory(prefix="premortem-knee-") as name, Leash() as leash:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)  # the database runs as nobody
        async with database_on(folder, leash, cpus[0], any(s.database for s in sites)) as database:
            rig = Rig(folder, leash, database, (cpus[0], cpus[1]))
            for site in sites:
                say(site.name)
                outcome = await measure(site, rig, say)
                keep(outcome)
                say(f"  {_line(outcome)}")


def _line(o: Outcome) -> str:
    if o.knee_per_s is None:
        return f"abstained: {o.why}"
    error = "" if o.error is None else f" (truth {o.truth_per_s:.0f}, error {o.error:.1%})"
    return f"knee {o.knee_per_s:.0f}/s{error}, named {o.named}: {o.why}; {o.wall_s:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument("--only", default="", help="sites by name, with commas")
    parser.add_argument("--state", type=Path, help="keep results here from call to call")
    wanted = parser.parse_args()
    only = {name for name in wanted.only.split(",") if name}
    if unknown := only - {s.name for s in SITES}:
        parser.error(
            f"no such site: {', '.join(unknown)}; there are: {', '.join(s.name for s in SITES)}"
        )
    known: dict[str, Outcome] = {}
    if wanted.state is not None and wanted.state.exists():
        known = {o["name"]: Outcome(**o) for o in json.loads(wanted.state.read_text())}

    def keep(outcome: Outcome) -> None:
        known[outcome.name] = outcome
        if wanted.state is not None:
            wanted.state.write_text(json.dumps([asdict(o) for o in known.values()], indent=1))

    sites = [s for s in SITES if not only or s.name in only]
    asyncio.run(play(sites, keep, lambda text: None if wanted.json else print(text, flush=True)))
    result = verdict([known[s.name] for s in SITES if s.name in known])
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
