"""A replica serves data that is too old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._verdict import SLOW_S, fact, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "ReplicaLag"]


@dataclass(frozen=True, slots=True)
class ReplicaLag:
    """Replication runs behind: what users read is older than what they wrote.

    Shows: stale reads; the lag grows in seconds and in bytes. Shipping lag large: the network or
    the primary's sender; shipping small and total large: the replica applies too slowly (one
    process replays; a long query there conflicts).
    Ruled out by: little lag; no replica at all.
    First help: route reads to the primary, if it has the headroom; stop the conflicting query.
    Not this: an idle primary, whose last commit is simply long ago.
    """

    lag_s_min: float = 5.0
    """A page view later the user's own order should be there."""
    lag_s_low: float = 2.0
    """Two seconds are less than a person needs to reload."""
    lag_times_usual: float = 3.0
    """A replica with a usual delay is judged by it."""
    bytes_min: float = 1_000_000.0
    """An idle primary has old commits but nothing to send; a megabyte is real work behind."""
    shipping_share_min: float = 0.5
    """Where half of what is missing has not been sent, sending is the slow part."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("cancel_query",)
    deciding: ClassVar[tuple[str, ...]] = ("db.replica.lag_s",)
    check: ClassVar[str] = "sent, flushed and replayed positions of the replica"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        count = level(history, "db.replica.count", max_age_s=SLOW_S)
        lag = level(history, "db.replica.lag_s", max_age_s=SLOW_S)
        if lag is None:
            return self._unmeasured(history, count)
        limit = max(
            self.lag_s_min, self.lag_times_usual * (usual(history, "db.replica.lag_s") or 0.0)
        )
        note = f"the replica is {num(lag)} s behind"
        behind = fact(history, "db.replica.lag_s", lag, limit, note, above=lag >= limit)
        if lag < limit:
            state: State = "ruled_out" if lag < self.lag_s_low else "cannot_exclude"
            return verdict(self, state, f"{note}.", behind, check=self.check)
        return self._behind(history, lag, behind)

    def _behind(self, history: History, lag: float, behind: Evidence) -> Verdict:
        total = level(history, "db.replica.lag_bytes", max_age_s=SLOW_S)
        if total is None or total < self.bytes_min:
            because = (
                f"{behind.note}; how much it lacks is {'unknown' if total is None else 'little'}."
            )
            return verdict(self, "suspected", because, behind, check=self.check)
        size = fact(
            history,
            "db.replica.lag_bytes",
            total,
            self.bytes_min,
            f"{num(total / 1e6)} MB are missing",
        )
        return verdict(
            self, "confirmed", f"{behind.note}, {size.note}: {self._why(history, total)}.",
            behind, size, check=self.check, strength=0.5,
        )  # fmt: skip

    def _why(self, history: History, total: float) -> str:
        shipping = level(history, "db.replica.shipping_lag_bytes", max_age_s=SLOW_S)
        if shipping is None:
            return "whether in shipping or in replay is not measured"
        if shipping >= self.shipping_share_min * total:
            return "the log is not shipped fast enough"
        return "it is shipped but not replayed fast enough"

    def _unmeasured(self, history: History, count: float | None) -> Verdict:
        before = usual(history, "db.replica.count") or 0.0
        if count is not None and count < 1 and before < 1:
            none = fact(history, "db.replica.count", count, 1.0, "there is no replica", above=False)
            return verdict(self, "ruled_out", "there is no replica.", none, check=self.check)
        because = "the replica is gone." if count == 0 else "replication is not measured."
        return verdict(self, "cannot_exclude", because, check=self.check)


FIRES = (
    Example("replay is paused by a long query on the replica", SITE, {
        "db.replica.lag_s": (8.0, 20.0), "db.replica.lag_bytes": (5e6, 4e7),
        "db.replica.shipping_lag_bytes": 2000.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("no replica", {**OPEN_SITE, "db.replica.count": 0}, SURGE_OPEN).without(
        "db.replica.lag", "db.replica.shipping"
    ),
)
NEAR_MISS = (
    Example("an idle primary: the last commit is long ago, nothing is missing", SITE, {
        "db.replica.lag_s": (20.0, 32.0), "db.replica.lag_bytes": 100.0,
        "db.replica.shipping_lag_bytes": 0,
    }),
)  # fmt: skip
