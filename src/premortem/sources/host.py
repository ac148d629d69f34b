"""This machine: processor, memory, pressure, disk, and the share of it that each tier burns.

Cheap by design: a few small files a reading; with 120 database processes it stays under 10 ms,
because only the process trees of the site and the database are read, never all of /proc.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from premortem.model import Metric, Reading
from premortem.sources._contract import say
from premortem.sources._processes import Tier
from premortem.sources._rates import Counters, ratio

__all__ = ["METRICS", "UNREACHABLE", "Host", "pressure_totals"]

METRICS = (
    Metric("host.cpu.busy_ratio", "ratio", "Processor time not idle, of all cores."),
    Metric("host.cpu.steal_ratio", "ratio", "Processor time the hypervisor gave to others."),
    Metric("host.load_per_core", "ratio", "One-minute load average ÷ cores."),
    Metric("host.memory.used_ratio", "ratio", "Memory that is not available ÷ all of it."),
    Metric("host.psi.cpu_some_ratio", "ratio", "Time in which some task waited for a core."),
    Metric("host.psi.io_some_ratio", "ratio", "Time in which some task waited for a disk."),
    Metric("host.psi.memory_some_ratio", "ratio", "Time in which some task waited for memory."),
    Metric("host.io.await_ms", "ms", "Mean time of one disk read or write."),
    Metric("host.disk.free_ratio", "ratio", "Free space of the file system of the data."),
    Metric("web.cpu.busy_ratio", "ratio", "Processor time of the web processes ÷ their cores."),
    Metric("db.cpu.busy_ratio", "ratio", "Processor time of the database ÷ its cores."),
)

UNREACHABLE: dict[str, object] = {}  # the machine premortem runs on is always there

Pids = Iterable[int] | Callable[[], Iterable[int]]

_PRESSURE = Path("/proc/pressure")


@dataclass(slots=True)
class Host:
    """Reads the machine premortem runs on."""

    name: ClassVar[str] = "host"

    web_pids: Pids = ()
    """The site's processes (children are found), or a function that names them now."""
    db_pids: Pids = ()
    """The first process of each database server on these cores (for PostgreSQL the postmaster)."""
    data_folder: str = "/"
    """The file system whose free space matters: that of the database's files."""
    interval_s: float = 1.0
    target: str = "host"
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)
    _web: Tier = field(init=False, repr=False, default_factory=Tier)
    _db: Tier = field(init=False, repr=False, default_factory=lambda: Tier(depth=1))

    async def read(self, now: float) -> Reading:
        """Everything since the last reading."""
        problems: list[str] = []
        at = time.perf_counter()
        values = self._rates(at)
        values["host.load_per_core"] = os.getloadavg()[0] / (os.cpu_count() or 1)
        values["host.memory.used_ratio"] = psutil.virtual_memory().percent / 100
        try:
            space = shutil.disk_usage(self.data_folder)
            values["host.disk.free_ratio"] = space.free / space.total
        except OSError as problem:
            problems.append(f"{self.data_folder}: {say(problem)}")
        web = self.web_pids() if callable(self.web_pids) else self.web_pids
        db = self.db_pids() if callable(self.db_pids) else self.db_pids
        for metric, tier, pids in (
            ("web.cpu.busy_ratio", self._web, tuple(web)),
            ("db.cpu.busy_ratio", self._db, tuple(db)),
        ):
            busy = tier.busy_ratio(at, pids)
            values |= {} if busy is None else {metric: busy}
        return Reading(self.name, self.target, now, values, error="; ".join(problems) or None)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _rates(self, at: float) -> dict[str, float]:
        elapsed_s, grown = self._counters.growth(
            at, _cpu_totals() | _disk_totals() | pressure_totals(_PRESSURE)
        )
        whole = grown.get("cpu.total")
        found = {
            "host.cpu.busy_ratio": ratio(grown.get("cpu.busy"), whole),
            "host.cpu.steal_ratio": ratio(grown.get("cpu.steal"), whole),
            "host.io.await_ms": _await_ms(grown),
        }
        for kind in ("cpu", "io", "memory"):
            found[f"host.psi.{kind}_some_ratio"] = ratio(grown.get(f"psi.{kind}"), elapsed_s * 1e6)
        return {k: min(v, 1.0) if "ratio" in k else v for k, v in found.items() if v is not None}


def _cpu_totals() -> dict[str, float]:
    """Seconds since the machine started. Time in guests is within ``user`` already."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    steal = getattr(times, "steal", 0.0)
    named = ("user", "nice", "system", "irq", "softirq")
    busy = sum(getattr(times, n, 0.0) for n in named) + steal
    return {"cpu.busy": busy, "cpu.steal": steal, "cpu.total": busy + idle}


def _disk_totals() -> dict[str, float]:
    io = psutil.disk_io_counters()
    if io is None:
        return {}
    return {
        "disk.ops": float(io.read_count + io.write_count),
        "disk.ms": float(io.read_time + io.write_time),
    }


def _await_ms(grown: dict[str, float]) -> float | None:
    """No operation means no wait."""
    if grown.get("disk.ops") == 0:
        return 0.0
    return ratio(grown.get("disk.ms"), grown.get("disk.ops"))


def pressure_totals(folder: Path) -> dict[str, float]:
    """Microseconds in which some task stalled, by resource; empty where the kernel has no PSI."""
    totals: dict[str, float] = {}
    for kind in ("cpu", "io", "memory"):
        try:
            some = (folder / kind).read_text().partition("\n")[0]
        except OSError:
            continue
        totals[f"psi.{kind}"] = float(some.rpartition("total=")[2])
    return totals
