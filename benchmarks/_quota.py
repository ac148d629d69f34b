"""A share of one core for a group of processes, by the kernel's control groups (v1 or v2)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from premortem.engines.errors import EngineError

PERIOD_US = 10_000
"""Short, so that a throttled server is slow and not now and then gone."""
ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


@contextmanager
def quota(name: str, share: float, pids: Iterable[int]) -> Iterator[None]:
    """Hold the processes, and what they start, to ``share`` of one core. Root only."""
    root = next(r for r in ROOTS if r.is_dir())
    group = root / f"premortem-{os.getpid()}-{name}"
    try:
        group.mkdir()
        limit_us = int(PERIOD_US * share)
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{limit_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(limit_us))
    except OSError as error:
        raise EngineError(
            f"no CPU quota here ({error}): run as root with control groups"
        ) from error
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        _dissolve(group, root)


def _dissolve(group: Path, into: Path, within_s: float = 5.0) -> None:
    """Servers go on forking while they are moved out, and the kernel lets go of the dead late."""
    deadline = time.monotonic() + within_s
    while True:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (into / "cgroup.procs").write_text(pid)
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
