"""Writes stall while the server flushes its log or its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._traffic import traffic
from premortem.causes._verdict import SLOW_S, fact, growth, held, level, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "CheckpointWal"]


@dataclass(frozen=True, slots=True)
class CheckpointWal:
    """Commits wait for the write-ahead log, in step with checkpoints that are forced too often.

    Shows: periodic stalls of writes; sessions in WAL write or sync waits; more requested than timed
    checkpoints; log volume far above the usual.
    Ruled out by: hardly a session waiting for the log.
    First help: a larger max_wal_size, checkpoints spread over their interval; stop the bulk write.
    Not this: reads that wait for data files.
    """

    waiting_min: float = 1.0
    """One session in a log wait at any time: the log is the narrowest place of all commits."""
    waiting_low: float = 0.5
    """In most samples no commit waits."""
    bursts_s: float = 6.0
    """Writers stall together and go on together: a median of seconds sees either or."""
    requested_per_s_min: float = 0.01
    """More than one forced checkpoint in 100 s: the default interval is 300 s."""
    wal_times_min: float = 3.0
    """Three times the usual log volume, and three times what traffic grew, is a bulk write."""
    wal_bytes_min: float = 500_000.0
    """A second; at less the smallest max_wal_size in use (1 GB) lasts half an hour."""
    look_back_s: float = 30.0
    """A checkpoint request counts this long: counters move once, the stall follows."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("cancel_query", "shed")
    deciding: ClassVar[tuple[str, ...]] = ("db.wait.wal",)
    check: ClassVar[str] = "sessions in WAL waits with requested against timed checkpoints"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        waiting = level(history, "db.wait.wal")
        if waiting is None:
            return verdict(
                self, "cannot_exclude", "waits for the log are not measured.",
                check="sessions in WALSync or WALWrite; 'checkpoints are occurring too frequently' "
                "in the server's log",
            )  # fmt: skip
        lately = max(waiting, history.mean("db.wait.wal", self.bursts_s) or 0.0)
        note = f"{num(lately)} sessions wait for the write-ahead log"
        many = lately >= self.waiting_min * 0.8 and (
            lately > waiting
            or held(history, "db.wait.wal", above=self.waiting_min * 0.8, samples=2)
        )
        log = fact(history, "db.wait.wal", lately, self.waiting_min * 0.8, note, above=many)
        signs = [e for e in (self._requested(history), self._volume(history)) if e is not None]
        if not many:
            state: State = "cannot_exclude" if signs or lately >= self.waiting_low else "ruled_out"
            return verdict(self, state, f"{note}.", log, check=self.check)
        return verdict(
            self,
            "confirmed" if signs else "cannot_exclude",
            f"{'; '.join([note, *(s.note for s in signs)])}.",
            log,
            *signs,
            check=self.check,
            strength=0.75 + 0.05 * len(signs),
        )

    def _requested(self, history: History) -> Evidence | None:
        metric = "db.checkpoints.requested_per_s"
        requested = history.mean(metric, self.look_back_s)
        timed = history.mean("db.checkpoints.timed_per_s", self.look_back_s) or 0.0
        if requested is None or requested < self.requested_per_s_min or requested <= timed:
            return None
        note = f"{num(requested * 60)} checkpoints a minute are forced, {num(timed * 60)} are timed"
        return Evidence(metric, requested, timed, history.now - self.look_back_s, note)

    def _volume(self, history: History) -> Evidence | None:
        metric = "db.wal.bytes_per_s"
        times = growth(history, metric, floor=10_000.0, max_age_s=SLOW_S)
        now = level(history, metric, max_age_s=SLOW_S)
        if times is None or now is None or now < self.wal_bytes_min:
            return None
        if times < self.wal_times_min * max(traffic(history).most or 1.0, 1.0):
            return None
        note = f"{num(now / 1e6)} MB of log are written a second, {num(times)} times the usual"
        return fact(history, metric, now, now / times * 2, note)


FIRES = (
    Example("a bulk load forces checkpoint after checkpoint", SITE, {
        "db.wait.wal": 3.0, "db.sessions.active": 4.5, "db.checkpoints.requested_per_s": 0.2,
        "db.wal.bytes_per_s": 30_000_000.0, "db.wait.io": 0.7, "user.http.first_byte_ms": 250.0,
        "host.psi.io_some_ratio": 0.4,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("three times the traffic writes three times the log, to a slow disk", SITE, {
        "db.wait.wal": 2.0, "db.wal.bytes_per_s": 140_000.0, "db.transactions_per_s": 130.0,
        "web.requests_per_s": 95.0, "db.cpu.busy_ratio": 0.8,
    }),
    Example("commits of a busy site wait for the disk as always", SITE, {"db.wait.wal": 2.0}),
    Example("a forced checkpoint that nobody feels", SITE, {
        "db.checkpoints.requested_per_s": 0.1, "db.wait.wal": 0.1,
    }),
    Example("reads wait for the disk", SITE, {
        "db.wait.io": 4.0, "db.sessions.active": 6.0, "db.blocks_read_per_s": 9000.0,
        "host.psi.io_some_ratio": 0.5,
    }),
)  # fmt: skip
