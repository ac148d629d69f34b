"""What watching costs, beside Debian's prometheus-postgres-exporter scraped at the same 1 s.

``python -m benchmarks.watch_cost [--json] [--seconds N]``. Both watch the same real PostgreSQL
under the same pgbench load in the same seconds, so that neither has the quieter machine:
``premortem watch`` with its whole pipeline and its history on disk, and the exporter with a client
that fetches its page once a second (the client's own cost is left out; so are alert rules and
storage). The last line of output is one JSON object; exit 1 when a bar is missed.

* ``cpu_ratio``: processor time of premortem's process ÷ the exporter's, median over 5 s windows.
* ``db_time_ratio``: the same of the time in which the server ran their statements
  (pg_stat_statements, planning included); ``db_cpu_ratio``: of their sessions' processor time.
* ``connections_opened``: sessions of premortem's role by the server's log.
* ``rss_mib``: premortem's resident memory at the end.
* ``tick_ms_10min``, ``tick_ms_10h``: one step of the pipeline after so much simulated history,
  measured in turn; ``ticks_ratio`` their quotient.

Needs ``apt install prometheus-postgres-exporter`` and a PostgreSQL of 13 to 16 (Debian's exporter
0.11 does not know the statistics of 17).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from premortem.app.assemble import new_pipeline
from premortem.causes._worlds import SITE
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.majors import brings_statements, homes, start
from premortem.engines.postgres import Postgres
from premortem.engines.processes import Spawned, free_port, spawn, unprivileged_user
from premortem.engines.programs import on_path
from premortem.examples import Example
from premortem.model import Reading
from premortem.pipeline import Pipeline

EXPORTER = "prometheus-postgres-exporter"
EXPORTER_KNOWS = (13, 16)
WINDOW_S = 5.0
SETTLE_S = 8.0
"""Imports, first looks and first scrapes are not the daily cost."""
BARS: Mapping[str, tuple[str, float]] = {
    "cpu_ratio": ("max", 0.5),
    "db_time_ratio": ("max", 0.5),
    "connections_opened": ("max", 1),
    "rss_mib": ("max", 120),
    "ticks_ratio": ("max", 1.1),
}
TICKS = {"10min": 600, "10h": 36_000}
BURST = 50
"""Ticks measured in a row before the other history has its turn."""
TURNS = 12


@dataclass(frozen=True, slots=True)
class Spent:
    """Totals of one watcher, in seconds."""

    cpu_s: float
    db_s: float
    db_cpu_s: float

    def since(self, before: Spent) -> Spent:
        return Spent(
            self.cpu_s - before.cpu_s, self.db_s - before.db_s, self.db_cpu_s - before.db_cpu_s
        )


# -- the stage


@asynccontextmanager
async def stage(
    folder: Path, load_tps: int
) -> AsyncIterator[tuple[Postgres, Spawned, Spawned, str]]:
    """The server under load, premortem, the exporter, and the exporter's page."""
    program = on_path(EXPORTER)
    known = [m for m in homes() if EXPORTER_KNOWS[0] <= m <= EXPORTER_KNOWS[1]]
    usable = [m for m in known if brings_statements(homes()[m])]
    if program is None or not usable:
        raise EngineError(f"needed: apt install {EXPORTER} postgresql-15")
    settings = {
        "log_connections": "on",
        "track_io_timing": "on",
        "pg_stat_statements.track_planning": "on",
    }
    async with AsyncExitStack() as stack:
        leash = stack.enter_context(Leash())
        server = await stack.enter_async_context(
            start(usable[-1], folder / "server", leash=leash, settings=settings)
        )
        await _prepare(server)
        if load_tps:
            load = await spawn(_pgbench(server, load_tps), log=folder / "load.log", leash=leash)
            stack.push_async_callback(load.end)
        ours = await _premortem(server, folder, leash)
        stack.push_async_callback(ours.end)
        theirs, page = await _exporter(server, str(program), folder, leash)
        stack.push_async_callback(theirs.end)
        yield server, ours, theirs, page


async def _prepare(server: Postgres) -> None:
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as admin:
        await admin.execute("create role exporter login password 'exporter'")
        await admin.execute("grant pg_monitor to exporter")
    bench = str(server.home / "bin" / "pgbench")
    done = await asyncio.create_subprocess_exec(
        bench, "-i", "-q", "-s", "5", server.site_dsn, stderr=asyncio.subprocess.DEVNULL
    )
    if await done.wait() != 0:
        raise EngineError("pgbench could not make its tables")


def _pgbench(server: Postgres, load_tps: int) -> list[str]:
    """Transactions of six statements each, on eight sessions."""
    flags = ["-n", "-c", "8", "-j", "1", "-R", str(load_tps), "-T", "100000"]
    return [str(server.home / "bin" / "pgbench"), *flags, server.site_dsn]


async def _premortem(server: Postgres, folder: Path, leash: Leash) -> Spawned:
    (folder / "dsn").write_text(server.monitor_dsn)
    config = folder / "premortem.toml"
    lines = (
        "[site.shop]",
        f'dsn_file = "{folder / "dsn"}"',
        "host = false",  # the exporter does not read the machine either
        "[history]",
        f'path = "{folder / "history.db"}"',
        "[watch]",
        f'listen = "127.0.0.1:{free_port()}"',
    )
    config.write_text("\n".join(lines) + "\n")
    program = "from premortem.app.cli import main; main()"
    argv = [sys.executable, "-c", program, "watch", "--config", str(config)]
    return await spawn(argv, log=folder / "premortem.log", leash=leash)


async def _exporter(
    server: Postgres, program: str, folder: Path, leash: Leash
) -> tuple[Spawned, str]:
    port = free_port()
    dsn = f"postgresql://exporter:exporter@127.0.0.1:{server.port}/site?sslmode=disable"
    process = await spawn(
        [program, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"],
        log=folder / "exporter.log",
        leash=leash,
        user=unprivileged_user(),
        env={"DATA_SOURCE_NAME": dsn, "PATH": "/usr/bin:/bin"},
        cwd=Path("/"),
    )
    return process, f"127.0.0.1:{port}"


async def scrape_forever(page: str, seen: list[int]) -> None:
    """Fetch the page once a second, over one connection, as Prometheus does."""
    host, _, port = page.rpartition(":")
    due = time.monotonic()
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
            while True:
                writer.write(f"GET /metrics HTTP/1.1\r\nHost: {page}\r\n\r\n".encode())
                seen.append(await _body_bytes(reader))
                due = max(due + 1.0, time.monotonic() - 1.0)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.2)


async def _body_bytes(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in head:
        length = int(head.partition(b"content-length:")[2].split(None, 1)[0])
        return len(await reader.readexactly(length))
    total = 0
    while size := int((await reader.readline()).partition(b";")[0], 16):
        total += len(await reader.readexactly(size + 2))
    await reader.readline()
    return total


# -- measuring


async def measured(folder: Path, seconds: float, load_tps: int) -> dict[str, object]:
    async with stage(folder, load_tps) as (server, ours, theirs, page):
        pages: list[int] = []
        scraping = asyncio.create_task(scrape_forever(page, pages))
        try:
            await asyncio.sleep(SETTLE_S)
            windows = await _windows(server, {"monitor": ours, "exporter": theirs}, seconds)
        finally:
            scraping.cancel()
            await asyncio.gather(scraping, return_exceptions=True)
        if not ours.alive:
            raise EngineError(f"premortem watch ended: {ours.log_tail(3)}")
        log = (server.folder / "postgres.log").read_text(errors="replace")
        return {
            **_ratios(windows),
            "connections_opened": log.count("connection authorized: user=monitor "),
            "exporter_connections_opened": log.count("connection authorized: user=exporter "),
            "rss_mib": round(psutil.Process(ours.pid).memory_info().rss / 2**20, 1),
            "exporter_rss_mib": round(psutil.Process(theirs.pid).memory_info().rss / 2**20, 1),
            "scrapes": len(pages),
            "page_bytes": round(statistics.median(pages)) if pages else 0,
            "windows": len(windows),
        }


async def _windows(
    server: Postgres, watchers: Mapping[str, Spawned], seconds: float
) -> list[dict[str, Spent]]:
    """What each watcher spent in each window of ``WINDOW_S``."""
    found = []
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as admin:
        before = await _spent(admin, watchers)
        for _ in range(max(2, round(seconds / WINDOW_S))):
            await asyncio.sleep(WINDOW_S)
            now = await _spent(admin, watchers)
            found.append({who: now[who].since(before[who]) for who in watchers})
            before = now
    return found


async def _spent(
    admin: psycopg.AsyncConnection[tuple[object, ...]], watchers: Mapping[str, Spawned]
) -> dict[str, Spent]:
    cursor = await admin.execute(
        "select rolname, sum(total_exec_time + total_plan_time) / 1000"
        " from pg_stat_statements join pg_roles r on r.oid = userid group by 1"
    )
    db_s = {str(role): float(str(total)) for role, total in await cursor.fetchall()}
    cursor = await admin.execute("select usename, pid from pg_stat_activity where pid is not null")
    pids = [(str(role), int(str(pid))) for role, pid in await cursor.fetchall()]
    return {
        who: Spent(
            _cpu_s([process.pid]),
            db_s.get(who, 0.0),
            _cpu_s([pid for role, pid in pids if role == who]),
        )
        for who, process in watchers.items()
    }


def _cpu_s(pids: Sequence[int]) -> float:
    """From the scheduler, in nanoseconds: the usual counters know hundredths of a second."""
    tasks = (Path(f"/proc/{pid}/task") for pid in pids)
    each = (task for folder in tasks for task in folder.iterdir())
    return sum(int((t / "schedstat").read_text().split()[0]) for t in each) / 1e9


def _ratios(windows: Sequence[Mapping[str, Spent]]) -> dict[str, object]:
    """Medians over windows, with the lowest and the highest."""
    found: dict[str, object] = {}
    for key in ("cpu", "db", "db_cpu"):
        ours = [getattr(w["monitor"], f"{key}_s") for w in windows]
        theirs = [getattr(w["exporter"], f"{key}_s") for w in windows]
        each = [a / b for a, b in zip(ours, theirs, strict=True) if b]
        name = "db_time" if key == "db" else key
        found[f"{name}_ratio"] = round(sum(ours) / max(sum(theirs), 1e-9), 3)
        found[f"{name}_ratio_spread"] = [round(min(each), 3), round(max(each), 3)] if each else []
        found[f"{name}_ms_per_s"] = round(1000 * sum(ours) / (len(windows) * WINDOW_S), 2)
        found[f"exporter_{name}_ms_per_s"] = round(
            1000 * sum(theirs) / (len(windows) * WINDOW_S), 2
        )
    return found


# -- ticks


class Aged:
    """A pipeline that has lived for so many simulated seconds of a calm site."""

    def __init__(self, ticks: int) -> None:
        self.pipeline: Pipeline = new_pipeline()
        self.now = 1_700_000_000.0
        example = Example("calm", SITE, calm_s=997, trouble_s=1)
        self._batches = [batch for _, batch in example.readings()][:997]
        self._count = 0
        for _ in range(ticks):
            self.tick()

    def tick(self) -> float:
        """One more second; how many milliseconds of processor time the step took."""
        self.now += 1.0
        batch = self._batches[self._count % len(self._batches)]
        self._count += 1
        readings = [Reading(r.source, r.target, self.now, r.values) for r in batch]
        begun = time.process_time()
        self.pipeline.step(self.now, readings)
        return 1000 * (time.process_time() - begun)


def ticks() -> dict[str, object]:
    """The cost of a step on a young and on an old history, taken in turn."""
    aged = {name: Aged(count) for name, count in TICKS.items()}
    costs: dict[str, list[float]] = {name: [] for name in aged}
    for _ in range(TURNS):
        for name, one in aged.items():
            costs[name].append(statistics.mean(one.tick() for _ in range(BURST)))
    young, old = (statistics.median(costs[name]) for name in ("10min", "10h"))
    each = [b / a for a, b in zip(costs["10min"], costs["10h"], strict=True)]
    return {
        "tick_ms_10min": round(young, 3),
        "tick_ms_10h": round(old, 3),
        "ticks_ratio": round(old / young, 3),
        "ticks_ratio_spread": [round(min(each), 3), round(max(each), 3)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--seconds", type=float, default=60.0, help="of watching")
    parser.add_argument("--load-tps", type=int, default=60, help="pgbench; 60 is far from full")
    parser.add_argument("--no-ticks", action="store_true", help="leave the simulated hours out")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="watch-cost-") as folder:
            Path(folder).chmod(0o755)
            found = asyncio.run(measured(Path(folder), asked.seconds, asked.load_tps))
    except EngineError as error:
        print(f"watch_cost: {error}", file=sys.stderr)
        return 3
    if not asked.no_ticks:
        found |= ticks()
    missed = [k for k, (_, bar) in BARS.items() if k in found and float(str(found[k])) > bar]
    if not asked.json:
        for key, value in found.items():
            print(f"{key:32} {value}")
    print(json.dumps({**found, "missed": missed}))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
