"""Does the engine tell how long users waited while the site was frozen? The truth is known.

``python -m benchmarks.omission [--json] [--seconds 10] [--rounds 3] [--peers DIR]``

A server answers every request 10 ms after it came, but once in the run it freezes (where and how
long is random). 200 users a second arrive whatever it does. The truth is computed from the
schedule, the server's own record of when it froze, how long a blocking client waits for an answer
in calm, and the number of connections allowed: nothing that the generator measured goes into it.
A generator that waits for
answers before it sends (coordinated omission) sends little into the freeze and misses nearly all
of it. Errors are |measured / truth - 1|, medians over the rounds; the peers' are beside them. The
last line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import math
import os
import random
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.load_engine import tool
from premortem.load.attack import Attack, attack
from premortem.load.journey import Choice, Plain
from premortem.load.pace import Constant, arrivals
from premortem.load.requests import Settings

RATE_PER_S = 200.0
SERVICE_S = 0.010
"""Long against the 0.2 to 0.4 ms that wake-ups take on a shared virtual machine, which no clock of
the benchmark can tell from the site's own time; short against the freeze."""
SPIN_S = 0.0002
"""The engine's precise setting: it does not sleep through the instant of an arrival."""
PERCENTS = (50, 90, 95, 99, 100)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WARM_REQUESTS = 200
"""One after the other before the run, by a plain blocking client: their median is how long an
answer takes, network and wake-ups included."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What the server says of itself, in seconds of the clock all processes share."""

    first: float
    """When the first request of the run came."""
    began: float
    ended: float
    service_s: float
    """How long an answer takes that nothing delays."""


# -- the server, a process of its own


class Server:
    """Answers each request when it is due; freezes once, ``after_s`` the run's first request."""

    def __init__(self, port: int, sign: Path, after_s: float, freeze_s: float) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.due: list[tuple[float, int, socket.socket]] = []
        self.sign, self.after_s, self.freeze_s = sign, after_s, freeze_s
        self.freeze_at = math.inf
        self.frozen = (math.inf, math.inf)
        self.number = 0
        self.first = math.inf

    def run(self) -> None:
        while not self.sign.with_suffix(".stop").exists():
            self._freeze()
            now = time.perf_counter()
            # stays awake while anything is due: a sleep is a millisecond off, half of an answer
            gap_s = 0.0 if self.due else 0.02
            for key, _ in self.selector.select(max(0.0, min(gap_s, self.freeze_at - now))):
                self._take(key.fileobj)  # type: ignore[arg-type]
            while self.due and self.due[0][0] <= time.perf_counter():
                *_, peer = heapq.heappop(self.due)
                with suppress(OSError):  # the client may be gone, as when its run is over
                    peer.sendall(ANSWER)
        began, ended = self.frozen
        print(json.dumps([self.first, began, ended]), flush=True)

    def _freeze(self) -> None:
        if self.freeze_at == math.inf and self.frozen[0] == math.inf and self.first < math.inf:
            self.freeze_at = self.first + self.after_s
        began = time.perf_counter()
        if began >= self.freeze_at:
            time.sleep(self.freeze_s)
            self.frozen, self.freeze_at = (began, time.perf_counter()), math.inf

    def _take(self, sock: socket.socket) -> None:
        if sock is self.listener:
            peer, _ = sock.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(peer, selectors.EVENT_READ)
            return
        try:
            data = sock.recv(65_536)
        except ConnectionError:
            data = b""
        if not data:
            self.selector.unregister(sock)
            sock.close()
            return
        now = time.perf_counter()
        if self.first == math.inf and self.sign.exists():
            self.first = now
        for _ in range(data.count(b"\r\n\r\n")):
            self.number += 1
            heapq.heappush(self.due, (now + SERVICE_S, self.number, sock))


@dataclass(frozen=True, slots=True)
class Running:
    """A server in its process."""

    url: str
    sign: Path
    process: subprocess.Popen[str]
    service_s: float

    def arm(self) -> None:
        """From now on requests are those of the run; the freeze is counted from the first."""
        self.sign.touch()

    def stop(self) -> Frozen:
        self.sign.with_suffix(".stop").touch()
        out, _ = self.process.communicate(timeout=10)
        return Frozen(*json.loads(out), self.service_s)


@contextmanager
def server(after_s: float, freeze_s: float) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        sign = Path(folder) / "run"
        command = [sys.executable, "-m", "benchmarks.omission", "--serve", str(port), str(sign)]
        process = subprocess.Popen(
            [*command, str(after_s), str(freeze_s)], stdout=subprocess.PIPE, text=True
        )
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(process.pid, [min(cores)])  # generators share the others
        os.sched_setaffinity(0, cores - {min(cores)} or cores)
        try:
            service_s = _blocking_service_s(port)
            yield Running(f"http://127.0.0.1:{port}", sign, process, service_s)
        finally:
            os.sched_setaffinity(0, cores)
            process.kill()
            process.communicate()


def _blocking_service_s(port: int) -> float:
    """The median round trip of one blocking client, as simple as can be."""
    taken = []
    with _connected(port) as sock:
        for _ in range(WARM_REQUESTS):
            began = time.perf_counter()
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            sock.recv(1000)
            taken.append(time.perf_counter() - began)
    return median(taken)


def _connected(port: int) -> socket.socket:
    for _ in range(200):
        try:
            sock = socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise SystemExit("omission: the server did not start")


# -- the truth


def truth_ms(
    instants: Sequence[float], frozen: Frozen, start: float, connections: int
) -> list[float]:
    """What each user waits: first come first served on so many connections, none answered while
    the server is frozen."""
    free = [0.0] * connections
    waits = []
    for at_s in instants:
        begin = max(start + at_s, heapq.heappop(free))
        end = begin + frozen.service_s
        if end > frozen.began and begin < frozen.ended:  # caught: answered after the thaw
            end = max(frozen.ended, begin) if begin < frozen.began else frozen.ended
            end += frozen.service_s if begin >= frozen.began else 0.0
        heapq.heappush(free, end)
        waits.append((end - start - at_s) * 1000.0)
    return waits


def percentiles(values: Sequence[float]) -> dict[int, float]:
    ordered = sorted(values)
    return {p: ordered[max(1, math.ceil(len(ordered) * p / 100)) - 1] for p in PERCENTS}


def errors(measured: Mapping[int, float], truth: Mapping[int, float]) -> dict[int, float]:
    return {p: abs(measured[p] / truth[p] - 1.0) for p in PERCENTS if p in measured}


# -- ours


def ours(connections: int, seconds: float, dice: random.Random) -> dict[int, float]:
    """One run of our engine; the errors of its percentiles."""
    after_s, freeze_s = _freeze(seconds, dice)
    seed = dice.randrange(1_000_000)
    with server(after_s, freeze_s) as site:
        settings = Settings(
            timeout_s=60.0, retries=0, connections_max=connections, drain_s=60.0, spin_s=SPIN_S
        )
        journey = (Choice(Plain("/")),)
        plan = Attack(
            site.url, journey, Constant(RATE_PER_S, seconds), settings=settings, seed=seed
        )
        site.arm()
        start_in_s = 0.3
        start = time.perf_counter() + start_in_s
        result = attack(replace(plan, start_at=time.time() + start_in_s))
        frozen = site.stop()
    response = result.tally.response()
    truth = truth_ms(list(arrivals(plan.pace, seed)), frozen, start, connections)
    measured = {p: response.percentile_ms(p) for p in PERCENTS}
    return errors(measured, percentiles(truth))


def _freeze(seconds: float, dice: random.Random) -> tuple[float, float]:
    """Where the freeze begins and how long it lasts: about a fifth of the run."""
    freeze_s = dice.uniform(0.15, 0.25) * seconds
    return dice.uniform(0.1 * seconds, 0.9 * seconds - freeze_s), freeze_s


# -- the peers: their own schedule is a metronome at the same rate

K6 = """
import http from 'k6/http';
export const options = { summaryTrendStats: ['p(50)', 'p(90)', 'p(95)', 'p(99)', 'max'],
  scenarios: { s: { executor: 'constant-arrival-rate', rate: RATE, timeUnit: '1s',
    duration: 'SECONDSs', preAllocatedVUs: VUS, maxVUs: VUS } } };
export default function () { http.get('URL/'); }
"""
LOCUST = """
from locust import FastHttpUser, constant_throughput, task
class Visitor(FastHttpUser):
    wait_time = constant_throughput(RATE / USERS)
    @task
    def page(self):
        self.client.get("/")
"""


def peer(
    name: str, binary: str, connections: int, seconds: float, dice: random.Random
) -> dict[int, float]:
    """One run of a peer; the errors of the percentiles that it states."""
    after_s, freeze_s = _freeze(seconds, dice)
    with server(after_s, freeze_s) as site, tempfile.TemporaryDirectory() as folder:
        site.arm()
        measured = PEERS[name](binary, site.url, connections, seconds, Path(folder))
        frozen = site.stop()
    even = [n / RATE_PER_S for n in range(int(seconds * RATE_PER_S))]
    truth = truth_ms(even, frozen, frozen.first, connections)
    return errors(measured, percentiles(truth))


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    return done.stdout


def _k6(binary: str, url: str, connections: int, seconds: float, home: Path) -> dict[int, float]:
    script = K6.replace("URL", url).replace("VUS", str(connections))
    script = script.replace("RATE", str(int(RATE_PER_S))).replace("SECONDS", str(int(seconds)))
    (home / "s.js").write_text(script)
    summary = home / "summary.json"
    flags = ["--quiet", "--no-usage-report", "--summary-export", str(summary)]
    _run([binary, "run", *flags, "s.js"], home)
    found = json.loads(summary.read_text())["metrics"]["http_req_duration"]
    return {p: float(found["max" if p == 100 else f"p({p})"]) for p in PERCENTS}


def _wrk(binary: str, url: str, connections: int, seconds: float, home: Path) -> dict[int, float]:
    out = _run([binary, "-t1", f"-c{connections}", f"-d{int(seconds)}", "--latency", url], home)
    rows = re.findall(r"^ +(50|90|99)% +([\d.]+)(us|ms|s)$", out, re.MULTILINE)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return {int(p): float(value) * scale[unit] for p, value, unit in rows}


def _autocannon(
    binary: str, url: str, connections: int, seconds: float, home: Path
) -> dict[int, float]:
    rate, length = str(int(RATE_PER_S)), str(int(seconds))
    out = _run([binary, "-R", rate, "-c", str(connections), "-d", length, "--json", url], home)
    found = json.loads(out)["latency"]
    return {50: found["p50"], 90: found["p90"], 99: found["p99"], 100: found["max"]}


def _locust(
    binary: str, url: str, connections: int, seconds: float, home: Path
) -> dict[int, float]:
    script = LOCUST.replace("RATE", str(RATE_PER_S)).replace("USERS", str(connections))
    (home / "locustfile.py").write_text(script)
    users = ["-u", str(connections), "-r", str(connections), "-t", f"{int(seconds)}s"]
    _run([binary, "--headless", "--host", url, *users, "--csv", "r", "--only-summary"], home)
    with (home / "r_stats.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[-1]
    return {p: float(row[f"{p}%"]) for p in PERCENTS}


PEERS = {"k6": _k6, "wrk": _wrk, "autocannon": _autocannon, "locust": _locust}


def medians(rounds: Sequence[Mapping[int, float]]) -> dict[str, float]:
    return {
        "max" if p == 100 else f"p{p}": round(median(r[p] for r in rounds), 4)
        for p in PERCENTS
        if all(p in r for r in rounds)
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.omission")
    parser.add_argument("--json", action="store_true", help="print only the last line")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, default=None, help="where k6, locust … are")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--serve", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        port, sign, after_s, freeze_s = given.serve
        Server(int(port), Path(sign), float(after_s), float(freeze_s)).run()
        return 0
    seed = given.seed if given.seed is not None else int.from_bytes(os.urandom(3))
    dice = random.Random(seed)
    result: dict[str, object] = {"seed": seed, "rounds": given.rounds}
    worst = 0.0
    for connections in (10, 500):
        rounds = [ours(connections, given.seconds, dice) for _ in range(given.rounds)]
        found = medians(rounds)
        worst = max(worst, *found.values())
        result |= {f"{key}_error_ratio_{connections}": value for key, value in found.items()}
        if not given.json:
            print(f"ours, {connections} connections: {found}", flush=True)
        for name in PEERS:
            binary = tool(name, given.peers)
            key = f"{name}_{connections}"
            if binary is None:
                result[key] = None
                continue
            result[key] = medians([peer(name, binary, connections, given.seconds, dice)])
            if not given.json:
                print(f"{name}, {connections} connections: {result[key]}", flush=True)
    print(json.dumps({"error_ratio_max": worst, **result}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
