"""The database waits for its disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._verdict import fact, growth, held, level, num, percent, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "DbIo"]


@dataclass(frozen=True, slots=True)
class DbIo:
    """Reads or writes of data files take most of the sessions' time.

    Shows: sessions in I/O waits on all routes that read, block reads up, the cache hit ratio down,
    the host's I/O pressure and await up.
    Ruled out by: hardly a session in an I/O wait.
    First help: stop the batch or the backup that reads; warm the cache; then memory or disk.
    Not this: WAL waits around a checkpoint; a full CPU with a few reads.
    """

    waiting_min: float = 1.0
    """One session in I/O at any time is a disk that is always asked."""
    waiting_low: float = 0.5
    """In most samples nobody waits for the disk."""
    waiting_times_usual: float = 3.0
    """A site that always reads from disk is judged by its own usual."""
    psi_min: float = 0.1
    """Tasks stalled on I/O a tenth of the time: users of the disk feel it (kernel PSI)."""
    await_ms_min: float = 20.0
    """SSDs answer within 1 ms, disks within 10; 20 ms is a queue."""
    reads_times_min: float = 3.0
    """Three times the usual reads is another workload or a cold cache."""
    hit_drop_min: float = 0.03
    """Three percent fewer hits are several times the reads at a usual 99 %."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("cancel_query", "shed")
    deciding: ClassVar[tuple[str, ...]] = ("db.wait.io",)
    check: ClassVar[str] = "sessions in I/O waits, with block reads and the host's I/O pressure"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        waiting = level(history, "db.wait.io")
        if waiting is None:
            return verdict(
                self, "cannot_exclude", "I/O waits are not measured.",
                check="iostat -x 1 on the database host: await and utilisation",
            )  # fmt: skip
        limit = max(
            self.waiting_min, self.waiting_times_usual * (usual(history, "db.wait.io") or 0.0)
        )
        note = f"{num(waiting)} sessions wait for I/O"
        many = held(history, "db.wait.io", above=limit * 0.8) and waiting >= limit
        io = fact(history, "db.wait.io", waiting, limit * 0.8, note, above=many)
        if many:
            return self._waiting(history, waiting, io)
        state: State = "ruled_out" if waiting < self.waiting_low else "cannot_exclude"
        return verdict(self, state, f"{note}.", io, check=self.check)

    def _waiting(self, history: History, waiting: float, io: Evidence) -> Verdict:
        signs = [e for e in (self._host(history), self._reads(history)) if e is not None]
        active = level(history, "db.sessions.active") or waiting
        share = min(waiting / max(active, 1.0), 1.0)
        main = share >= 0.4
        shown = "; ".join([io.note, *(s.note for s in signs)])
        return verdict(
            self,
            "confirmed" if signs and main else "suspected" if signs else "cannot_exclude",
            f"{shown}.",
            io,
            *signs,
            check=self.check,
            strength=0.6 + share / 4,
        )

    def _host(self, history: History) -> Evidence | None:
        stalled = level(history, "host.psi.io_some_ratio")
        if stalled is not None and stalled >= self.psi_min:
            note = f"tasks of the host stall on I/O {percent(stalled)} of the time"
            return fact(history, "host.psi.io_some_ratio", stalled, self.psi_min, note)
        wait = level(history, "host.io.await_ms")
        if wait is None or wait < self.await_ms_min:
            return None
        return fact(
            history, "host.io.await_ms", wait, self.await_ms_min, f"the disk takes {num(wait)} ms"
        )

    def _reads(self, history: History) -> Evidence | None:
        reads = growth(history, "db.blocks_read_per_s", floor=20.0)
        now = level(history, "db.blocks_read_per_s")
        if reads is not None and now is not None and reads >= self.reads_times_min:
            note = f"{num(now)} blocks are read a second, {num(reads)} times the usual"
            return fact(history, "db.blocks_read_per_s", now, now / reads * 2, note)
        hits, before = level(history, "db.cache_hit_ratio"), usual(history, "db.cache_hit_ratio")
        if hits is None or before is None or before - hits < self.hit_drop_min:
            return None
        note = f"the cache answers {percent(hits)} instead of {percent(before)}"
        limit = before - self.hit_drop_min
        return fact(history, "db.cache_hit_ratio", hits, limit, note, above=False)


FIRES = (
    Example("a report reads tables that are not in memory", SITE, {
        "db.wait.io": 4.0, "db.sessions.active": 6.0, "db.blocks_read_per_s": 9000.0,
        "db.cache_hit_ratio": 0.8, "host.psi.io_some_ratio": 0.5, "host.io.await_ms": 35.0,
        "user.http.first_byte_ms": 300.0,
    }),
    Example("the database host itself is not seen", SITE, {
        "db.wait.io": 4.0, "db.sessions.active": 6.0, "db.blocks_read_per_s": 9000.0,
        "db.cache_hit_ratio": 0.8, "user.http.first_byte_ms": 300.0,
    }).without("host."),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge: CPU, not disk", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("a full CPU and a few reads", SITE, {**SURGE_PROTECTED, "db.wait.io": 0.6}),
    Example("I/O waits without a sign of a slow or busier disk", SITE, {
        "db.wait.io": 1.5, "db.sessions.active": 2.2,
    }),
)  # fmt: skip
