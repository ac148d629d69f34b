"""Will more web servers help? Predicted for the drill's shop by the plan's model, then tried.

``python -m benchmarks.more_web [--json] [--pairs 20] [--seconds 4]``

The shop runs on a real PostgreSQL, each on its core. A load test gives its curve: visitors
from 1 to 80, every one always with a request under way. From that curve, and from what a
request costs the web server's processor, the model of ``premortem plan`` says what a surge gets
with one web server and with two. Then both are tried in turn under a surge that fills every slot of
two servers, a few seconds each because the machine's pace drifts, and compared as ``premortem load
compare`` does. It helped if that calls the change better, and did not if the upper end of the
interval is less than what matters; between the two nobody can tell. The prediction holds when it is
what was seen. The last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks._planted_sites import go_first
from premortem.app.load_run import mute_forked_children
from premortem.capacity.intervals import peak
from premortem.capacity.site import Capacity, Database, Site, capacity
from premortem.capacity.usl import Curve, fit
from premortem.drills.stack import SiteProcesses, Stack, layout, usable_cpus
from premortem.engines.leash import Leash
from premortem.load.attack import Result
from premortem.load.compare import compare, interleaved
from premortem.load.journey import journeys_from
from premortem.load.pace import Constant
from premortem.load.requests import Settings
from premortem.load.spec import Attack
from premortem.load.workers import attack_many
from premortem.sources._processes import cpu_s, tree

JOURNEY = "benchmarks.more_web:page"
SLOTS = 24
"""Threads, and connections of the pool, of one web server: those of all three that run at once, one
alone and two together, fit into the database's 100 connections."""
CROWDS = (1, 2, 4, 8, 12, 16, 24, 32, 40, 56, 80)
CURVE_S = 3
WARM_S = 1
SMALLEST = 0.05
"""A change that matters: adding a server for less is not help."""


async def page(user: Any) -> None:
    """One page of the shop, then the next visitor comes: always a request under way."""
    await user.get(f"/category/{user.random.randint(1, 16)}", name="browse")


def crowd_of(url: str, crowd: int, seconds: float, seed: int, cpus: Sequence[int] | None) -> Result:
    """A closed loop of visitors."""
    plan = Attack(
        url,
        journeys_from(JOURNEY),
        Constant(0.0, seconds),
        crowd=crowd,
        seed=seed,
        settings=Settings(timeout_s=10.0, retries=0, drain_s=3.0),
        cpus=None if cpus is None else tuple(cpus),
        start_at=time.time() + 0.35,
    )
    return attack_many(plan, 1)


def served_per_s(result: Result, seconds: int) -> float:
    """Requests answered in a second, the first second left out."""
    rows = [r for s, r in result.tally.seconds.items() if WARM_S <= s < seconds]
    return sum(r.requests_ok for r in rows) / max(1, len(rows))


async def curve_of(stack: Stack, say: Callable[[str], None]) -> tuple[Curve, float]:
    """The load test: throughput against requests in flight, and processor seconds a request costs
    the web server."""
    points: list[tuple[float, float]] = []
    most = CROWDS[-1]
    async with stack.serve(mode="pool", pool_size=most, threads=most, cap=0) as site:
        await asyncio.to_thread(crowd_of, site.url, 8, 2, 1, stack.layout.clients)  # warm caches
        spent, requests = 0.0, 0
        for crowd in CROWDS:
            before = web_cpu_s(site)
            result = await asyncio.to_thread(
                crowd_of, site.url, crowd, CURVE_S, crowd, stack.layout.clients
            )
            spent += web_cpu_s(site) - before
            requests += result.tally.total("requests_ok")
            points.append((float(crowd), served_per_s(result, CURVE_S)))
            say(f"  {crowd:3d} in flight: {points[-1][1]:6.1f} requests/s")
    loads, throughputs = zip(*points, strict=True)
    return Curve(tuple(loads), tuple(throughputs)), spent / max(1, requests)


def web_cpu_s(site: SiteProcesses) -> float:
    return sum(cpu_s(pid) for pid in tree(site.pids()))


def predicted(curve: Curve, web_s: float, servers: int) -> Capacity:
    """What the plan's model says of a surge."""
    fitted = fit(curve)
    database = Database.measured(curve, fitted.usl, peak(curve, fitted, seed=1))
    site = Site(
        database, web_servers=servers, web_processes=1, pool_size=SLOTS, web_cpu_s=web_s,
        max_connections=100,
    )  # fmt: skip
    return capacity(site)


async def tried(
    stack: Stack, pairs: int, seconds: int, say: Callable[[str], None]
) -> tuple[list[float], list[float]]:
    """The surge on one web server and on two, in turn."""
    values: dict[str, list[float]] = {"baseline": [], "candidate": []}

    async def load(site: SiteProcesses, for_s: float, seed: int) -> Result:
        return await asyncio.to_thread(
            crowd_of, site.url, 2 * SLOTS, for_s, seed, stack.layout.clients
        )

    async with (
        stack.serve(mode="pool", pool_size=SLOTS, threads=SLOTS, cap=0) as one,
        stack.serve(mode="pool", pool_size=SLOTS, threads=SLOTS, cap=0) as two,
    ):
        await two.add(1)
        await asyncio.sleep(1.5)  # the second one has to import and to open its pool
        for site in (one, two):
            await load(site, 2.0, 1)
        for number, side in enumerate(interleaved(pairs, seed=1)):
            result = await load(one if side == "baseline" else two, seconds, number // 2)
            values[side].append(served_per_s(result, seconds))
            servers = 1 if side == "baseline" else 2
            say(f"  {servers} web server(s): {values[side][-1]:6.1f} requests/s")
    return values["baseline"], values["candidate"]


async def measure(pairs: int, seconds: int, say: Callable[[str], None]) -> dict[str, Any]:
    mute_forked_children()
    go_first()
    with tempfile.TemporaryDirectory(prefix="premortem-web-") as name, Leash() as leash:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)
        async with Stack.start("shop", folder, layout(usable_cpus()), leash=leash) as stack:
            curve, web_s = await curve_of(stack, say)
            one, two = (predicted(curve, web_s, servers) for servers in (1, 2))
            say(f"predicted: {one.surge_per_s} with one, {two.surge_per_s} with two")
            before, after = await tried(stack, pairs, seconds, say)
    return judged(curve, web_s, one, two, before, after)


def judged(
    curve: Curve, web_s: float, one: Capacity, two: Capacity, before: list[float],
    after: list[float],
) -> dict[str, Any]:  # fmt: skip
    """Prediction and outcome beside each other."""
    change = None
    if one.surge_per_s and two.surge_per_s:
        change = two.surge_per_s / one.surge_per_s - 1.0
    seen = compare(before, after, higher_is_better=True, smallest_effect=SMALLEST)
    helps = change is not None and change > SMALLEST
    gain_most = seen.shift_high / median(before)
    helped = True if seen.verdict == "better" else False if gain_most < SMALLEST else None
    return {
        "curve": {"load": list(curve.loads), "throughput": list(curve.throughputs)},
        "web_cpu_ms": round(web_s * 1000.0, 3),
        "predicted": {
            "one": asdict(one), "two": asdict(two), "change_ratio": change, "helps": helps,
        },
        "tried": {
            "one": before, "two": after, "change_ratio": seen.shift_ratio,
            "interval": [seen.shift_low, seen.shift_high], "verdict": seen.verdict,
            "p_value": seen.p_value, "power": seen.power, "gain_most_ratio": gain_most,
            "helped": helped,
        },
        "ok": change is not None and helps == helped,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON object")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=4)
    wanted = parser.parse_args()
    result = asyncio.run(
        measure(
            wanted.pairs, wanted.seconds, lambda t: None if wanted.json else print(t, flush=True)
        )
    )
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
