"""What this machine's kernel saw of the network, and how fast TCP connects.

The counters (/proc/net/snmp, /proc/net/netstat) are those of the machine premortem runs on, Linux
only; they speak for the site when it runs here or is reached from here. The listener's queue is
asked from the kernel by ``sock_diag``: /proc/net/tcp does not hold its limit.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

from premortem.model import Metric, Reading
from premortem.sources._contract import say
from premortem.sources._listen import Queue, listen_queues
from premortem.sources._rates import Counters, ratio
from premortem.sources.http_probe import connect

__all__ = ["METRICS", "UNREACHABLE", "Tcp", "kernel_counters"]

METRICS = (
    Metric("net.tcp.retransmit_ratio", "ratio", "TCP segments sent again ÷ segments sent."),
    Metric("net.tcp.retransmits_per_s", "per_s", "TCP segments sent again."),
    Metric("net.tcp.segments_out_per_s", "per_s", "TCP segments sent."),
    Metric(
        "net.tcp.listen_overflows_per_s",
        "per_s",
        "Connections dropped because a listener's accept queue was full.",
    ),
    Metric("net.tcp.listen_queue", "connections", "Waiting in the site's accept queue."),
    Metric("net.tcp.listen_queue_max", "connections", "What the site's accept queue may hold."),
    Metric(
        "net.rtt_ms",
        "ms",
        "TCP connect to the site's port; the time waited (a lower bound) where it timed out.",
    ),
    Metric(
        "net.other_port_rtt_ms",
        "ms",
        "TCP connect to the database's port, which no web server can slow down; as above.",
    ),
)

UNREACHABLE = {"site": ("127.0.0.1", 1), "database": ("127.0.0.1", 1)}

_PROC = Path("/proc/net")
_ALONE_EVERY_S = 3.0
"""Between readings of a path that leads to no site: each knock costs a database server a process,
and causes take 5 s for fresh."""
_WANTED = {
    "OutSegs": "net.tcp.segments_out_per_s",
    "RetransSegs": "net.tcp.retransmits_per_s",
    "ListenOverflows": "net.tcp.listen_overflows_per_s",
}


@dataclass(slots=True)
class Tcp:
    """Watches the path to the site and to its database."""

    name: ClassVar[str] = "tcp"

    site: tuple[str, int] | None = None
    """Host and port users connect to."""
    database: tuple[str, int] | None = None
    """Host and port of the database: the other port, for comparison."""
    interval_s: float = 0.0
    """Between readings; 0 chooses: a second, or three where there is no site."""
    connect_timeout_s: float = 1.0
    """A lost SYN is sent again after 1 s: whoever waits longer has lost packets."""
    target: str = field(init=False)
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)
    _numeric: dict[str, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.interval_s = self.interval_s or (1.0 if self.site else _ALONE_EVERY_S)
        self.target = f"{self.site[0]}:{self.site[1]}" if self.site else socket.gethostname()

    async def read(self, now: float) -> Reading:
        """Counters since the last reading, the listener's queue, two connects."""
        values: dict[str, float] = {}
        problems: list[str] = []
        try:
            values |= self._rates(kernel_counters(_PROC))
        except OSError as problem:
            problems.append(f"kernel counters: {say(problem)}")
        values |= self._queue()
        timed = await asyncio.gather(
            self._connect("net.rtt_ms", self.site, "site"),
            self._connect("net.other_port_rtt_ms", self.database, "database"),
        )
        for value, problem_text in timed:
            values |= value
            problems += [problem_text] if problem_text else []
        return Reading(self.name, self.target, now, values, error="; ".join(problems) or None)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _rates(self, totals: Mapping[str, float]) -> dict[str, float]:
        elapsed_s, grown = self._counters.growth(time.perf_counter(), totals)
        rates = {_WANTED[k]: v / elapsed_s for k, v in grown.items()} if elapsed_s else {}
        share = ratio(grown.get("RetransSegs"), grown.get("OutSegs"))
        return rates if share is None else rates | {"net.tcp.retransmit_ratio": min(share, 1.0)}

    def _queue(self) -> dict[str, float]:
        """The fullest of the site's listeners; nothing when the site is not on this machine."""
        if self.site is None:
            return {}
        queues = listen_queues(self.site[1])
        if not queues or not is_local(self._numeric.get(self.site[0], self.site[0])):
            return {}
        fullest = max(queues, key=lambda q: (q.waiting / max(q.limit or 1, 1), q.waiting))
        return _queue_values(fullest)

    async def _connect(
        self, metric: str, where: tuple[str, int] | None, whom: str
    ) -> tuple[dict[str, float], str | None]:
        if where is None:
            return {}, None
        problem: str | None = None
        begun = time.perf_counter()
        try:
            address = await self._address(where)
            begun = time.perf_counter()
            (await connect(address, self.connect_timeout_s)).close()
        except TimeoutError:
            problem = f"{whom}: connect timeout after {self.connect_timeout_s:g} s"
        except socket.gaierror as failed:
            return {}, f"{whom}: dns: {say(failed)}"
        except OSError as failed:
            problem = f"{whom}: connect {say(failed)}"
        return {metric: (time.perf_counter() - begun) * 1000}, problem

    async def _address(self, where: tuple[str, int]) -> tuple[str, int]:
        """Resolve once: this source times the path, not the resolver."""
        host, port = where
        if host not in self._numeric:
            async with asyncio.timeout(self.connect_timeout_s):
                found = await asyncio.get_running_loop().getaddrinfo(
                    host, port, type=socket.SOCK_STREAM
                )
            v4_first = sorted(found, key=lambda f: f[0] != socket.AF_INET)
            self._numeric[host] = str(v4_first[0][4][0])
        return self._numeric[host], port


def _queue_values(queue: Queue) -> dict[str, float]:
    values = {"net.tcp.listen_queue": float(queue.waiting)}
    if queue.limit is not None:
        values["net.tcp.listen_queue_max"] = float(queue.limit)
    return values


def kernel_counters(folder: Path) -> dict[str, float]:
    """The wanted counters of ``snmp`` and ``netstat`` in ``folder``. Raises ``OSError``."""
    found: dict[str, float] = {}
    for file, group in (("snmp", b"Tcp:"), ("netstat", b"TcpExt:")):
        lines = [x for x in (folder / file).read_bytes().splitlines() if x.startswith(group)]
        if len(lines) == 2:
            columns, numbers = _columns(lines[0]), lines[1].split()
            found |= {name: float(numbers[at]) for name, at in columns}
    return found


@cache
def _columns(names: bytes) -> tuple[tuple[str, int], ...]:
    """Where the wanted counters stand: the kernel's list of some 130 does not change."""
    listed = names.decode().split()
    return tuple((name, listed.index(name)) for name in _WANTED if name in listed)


def is_local(host: str) -> bool:
    """Whether ``host`` (numeric) is an address of this machine: only such a one can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError:
            return False
    return True
