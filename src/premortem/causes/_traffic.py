"""How much more is asked for and done than usual: traffic tells a surge from a slower query."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from premortem.causes._database import stuck
from premortem.causes._verdict import (
    fact,
    growth,
    lately,
    level,
    num,
    once,
    percent,
    rise,
    usual,
)
from premortem.model import Evidence, History

__all__ = [
    "FLAT",
    "Traffic",
    "dearer_pages",
    "demand_growth",
    "lost_cache",
    "made_above",
    "repeats",
    "scan_growth",
    "scans",
    "traffic",
    "unique_growth",
]

FLAT = 1.3
"""Below this growth traffic counts as flat: median of four Poisson samples at 30/s is +-15 %."""
PEAK_S = 90.0
"""How far back a rise still explains a site that has been drowned since."""
PEAK_SIGMAS = 4.0
"""The highest of ninety means of Poisson counts stays below three of its deviations."""
OPENED_USUAL_MIN_PER_S = 2.0
"""New sessions count as traffic only where the site opens one a request anyway."""
BUSY_USUAL_MIN = 0.05
"""Below 5 % the clock's ticks of 10 ms and background work are most of what is counted."""
SCANS_TIMES_MIN = 4.0
"""Rows read a transaction: a changed mix of requests, or a crowd, makes up to 2 of it (measured
over 60 recordings of other troubles); a lost index made 11 to 18."""
PAGES_BUSY_MIN = 0.5
"""Below half a core nobody feels what a page costs."""
PAGES_TIMES_MIN = 3.0
"""Web CPU a request: at most 1.6 of it in 60 recordings of other troubles, a lost cache apart (3.5,
at a quarter of a core); templates that got dear made 5 to 27."""
SCANS_COST_MIN = 1.8
"""CPU a transaction, beside the rows: contention alone makes up to 1.5 of it."""
_OFFERED = ("web.requests_per_s",)
_DONE = ("db.transactions_per_s", "db.statements.calls_per_s")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Growth of what arrives (``offered``) and of what the database completes (``done``)."""

    offered: float | None
    done: float | None
    peak: float
    """The most any of them grew in the last 90 s; 0 when none stood out of its noise."""
    metric: str
    """The metric that grew most, for the evidence."""

    @property
    def most(self) -> float | None:
        known = [g for g in (self.offered, self.done) if g is not None]
        return max(known) if known else None

    @property
    def risen(self) -> bool:
        """Traffic is up, or was when the trouble began: a drowned site completes less again."""
        return max(self.most or 0.0, self.peak) >= FLAT

    @property
    def flat(self) -> bool:
        """Measured flat: arrivals known and not risen (completions alone are capped)."""
        return self.offered is not None and not self.risen

    @property
    def words(self) -> str:
        """The growth in words; empty where it is not known."""
        if self.most is None:
            return ""
        if self.most < FLAT <= self.peak:
            return f"calls rose to {num(self.peak)} times the usual"
        return f"calls are {num(self.most)} times the usual"

    def evidence(self, history: History) -> Evidence | None:
        """The growth as a fact, where it is known."""
        now = level(history, self.metric) if self.metric else None
        if now is None or self.most is None:
            return None
        note = f"{self.metric} is {num(now)} per second, {num(self.most)} times the usual"
        return fact(history, self.metric, now, usual(history, self.metric) or 0.0, note)


@once
def traffic(history: History) -> Traffic:
    """Growth of arrivals and completions against what is usual."""
    done = list(_DONE)
    if (usual(history, "db.connections.opened_per_s") or 0.0) >= OPENED_USUAL_MIN_PER_S:
        done.append("db.connections.opened_per_s")
    grown = {m: rise(history, m, floor=1.0) for m in (*_OFFERED, *done)}
    known = {m: g for m, g in grown.items() if g is not None}
    return Traffic(
        _most(known, _OFFERED),
        _most(known, done),
        max((_peak(history, m) for m in known), default=0.0),
        max(known, key=lambda m: known[m]) if known else "",
    )


def _most(known: Mapping[str, float], metrics: Iterable[str]) -> float | None:
    return max((known[m] for m in metrics if m in known), default=None)


def _peak(history: History, metric: str) -> float:
    """The highest mean of five samples in the last 90 s against usual, beyond counting noise."""
    values, before = history.window(metric, PEAK_S).values, usual(history, metric)
    if before is None or len(values) < 5:
        return 0.0
    highest = max(sum(values[i : i + 5]) / 5 for i in range(len(values) - 4))
    noise = PEAK_SIGMAS * math.sqrt(max(before, 1.0) / 5)
    return highest / max(before, 1.0) if highest - before >= noise else 0.0


def demand_growth(history: History) -> float | None:
    """Growth of the CPU one transaction costs, S = U / X (utilisation law); queues do not move it.

    ``None`` unless CPU and transactions and their usual values are measured.
    """
    busy = growth(history, "db.cpu.busy_ratio", floor=BUSY_USUAL_MIN)
    done = growth(history, "db.transactions_per_s", floor=0.5)
    before = usual(history, "db.transactions_per_s")
    last = history.value("db.transactions_per_s")
    if busy is None or done is None or before is None or last is None:
        return None
    # While a rise is fresh the median of the transactions lags behind: believe their last sample.
    return busy / max(done, last / max(before, 0.5), 0.05)


@once
def scans(history: History) -> Evidence | None:
    """Each transaction reads many times the usual rows, and costs more: no traffic does that.

    Nothing where a lost cache is why: then it is other transactions.
    """
    metric = "db.rows_scanned_per_s"
    read, busy = (
        lately(history, metric, floor=100.0),
        lately(history, "db.cpu.busy_ratio", floor=BUSY_USUAL_MIN),
    )
    done = lately(history, "db.transactions_per_s", floor=0.5)
    if read is None or busy is None or done is None or lost_cache(history) is not None:
        return None
    times, cost = read / max(done, 0.05), demand_growth(history) or busy / max(done, 0.05)
    if times < SCANS_TIMES_MIN or cost < SCANS_COST_MIN:
        return None
    now = level(history, metric) or 0.0
    note = f"a transaction reads {num(times)} times the usual rows and costs {num(cost)} times"
    return fact(history, metric, now, now / times, f"{note} its CPU")


def scan_growth(history: History) -> float | None:
    """Growth of the rows that one transaction reads; ``None`` unless both are measured."""
    read = growth(history, "db.rows_scanned_per_s", floor=100.0)
    done = growth(history, "db.transactions_per_s", floor=0.5)
    return None if read is None or done is None else read / max(done, 0.05)


@once
def dearer_pages(history: History) -> bool:
    """Whether a request costs the busy web processes several times its usual CPU.

    Neither more requests nor repeats of them do that (S = U / X, the utilisation law).
    """
    busy = level(history, "web.cpu.busy_ratio")
    more = growth(history, "web.cpu.busy_ratio", floor=0.02)
    asked = growth(history, "web.requests_per_s", floor=1.0)
    if busy is None or more is None or asked is None or busy < PAGES_BUSY_MIN:
        return False
    return more >= PAGES_TIMES_MIN * max(asked, 0.05)


def unique_growth(history: History) -> float | None:
    """Growth of requests that are not repeats of the same client's last one."""
    offered, repeats = level(history, "web.requests_per_s"), level(history, "web.repeat_ratio")
    before = usual(history, "web.requests_per_s")
    if offered is None or repeats is None or before is None:
        return None
    usual_repeats = usual(history, "web.repeat_ratio") or 0.0
    return offered * (1 - min(repeats, 1.0)) / max(before * (1 - min(usual_repeats, 1.0)), 0.5)


def repeats(history: History, share_min: float = 0.3) -> Evidence | None:
    """The requests are clients' repeats: as many unique ones come as usual.

    Nothing where the database stands still, or its work or the web tier's became dearer: then
    repeats follow.
    """
    if stuck(history) or scans(history) is not None or dearer_pages(history):
        return None
    share, unique = level(history, "web.repeat_ratio"), unique_growth(history)
    if share is None or unique is None or share < share_min or unique >= FLAT:
        return None
    note = (
        f"{percent(share)} of the requests are repeats and unique requests are "
        f"{num(unique)} times the usual: retries fill the database"
    )
    return fact(history, "web.repeat_ratio", share, share_min, note)


def lost_cache(history: History, times_min: float = 3.0) -> Evidence | None:
    """Each request asks the database several times as often as usual."""
    asked = lately(history, "web.requests_per_s", floor=1.0)
    calls = lately(history, "db.transactions_per_s", floor=1.0)
    if asked is None or calls is None or calls < times_min * max(asked, 1.0):
        return None
    note = (
        f"transactions are {num(calls)} times the usual at {num(asked)} times the requests: "
        "each request asks the database more often"
    )
    now = level(history, "db.transactions_per_s") or 0.0
    return fact(history, "db.transactions_per_s", now, now / calls, note)


def made_above(history: History) -> Evidence | None:
    """A load that clients or a lost cache make: what it fills below is an effect."""
    return repeats(history) or lost_cache(history)
