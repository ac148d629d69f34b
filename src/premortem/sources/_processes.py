"""Processor time of process trees, read straight from /proc (Linux; elsewhere nothing is known).

A tree's time is that of its living processes plus that of the dead children they have waited for
(``cutime``, ``cstime``): a database that starts a process per connection spends most of it there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from premortem.sources._rates import Counters, ratio

__all__ = ["Tier", "cpu_s", "tree"]

_PROCESSES_MAX = 2000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def tree(roots: Iterable[int], proc: Path = Path("/proc"), depth: int = 8) -> list[int]:
    """``roots`` and their descendants down to ``depth``, each once; the dead are left out."""
    found: dict[int, None] = {}
    waiting = [(pid, depth) for pid in roots]
    while waiting and len(found) < _PROCESSES_MAX:
        pid, below = waiting.pop()
        if pid in found:
            continue
        if below:
            try:
                children = _read(f"{proc}/{pid}/task/{pid}/children")
            except OSError:
                continue
            waiting += [(int(c), below - 1) for c in children.split()]
        found[pid] = None
    return list(found)


def cpu_s(pid: int, proc: Path = Path("/proc")) -> float:
    """Seconds ``pid`` and its dead children have burnt. Raises ``OSError`` when it is gone."""
    after_name = _read(f"{proc}/{pid}/stat").rpartition(b")")[2].split(None, 15)
    return sum(int(ticks) for ticks in after_name[11:15]) / _TICKS_PER_S


def _read(path: str) -> bytes:
    """The whole of a small file; three calls instead of the eight of ``Path.read_text``."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 65536)
    finally:
        os.close(handle)


def _cores(pids: Iterable[int]) -> int:
    allowed: set[int] = set()
    for pid in pids:
        try:
            allowed |= os.sched_getaffinity(pid)
        except OSError:
            continue
    return len(allowed)


@dataclass(slots=True)
class Tier:
    """How busy the processes of one tier keep the cores that they may use."""

    depth: int = 8
    """How deep to look for children: those of a database server have none of their own."""
    _counters: Counters = field(default_factory=Counters)
    _roots: frozenset[int] = frozenset()

    def busy_ratio(self, at: float, roots: tuple[int, ...]) -> float | None:
        """Processor time since the last call ÷ elapsed time x cores (the union of affinities).

        ``None`` at first, and once after the roots changed.
        """
        if not roots or not Path("/proc/self/stat").exists():
            return None
        if frozenset(roots) != self._roots:
            self._roots = frozenset(roots)
            self._counters.forget()
        total = 0.0
        for pid in tree(roots, depth=self.depth):
            try:
                total += cpu_s(pid)
            except OSError:
                continue
        elapsed_s, grown = self._counters.growth(at, {"cpu": total})
        busy = ratio(grown.get("cpu"), elapsed_s * _cores(roots))
        return None if busy is None else min(busy, 1.0)
