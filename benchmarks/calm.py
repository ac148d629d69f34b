"""Healthy but noisy life on real servers: does premortem hold its tongue?

``python -m benchmarks.calm --json [--minutes 30] [--pieces 5] [--folder F] [--piece N]`` plays the
pieces that F does not hold yet (``--piece``: only this one) and prints the figures over all that F
holds. A piece is a day of a guarded shop in some minutes: traffic in the shape of a day, a surge
to 0.8 of the knee, a backup, a vacuum, a release, a lost cache, clients on a slow line, at random
times from its number. ``--replay F`` judges F's recordings anew with the causes as they are now.
The last line of output is one JSON object.

On a machine that does other work too, give the benchmark the first say on the cores
(``chrt --rr 1 python -m benchmarks.calm …``): a site without CPU is not in good health.

A page is what ``premortem watch`` would send (``app/notify.py``): a named cause that holds for 3 s.
``wrong_confirmed`` counts every cause that was confirmed at all, be it for a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks._calm_judge import figures, judge_piece
from benchmarks._calm_life import Life, life, pace
from benchmarks._calm_noise import Noise
from premortem.app.drill_fault import Bench, bench, make_watch
from premortem.app.keep import Keeper
from premortem.app.loop import wall_clock
from premortem.drills.clients import Clients, ClientsFailed
from premortem.drills.faults._fault import SiteKind
from premortem.drills.play import journey_of
from premortem.drills.rehearse import View
from premortem.drills.rehearse_stack import Site, serve
from premortem.engines.errors import EngineError
from premortem.pipeline import Tick

WARM_UP_S = 2.0
"""Between starting the users' process and their first arrival."""


def main(argv: Sequence[str] | None = None) -> int:
    """Play, judge, print. Returns 1 when a bar was missed, 3 when the stack did not start."""
    wanted = _arguments().parse_args(argv)
    folder: Path = wanted.replay or wanted.folder
    folder.mkdir(parents=True, exist_ok=True)
    if wanted.replay is None:
        try:
            asyncio.run(_play(folder, wanted))
        except (EngineError, ClientsFailed) as error:
            print(f"calm: {error}", file=sys.stderr)
            return 3
    pieces = [judge_piece(file) for file in sorted(folder.glob("piece-*.json"))]
    result = figures(pieces)
    if not wanted.json:
        _print(result)
    print(json.dumps(result))
    return 0 if pieces and not result["missed"] else 1


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.calm", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    parser.add_argument("--minutes", type=float, default=30.0, help="of all pieces together")
    parser.add_argument("--pieces", type=int, default=5, help="days that are played")
    parser.add_argument("--piece", type=int, help="play only this one")
    parser.add_argument("--folder", type=Path, default=Path("calm-recordings"))
    parser.add_argument("--replay", type=Path, help="judge this folder's recordings again")
    return parser


async def _play(folder: Path, wanted: argparse.Namespace) -> None:
    numbers = [wanted.piece] if wanted.piece else range(1, wanted.pieces + 1)
    missing = [n for n in numbers if not (folder / f"piece-{n}.json").exists()]
    if not missing:
        return
    async with bench(_say) as on:
        for number in missing:
            await _piece(on, folder, number, life(number, 60 * wanted.minutes / wanted.pieces))


def _say(text: str) -> None:
    print(f"calm: {text}", file=sys.stderr, flush=True)


async def _piece(on: Bench, folder: Path, number: int, day: Life) -> None:
    _say(f"piece {number}: {day.seconds / 60:.1f} minutes")
    kind, plan, clock = SiteKind(cache=day.cached), on.stack.layout, wall_clock()
    deploys: list[Any] = []
    async with serve(on.stack, kind, plan) as site:
        start = clock() + WARM_UP_S
        users = await _users(on, site, number, day, start)
        watch = make_watch(View(on.stack, site, plan, "127.0.0.1", True, deploys))
        noise = Noise(on.stack, site, deploys, clock)
        try:
            with Keeper(f"calm-{number}", recording=folder / f"piece-{number}.jsonl",
                        history=None) as keep:  # fmt: skip
                happened = await _live(day, noise, users, watch, keep, start)
        finally:
            await users.stop()
            await watch.aclose()
    final = users.final
    kept = {
        "piece": number,
        "start": start,
        "seconds": day.seconds,
        "cached": day.cached,
        "knee_users_per_s": round(on.knee_users_per_s, 1),
        "users": {k: final[k] for k in ("offered", "served", "refused", "failed") if k in final},
        "p99_ms": final["response_ms"]["p99"],
        "seconds_failed": [
            r["second"] for r in final["arrived"] if r["offered"] > r["served"] + r["refused"]
        ],
        "events": happened,
    }
    (folder / f"piece-{number}.json").write_text(json.dumps(kept, indent=1) + "\n")


async def _users(on: Bench, site: Site, number: int, day: Life, start: float) -> Clients:
    journey = journey_of(on.stack.scenario)
    return await Clients.start(
        base_url=site.web.url,
        journey=journey.replace(".journey:", ".popular:") if day.cached else journey,
        pace=pace(day, on.knee_users_per_s),
        folder=on.stack.folder,
        name=f"calm-{number}",
        seed=number,
        start_at=start,
        cpus=on.stack.layout.clients,
        leash=on.stack.leash,
    )


async def _live(
    day: Life,
    noise: Noise,
    users: Clients,
    watch: AsyncGenerator[Tick, None],
    keep: Keeper,
    start: float,
) -> list[dict[str, Any]]:
    """Let the day pass; returns what happened when, in seconds from its start."""
    happened: list[dict[str, Any]] = []

    async def look() -> None:
        async for tick in watch:
            keep(tick)

    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look())
        following = group.create_task(users.finish())
        for happening in sorted(day.happenings, key=lambda h: h.at_s):
            await asyncio.sleep(max(0.0, start + happening.at_s - noise.clock()))
            began = noise.clock() - start
            await noise.make(happening)
            ended = noise.clock() - start
            happened.append(
                asdict(happening) | {"at_s": round(began, 1), "until_s": round(ended, 1)}
            )
            _say(f"{began:.0f} to {ended:.0f} s: {happening.kind}")
        await following
        looking.cancel()
    return happened


def _print(result: dict[str, Any]) -> None:
    print(f"{result['minutes']} minutes of healthy life: {result['pages']} pages, "
          f"{result['wrong_confirmed']} causes confirmed, a suspicion held "
          f"{result['suspected_share']:.1%} of the time")  # fmt: skip
    for event in result["events"]:
        heard = ", ".join([*event["confirmed"], *event["suspected"]]) or "nothing"
        print(f"  piece {event['piece']}, {event['kind']}: {heard}")


if __name__ == "__main__":
    sys.exit(main())
