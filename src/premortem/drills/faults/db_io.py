"""The database has to read from the disk what was in memory."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind
from premortem.drills.faults._throttle import slow_reads
from premortem.sources._processes import tree

__all__ = ["DbIo", "forget_pages"]

EVERY_S = 0.2
BYTES_A_READ = 16_384
"""Two blocks: what small volumes count as one operation."""


@dataclass(frozen=True, slots=True)
class DbIo:
    """The disk has become slow, as a rented volume is that has used up its credit, and the system's
    page cache is taken from the database's files again and again, as by a backup. The buffers of
    the server are too small to do without.

    Real reads of a real disk, throttled for the database alone. Without root and the kernel's block
    cgroup this cannot be played.
    """

    reads_per_s: int
    """What the disk does for the database."""

    expects: ClassVar[Expects] = Expects("db_io", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """100 to 600 reads a second, as small volumes have."""
        return cls(dice.randint(100, 600))

    @property
    def site(self) -> SiteKind:
        """A server whose own buffers hold a tenth of the data."""
        return SiteKind(settings={"shared_buffers": "8MB"}, load_share=0.25)

    @property
    def words(self) -> str:
        """What is done."""
        return f"the tables are out of memory and the disk does {self.reads_per_s} reads a second"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Slow the disk and forget pages."""
        database = rig.stack.database
        data = database.folder / "data" / "base"
        assert database.pid is not None
        slow = slow_reads(
            tree([database.pid], depth=1), data,
            iops=self.reads_per_s, bytes_per_s=self.reads_per_s * BYTES_A_READ,
        )  # fmt: skip
        with slow:
            work = asyncio.create_task(_forget(data))
            try:
                yield
            finally:
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work


async def _forget(data: Path) -> None:
    while True:
        await asyncio.to_thread(forget_pages, data)
        await asyncio.sleep(EVERY_S)


def forget_pages(folder: Path) -> int:
    """Drop the clean pages of the larger files below ``folder`` from the system's cache (Linux:
    posix_fadvise). Returns how many files; other files of the machine are left alone."""
    count = 0
    for file in folder.rglob("*"):
        try:
            if not file.is_file() or file.stat().st_size < 1_000_000:
                continue
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            continue  # dropped meanwhile
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            count += 1
        finally:
            os.close(handle)
    return count
