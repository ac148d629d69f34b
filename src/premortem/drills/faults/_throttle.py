"""A slow disk for some processes only: the kernel's block cgroup throttles reads. Linux, root."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from premortem.engines.errors import EngineError

__all__ = ["orders", "slow_reads"]

DISSOLVE_TRIES, DISSOLVE_PAUSE_S = 20, 0.05
"""A process that ends stays in its group until it is waited for; a second is enough for that."""
V1 = Path("/sys/fs/cgroup/blkio")
V2 = Path("/sys/fs/cgroup")


def orders(v1: bool, device: str, iops: int, bytes_per_s: int) -> list[tuple[str, str]]:
    """What is written into which file of the group.

    >>> orders(False, "8:0", 200, 4_000_000)
    [('io.max', '8:0 riops=200 rbps=4000000')]
    """
    if v1:
        return [
            ("blkio.throttle.read_iops_device", f"{device} {iops}"),
            ("blkio.throttle.read_bps_device", f"{device} {bytes_per_s}"),
        ]
    return [("io.max", f"{device} riops={iops} rbps={bytes_per_s}")]


@contextmanager
def slow_reads(pids: Iterable[int], folder: Path, *, iops: int, bytes_per_s: int) -> Iterator[None]:
    """Throttle what ``pids``, and what they start, read from the disk under ``folder``.

    Raises ``EngineError`` where the kernel or the rights do not allow it.
    """
    v1 = (V1 / "blkio.throttle.read_iops_device").exists()
    home = V1 if v1 else V2
    group = home / f"premortem-{secrets.token_hex(4)}"
    disk = folder.stat().st_dev
    device = f"{os.major(disk)}:{os.minor(disk)}"
    moved = list(pids)
    try:
        group.mkdir()
        try:
            for file, order in orders(v1, device, iops, bytes_per_s):
                (group / file).write_text(order)
            _move(moved, group)
            yield
        finally:
            _dissolve(group, home)
    except OSError as error:
        raise EngineError(
            f"a slow disk needs root and the block cgroup on {device}: {error.strerror}"
        ) from None


def _move(pids: Iterable[int], group: Path) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(str(pid))


def _dissolve(group: Path, home: Path) -> None:
    """Move everybody out, also those who were born meanwhile, and remove the group."""
    for _ in range(DISSOLVE_TRIES):
        _move([int(p) for p in (group / "cgroup.procs").read_text().split()], home)
        try:
            group.rmdir()
        except OSError:
            time.sleep(DISSOLVE_PAUSE_S)
        else:
            return
    group.rmdir()
