"""What ``premortem watch`` costs, and what each further site costs.

``python -m benchmarks.watch_sites [--json]``; the last line of output is one JSON object. One
PostgreSQL and one small web server run on this machine; the daemon, a process like any user's,
watches them as 1, 4 and 8 sites in turn, forwards and backwards, with its history on disk.
Processor time is that of the daemon alone, after a warm-up; the cost of a further site is the slope
of a straight line through the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres

SITES = (1, 4, 8, 8, 4, 1)
WARM_UP_S = 7.0
"""Imports, first connections, first climbs."""
MEASURE_S = 15.0
"""Three of the climbs that happen every five seconds."""


class Quiet(BaseHTTPRequestHandler):
    """Answers 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the daemon."""

    sites: int
    cpu_ms_per_s: float
    rss_mib: float
    written_kib_per_s: float


@contextmanager
def web() -> Iterator[str]:
    """A web server on a free port; yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def configuration(folder: Path, sites: int, url: str, dsn: str) -> None:
    """A premortem.toml with so many sites."""
    (folder / "dsn").write_text(dsn + "\n")
    tables = "".join(
        f'[site.s{n}]\nurl = "{url}"\ndsn_file = "dsn"\ndb_cores = 2\n' for n in range(sites)
    )
    (folder / "premortem.toml").write_text(f'[watch]\nlisten = "127.0.0.1:0"\n{tables}')


def measure(sites: int, url: str, dsn: str) -> Run:
    """Start the daemon, let it settle, and read what it burns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        configuration(folder, sites, url, dsn)
        argv = [str(Path(sys.executable).with_name("premortem")), "watch", "--json"]
        with (folder / "out").open("w") as out:
            daemon = subprocess.Popen(argv, cwd=folder, stdout=out)
            try:
                time.sleep(WARM_UP_S)
                return _burnt(daemon, sites)
            finally:
                daemon.terminate()
                daemon.wait(20)


def _burnt(daemon: subprocess.Popen[bytes], sites: int) -> Run:
    process = psutil.Process(daemon.pid)
    begun, before, wrote = time.monotonic(), process.cpu_times(), process.io_counters()
    time.sleep(MEASURE_S)
    after, now_wrote = process.cpu_times(), process.io_counters()
    elapsed_s = time.monotonic() - begun
    burnt_s = (after.user + after.system) - (before.user + before.system)
    return Run(
        sites,
        burnt_s / elapsed_s * 1000,
        process.memory_info().rss / 2**20,
        (now_wrote.write_bytes - wrote.write_bytes) / 1024 / elapsed_s,
    )


def slope(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Least squares: (per site, at no site)."""
    x, y = fmean(p[0] for p in points), fmean(p[1] for p in points)
    over = sum((p[0] - x) ** 2 for p in points)
    per = sum((p[0] - x) * (p[1] - y) for p in points) / over
    return per, y - per * x


def result(runs: list[Run]) -> dict[str, Any]:
    """The figures of the documentation."""
    cpu = slope([(r.sites, r.cpu_ms_per_s) for r in runs])
    rss = slope([(r.sites, r.rss_mib) for r in runs])
    alone = [r for r in runs if r.sites == 1]
    return {
        "runs": [
            {
                "sites": r.sites,
                "cpu_ms_per_s": round(r.cpu_ms_per_s, 1),
                "rss_mib": round(r.rss_mib, 1),
                "written_kib_per_s": round(r.written_kib_per_s, 1),
            }
            for r in runs
        ],
        "one_site_cpu_ms_per_s": round(fmean(r.cpu_ms_per_s for r in alone), 1),
        "one_site_rss_mib": round(fmean(r.rss_mib for r in alone), 1),
        "one_site_written_kib_per_s": round(fmean(r.written_kib_per_s for r in alone), 1),
        "further_site_cpu_ms_per_s": round(cpu[0], 1),
        "further_site_rss_mib": round(rss[0], 2),
    }


async def play(folder: Path) -> list[Run]:
    """All runs on one server."""
    with Leash() as leash, web() as url:
        async with Postgres.start(folder / "server", leash=leash) as server:
            runs = []
            for sites in SITES:
                run = await asyncio.to_thread(measure, sites, url, server.monitor_dsn)
                print(
                    f"{run.sites} sites: {run.cpu_ms_per_s:5.1f} ms of a core a second, "
                    f"{run.rss_mib:5.1f} MiB, {run.written_kib_per_s:5.1f} KiB/s written",
                    file=sys.stderr,
                )
                runs.append(run)
            return runs


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the server's own user must be able to enter
        print(json.dumps(result(asyncio.run(play(Path(name))))))


if __name__ == "__main__":
    main()
