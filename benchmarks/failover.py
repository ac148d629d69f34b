"""What users feel when servers die, measured on real servers with acknowledged ids.

``python -m benchmarks.failover [--json] [--trials N] [--only NAME …] [--keep FILE]``. Two writers
insert a numbered row each 10 ms through the pooler. ``gap_s``: the longest silence between two
acknowledgements; ``lost``: acknowledged rows that are gone afterwards; ``errors``: inserts that
failed for the client; ``both``: rows that a second server took while another one still did. With
``--keep`` trials are added to those of earlier runs, so that many may be made a few at a time. The
last line of output is one JSON object. Exit 1 when a bar is missed.

Everything runs on one machine: processes are really killed and namespaces really cut, but all
servers share the machine's cores and disk. The namespace scenarios need root.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psycopg

from benchmarks._cluster_rig import SETTLE_S, Rig, Writers, local_rig
from benchmarks._netns import host_death_sync, partition_primary
from premortem.cluster.units import adopt, units
from premortem.engines.errors import EngineError
from premortem.route.psycopg import Router

ETCD_GONE_S = 40.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial showed."""

    gap_s: float
    lost: int
    errors: int
    both: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a scenario must show; ``None``: not asked."""

    gap_s_median: float | None = None
    gap_s_max: float | None = None
    lost_max: int | None = 0
    lost_min: int = 0
    errors_max: int | None = None


Fault = Callable[[Rig], Awaitable[str]]


async def process_crash(rig: Rig) -> str:
    """kill -9 of the primary's postmaster and Patroni."""
    node = await rig.leader()
    rig.crash(node)
    return node.name


async def stalled_replication(rig: Rig) -> str:
    """The walsenders stop for half a second, then the primary dies with what they hold."""
    node = await rig.leader()
    senders = rig.walsenders(node)
    for p in senders:
        p.suspend()
    await asyncio.sleep(0.5)
    rig.crash(node)
    for p in senders:
        with contextlib.suppress(Exception):  # killed by the fence already
            p.kill()
    return node.name


async def switchover(rig: Rig) -> str:
    """A planned one."""
    return str((await asyncio.to_thread(rig.cluster.switchover))["primary"])


async def etcd_lost(rig: Rig) -> str:
    """Every etcd member stops answering for 40 s."""
    pids = [p.pid for p in adopt([u for u in units(rig.state) if u.kind == "etcd"]).values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(ETCD_GONE_S)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    return f"{len(pids)} members"


async def rolling_restart(rig: Rig) -> str:
    """Every server restarted in turn."""
    await asyncio.to_thread(rig.cluster.rolling_restart)
    return "3 servers"


async def writes_under(rig: Rig, fault: Fault) -> Trial:
    """One fault under writers, until everything is healthy again."""
    await rig.reset()
    writers = Writers(rig.state.dsn())
    async with writers.writing():
        since = time.monotonic()
        note = await fault(rig)
        await acknowledged_again(writers)
        await asyncio.sleep(SETTLE_S)
    gap_s = writers.gap_s(since) if writers.at else float("inf")
    await rig.healthy()
    if writers.errors:
        note += f"; first error: {writers.errors[0][:120]}"
    return Trial(round(gap_s, 3), await rig.lost(writers), len(writers.errors), note=note)


async def acknowledged_again(writers: Writers, within_s: float = 60.0) -> None:
    """Until 50 more rows were acknowledged: the outage, if there was one, is over."""
    await asyncio.sleep(0.3)
    seen = len(writers.at)
    for _ in range(int(within_s / 0.05)):
        if len(writers.at) >= seen + 50:
            return
        await asyncio.sleep(0.05)


async def replica_lost(rig: Rig) -> Trial:
    """A replica dies under readers that use the router."""
    await rig.reset()
    await asyncio.sleep(SETTLE_S)  # a replica that may be stale need not know the new table yet
    leader = await rig.leader()
    victim = next(n for n in rig.state.topology.servers if n != leader)
    errors: list[str] = []
    at, done = [time.monotonic()], asyncio.Event()

    def read() -> None:
        with Router(rig.state.dsn(), rig.state.dsn(replicas=True)) as router:
            while not done.is_set():
                try:
                    router.read("SELECT count(*) FROM writes", stale_s_max=5.0)
                    at.append(time.monotonic())
                except psycopg.Error as error:
                    errors.append(f"{type(error).__name__}: {error}"[:120])
                time.sleep(0.01)

    readers = [asyncio.create_task(asyncio.to_thread(read)) for _ in range(2)]
    await asyncio.sleep(SETTLE_S)
    rig.crash(victim)
    await asyncio.sleep(4.0)
    done.set()
    await asyncio.gather(*readers)
    await rig.healthy()
    gap_s = max(b - a for a, b in itertools.pairwise(at))
    note = f"{victim.name}, {len(at)} reads{'; first error: ' + errors[0] if errors else ''}"
    return Trial(round(gap_s, 3), 0, len(errors), note=note)


SYNC: dict[str, Fault] = {
    "process_crash_sync": process_crash,
    "switchover": switchover,
    "etcd_lost": etcd_lost,
    "rolling_restart": rolling_restart,
}
BARS = {
    "process_crash_sync": Bar(gap_s_median=3.0, gap_s_max=5.0),
    "stalled_replication_async": Bar(lost_max=None, lost_min=1),
    "switchover": Bar(gap_s_max=3.0, errors_max=0),
    "host_death_sync": Bar(gap_s_max=25.0),
    "partition_primary": Bar(),
    "etcd_lost": Bar(gap_s_max=1.0, errors_max=0),
    "replica_lost": Bar(errors_max=0),
    "rolling_restart": Bar(errors_max=0),
}
"""etcd_lost allows a second of silence where 0 s are asked: two inserts are never closer than
10 ms and a loaded machine may pause everybody."""


async def run(name: str, trials: int, say: Callable[[str], None]) -> list[Trial]:
    """All trials of one scenario."""
    if name == "host_death_sync":
        return [Trial(*t) for t in await host_death_sync(trials, say)]
    if name == "partition_primary":
        return [Trial(*t) for t in await partition_primary(trials, say)]
    found: list[Trial] = []
    async with local_rig("off" if name == "stalled_replication_async" else "quorum") as rig:
        for i in range(trials):
            if name == "replica_lost":
                trial = await replica_lost(rig)
            elif name == "stalled_replication_async":
                trial = await writes_under(rig, stalled_replication)
            else:
                trial = await writes_under(rig, SYNC[name])
            found.append(trial)
            say(f"{name} {i + 1}/{trials}: {asdict(trial)}")
    return found


def summary(name: str, trials: Sequence[Trial]) -> dict[str, object]:
    """The figures of the scenario and whether they meet its bar."""
    bar = BARS[name]
    gaps, lost = [t.gap_s for t in trials], sum(t.lost for t in trials)
    both = sum(t.both for t in trials)
    figures = {
        "gap_s_median": round(median(gaps), 3),
        "gap_s_max": max(gaps),
        "lost_total": lost,
        "errors_median": median(t.errors for t in trials),
        "errors_total": sum(t.errors for t in trials),
        "both_writable_total": both,
        "trials": len(trials),
    }
    met = (
        both == 0
        and (bar.gap_s_median is None or figures["gap_s_median"] <= bar.gap_s_median)
        and (bar.gap_s_max is None or figures["gap_s_max"] <= bar.gap_s_max)
        and (bar.lost_max is None or lost <= bar.lost_max)
        and lost >= bar.lost_min
        and (bar.errors_max is None or figures["errors_total"] <= bar.errors_max)
    )
    return {**figures, "bar_met": bool(met)}


def kept(path: Path | None) -> dict[str, list[Trial]]:
    """The trials of earlier runs."""
    if path is None or not path.exists():
        return {}
    return {name: [Trial(**t) for t in of] for name, of in json.loads(path.read_text()).items()}


def keep(path: Path | None, trials: Mapping[str, Sequence[Trial]]) -> None:
    if path is not None:
        path.write_text(json.dumps({n: [asdict(t) for t in of] for n, of in trials.items()}))


def main() -> int:
    """Run the scenarios asked for; 0 when every bar is met, 1 when not, 2 and 3 as everywhere."""
    parser = argparse.ArgumentParser(prog="benchmarks.failover", description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the last line")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--only", action="append", choices=sorted(BARS), metavar="NAME")
    parser.add_argument("--keep", type=Path, help="add to the trials in this file")
    args = parser.parse_args()
    if args.trials < 1:
        parser.error("--trials must be 1 or more")

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    try:
        trials = kept(args.keep)
        for name in args.only or sorted(BARS):
            trials.setdefault(name, []).extend(asyncio.run(run(name, args.trials, say)))
            say(f"{name}: {summary(name, trials[name])}")
            keep(args.keep, trials)
    except (EngineError, OSError, ValueError, TypeError) as error:
        print(f"benchmarks.failover: {error}", file=sys.stderr)
        return 3
    done = {name: summary(name, of) for name, of in trials.items()}
    met = all(bool(s["bar_met"]) for s in done.values())
    print(json.dumps({"benchmark": "failover", "scenarios": done, "bars_met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
