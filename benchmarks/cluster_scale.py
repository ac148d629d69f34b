"""What more servers and a pooler give: reads a second with 1, 2, 3 servers, and an overload.

``python -m benchmarks.cluster_scale [--json] [--rounds N]``. All servers share this machine, so
each is held to a quarter of one core; without the quota one server already uses them all and
nothing would scale. Ratios from interleaved rounds; the last line of output is one JSON object.
Exit 1 when a bar is missed. Needs root for the quota.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

import psycopg

from benchmarks._cluster_rig import Rig, local_rig
from benchmarks._quota import quota
from premortem.cluster.topology import Node
from premortem.cluster.units import remains
from premortem.engines.errors import EngineError

SHARE = 0.25
SECONDS = 5
CLIENTS = 300
HOLD_S = 0.2
OVERLOAD_S = 8.0
BARS = {"ratio_2": 1.8, "ratio_3": 2.5, "direct_failed_min": 0.2, "pooled_failed_max": 0.0}


def pgbench(rig: Rig, node: Node, *words: str) -> subprocess.Popen[str]:
    """The benchmark's client, straight to one server."""
    server = ["-h", node.address, "-p", str(node.postgres_port), "-U", "app", "app"]
    return subprocess.Popen(
        [str(rig.state.postgres / "pgbench"), *words, *server],
        env={**os.environ, "PGPASSWORD": rig.state.secrets.app},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def reads_per_s(rig: Rig, nodes: list[Node]) -> float:
    """All named servers read from at once."""
    words = ("-n", "-S", "-M", "prepared", "-c", "4", "-T", str(SECONDS))
    running = [pgbench(rig, n, *words) for n in nodes]
    total = 0.0
    for child in running:
        said = child.communicate(timeout=SECONDS + 30)[0]
        found = re.search(r"tps = ([0-9.]+) \(without", said)
        if found is None:
            raise EngineError(f"pgbench: {said.strip().splitlines()[-1:]}")
        total += float(found[1])
    return total


async def scale(rig: Rig, rounds: int, say: Callable[[str], None]) -> dict[str, object]:
    """Reads a second for 1, 2, 3 servers, and the ratios within each round."""
    leader = await rig.leader()
    child = await asyncio.to_thread(pgbench, rig, leader, "-i", "-q", "-s", "5")
    await asyncio.to_thread(child.communicate)
    await rig.healthy()
    nodes = [n for n in rig.state.topology.servers if n != leader] + [leader]
    found: list[list[float]] = []
    with ExitStack() as held:
        for n in nodes:
            pids = [p.pid for p in remains(rig.state.data(n))]
            held.enter_context(quota(n.name, SHARE, pids))
        await asyncio.to_thread(reads_per_s, rig, nodes)  # warm
        for i in range(rounds):
            found.append([await asyncio.to_thread(reads_per_s, rig, nodes[:k]) for k in (1, 2, 3)])
            say(f"round {i + 1}/{rounds}: {[round(v) for v in found[-1]]} reads/s with 1, 2, 3")
    return {
        "reads_per_s": [round(median(row[k] for row in found)) for k in range(3)],
        "ratio_2": round(median(row[1] / row[0] for row in found), 2),
        "ratio_3": round(median(row[2] / row[0] for row in found), 2),
        "ratio_3_spread": [round(f(row[2] / row[0] for row in found), 2) for f in (min, max)],
        "cpu_share_each": SHARE,
        "rounds": rounds,
    }


async def overload(dsn: str) -> tuple[int, int]:
    """300 clients that connect, hold a session 200 ms, and go; attempts and failures."""
    done = failed = 0
    end = time.monotonic() + OVERLOAD_S

    async def client() -> None:
        nonlocal done, failed
        while time.monotonic() < end:
            try:
                async with await psycopg.AsyncConnection.connect(
                    dsn, autocommit=True, prepare_threshold=None, connect_timeout=30
                ) as connection:
                    await connection.execute(f"SELECT pg_sleep({HOLD_S})")
            except psycopg.Error:
                failed += 1
                await asyncio.sleep(HOLD_S)
            done += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done, failed


async def measure(rounds: int, say: Callable[[str], None]) -> dict[str, object]:
    async with local_rig("quorum") as rig:
        figures = await scale(rig, rounds, say)
        leader = await rig.leader()
        doors = {"direct": rig.state.server_dsn(leader, "app", "app"), "pooled": rig.state.dsn()}
        for name, dsn in doors.items():
            attempts, failed = await overload(dsn)
            figures |= {
                f"{name}_attempts": attempts,
                f"{name}_failed_ratio": round(failed / max(1, attempts), 4),
            }
            say(f"overload {name}: {failed} of {attempts} attempts failed")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.cluster_scale", description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the last line")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    try:
        figures = asyncio.run(measure(args.rounds, say))
    except EngineError as error:
        print(f"benchmarks.cluster_scale: {error}", file=sys.stderr)
        return 3
    met = (
        float(str(figures["ratio_2"])) >= BARS["ratio_2"]
        and float(str(figures["ratio_3"])) >= BARS["ratio_3"]
        and float(str(figures["direct_failed_ratio"])) > BARS["direct_failed_min"]
        and float(str(figures["pooled_failed_ratio"])) <= BARS["pooled_failed_max"]
    )
    print(json.dumps({"benchmark": "cluster_scale", **figures, "bars": BARS, "bars_met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
