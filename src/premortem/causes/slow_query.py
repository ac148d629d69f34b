"""One query became dear: a plan changed, an index is missing, data grew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._traffic import (
    SCANS_TIMES_MIN,
    Traffic,
    demand_growth,
    scan_growth,
    scans,
    traffic,
)
from premortem.causes._verdict import SLOW_S, fact, growth, level, num, percent, usual, verdict
from premortem.causes._worlds import DROWNED, LIGHT, OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "SlowQuery"]


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """The same number of calls costs the database several times the work.

    Shows: one statement dominates the active sessions; its mean time is up at *flat calls*; CPU a
    transaction (busy / transactions per second) is up, or the rows it reads are; one route is slow
    first.
    Ruled out by: calls that rose as much as the load (traffic); mean time and CPU a transaction
    as usual; sessions that wait for locks.
    First help: cancel the longest runs, a statement_timeout for that role; then the index, or
    ANALYZE; or roll back what brought the query.
    Not this: all statements slower together while calls rise.
    """

    cost_times_min: float = 2.0
    """CPU a transaction: contention alone makes up to 1.5 (measured at 2 x the knee)."""
    cost_times_low: float = 1.6
    """What contention alone may make of it; from here to twice it may be either."""
    cost_times_crowded: float = 4.0
    """With ten sessions a core and more, switching and spinning may quadruple it."""
    mean_times_min: float = 3.0
    """Mean time of the top statement; queueing at 70 % load makes 3 of it at most."""
    top_share_min: float = 0.5
    """One statement is more than all others together."""
    lock_share_max: float = 0.5
    """Beyond this the time is lock waits."""
    disk_share_max: float = 0.5
    """Beyond this the time is the disk's, unless a transaction also costs more CPU."""
    busy_ratio_min: float = 0.3
    """Below 30 % CPU nothing is dear enough to be felt."""
    calls_rise_max: float = 1.5
    """Calls may wander this much while a query grows dearer."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "cancel_query", "rollback")
    deciding: ClassVar[tuple[str, ...]] = (
        "db.cpu.busy_ratio",
        "db.transactions_per_s",
        "db.statements.top_mean_ms",
    )
    check: ClassVar[str] = "mean time and calls of the statement with most time, against usual"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        dearer = self._mean(history) or self._cost(history) or self._scans(history)
        if dearer is None:
            return self._none(history)
        calls, locks = traffic(history), self._locks(history)
        if locks is not None:
            because = f"{dearer.note}, but {locks.note}."
            return verdict(self, "ruled_out", because, dearer, locks, check=self.check)
        reads = self._scans(history)
        disk = self._disk(history) if self._cost(history) is None else None
        if disk is not None:  # its time is the disk's; a lost index may be why, or not
            because = f"{dearer.note}, but {disk.note}."
            return verdict(self, "suspected", because, dearer, disk, check=self.check)
        if reads is None:  # else it is dearer whatever the traffic does
            risen = self._risen(history, dearer, calls)
            if risen is not None:
                return risen
        return self._dearer(history, dearer, calls)

    def _risen(self, history: History, dearer: Evidence, calls: Traffic) -> Verdict | None:
        """What is said of dearer work that came with more calls."""
        if calls.most is not None and calls.most >= self.calls_rise_max:
            because = f"{dearer.note}, but calls are {num(calls.most)} times the usual."
            state = self._beside_traffic(history)
            return verdict(self, state, because, dearer, calls.evidence(history), check=self.check)
        if pressure(history).crowded and calls.peak >= self.calls_rise_max:
            because = (
                f"{dearer.note}, but it began when calls were {num(calls.peak)} times the usual."
            )
            state = "ruled_out" if self._cost(history) is None else "suspected"
            return verdict(self, state, because, dearer, check=self.check)
        return None

    def _beside_traffic(self, history: History) -> State:
        """What dearer work may be when more is asked for as well."""
        cost = demand_growth(history)
        if cost is None:
            return "cannot_exclude"
        if cost >= self.cost_times_crowded:
            return "suspected"
        known = cost < self.cost_times_low or scan_growth(history) is not None
        return "ruled_out" if known else "cannot_exclude"

    def _dearer(self, history: History, dearer: Evidence, calls: Traffic) -> Verdict:
        cost, mean, reads = self._cost(history), self._mean(history), self._scans(history)
        loaded = pressure(history).saturated or self._felt(history)
        sure = calls.most is not None and (loaded or (cost is not None and mean is not None))
        if cost is None and reads is None:  # its time alone: a wait, unless the CPU says otherwise
            sure = sure and (demand_growth(history) or self.cost_times_low) >= self.cost_times_low
        flat = "" if calls.most is None else f" at {num(calls.most)} times the usual calls"
        name = _statement(history.rows("postgres"))
        facts = [e for e in (mean, cost, reads) if e is not None]
        return verdict(
            self,
            "confirmed" if sure else "suspected",
            f"{'; '.join(f.note for f in facts)}{flat}{name}.",
            *facts,
            pressure(history).evidence,
            check=self.check,
            strength=0.8 + 0.05 * len(facts),
        )

    def _felt(self, history: History) -> bool:
        slower = growth(history, "user.http.first_byte_ms", floor=5.0, max_age_s=SLOW_S)
        return slower is not None and slower >= 2.0

    def _mean(self, history: History) -> Evidence | None:
        """The top statement's mean time, where it dominates and all statements confirm it."""
        metric = "db.statements.top_mean_ms"
        top = growth(history, metric, floor=0.5, max_age_s=SLOW_S)
        every = growth(history, "db.statements.mean_ms", floor=0.2, max_age_s=SLOW_S)
        share = level(history, "db.statements.top_time_share", max_age_s=SLOW_S)
        now = level(history, metric, max_age_s=SLOW_S)
        if top is None or now is None or share is None or share < self.top_share_min:
            return None
        if pressure(history).saturated and not self._dear(history, unknown=True):
            return None  # a full CPU makes every statement's time longer
        if top < self.mean_times_min or (every is not None and every < self.cost_times_min):
            return None
        note = (
            f"the statement with {percent(share)} of the time takes {num(now)} ms, "
            f"{num(top)} times the usual"
        )
        return fact(history, metric, now, (usual(history, metric) or 0.0) * 2, note)

    def _dear(self, history: History, *, unknown: bool) -> bool:
        """Whether a transaction's CPU has grown beyond what a crowd makes of it."""
        cost = demand_growth(history)
        crowded = pressure(history).crowded
        limit = self.cost_times_crowded if crowded else self.cost_times_min
        return unknown if cost is None else cost >= limit

    def _cost(self, history: History) -> Evidence | None:
        cost, busy = demand_growth(history), level(history, "db.cpu.busy_ratio")
        if cost is None or busy is None or not self._dear(history, unknown=False):
            return None
        if busy < self.busy_ratio_min:
            return None
        note = f"a transaction costs {num(cost)} times its usual CPU"
        return fact(history, "db.cpu.busy_ratio", busy, busy / cost, note)

    def _scans(self, history: History) -> Evidence | None:
        """More rows a transaction, where the CPU feels them."""
        busy = level(history, "db.cpu.busy_ratio")
        if busy is not None and busy < self.busy_ratio_min:
            return None
        return scans(history)

    def _locks(self, history: History) -> Evidence | None:
        waiting = level(history, "db.wait.lock") or 0.0
        active = level(history, "db.sessions.active") or 0.0
        if waiting < 2.0 or waiting < self.lock_share_max * active:
            return None
        note = f"{num(waiting)} of {num(active)} active sessions wait for locks"
        return fact(history, "db.wait.lock", waiting, 2.0, note)

    def _disk(self, history: History) -> Evidence | None:
        """Active sessions wait for the disk more than they compute."""
        waiting = level(history, "db.wait.io") or 0.0
        active = level(history, "db.sessions.active") or 0.0
        if waiting < 1.0 or waiting < self.disk_share_max * active:
            return None
        note = f"{num(waiting)} of {num(active)} active sessions wait for the disk"
        return fact(history, "db.wait.io", waiting, 1.0, note)

    def _none(self, history: History) -> Verdict:
        cost = demand_growth(history)
        mean = growth(history, "db.statements.top_mean_ms", floor=0.5, max_age_s=SLOW_S)
        if cost is None and mean is None:
            return verdict(
                self, "cannot_exclude", "neither statement times nor CPU a transaction are known.",
                check="the longest running statements now, and pg_stat_statements by total time",
            )  # fmt: skip
        low_cpu = (level(history, "db.cpu.busy_ratio") or 0.0) < self.busy_ratio_min
        if (cost or 0.0) >= self.cost_times_min and not low_cpu:
            return verdict(self, "cannot_exclude", "what it costs is unclear.", check=self.check)
        if cost is None and pressure(history).saturated:
            because = "a full CPU makes every statement slower; CPU a transaction is not known."
            return verdict(self, "cannot_exclude", because, check=self.check)
        return self._usual_cost(history, cost, mean)

    def _usual_cost(self, history: History, cost: float | None, mean: float | None) -> Verdict:
        parts = []
        if cost is not None:
            parts.append(f"a transaction costs {num(cost)} times its usual CPU")
        if mean is not None:
            parts.append(f"the top statement takes {num(mean)} times its usual time")
        busy = level(history, "db.cpu.busy_ratio") or 0.0
        known = fact(
            history, "db.cpu.busy_ratio", busy, self.busy_ratio_min, "; ".join(parts), above=False
        )
        plain = (cost or 0.0) < self.cost_times_low
        plain = plain and (scan_growth(history) or 0.0) < SCANS_TIMES_MIN
        state: State = "ruled_out" if plain else "cannot_exclude"
        return verdict(self, state, f"{'; '.join(parts)}.", known, check=self.check)


def _statement(rows: tuple[Mapping[str, object], ...]) -> str:
    """The dominating statement in words, where the rows hold one."""
    row = next((r for r in rows if r.get("kind") == "statement" and r.get("query")), None)
    return "" if row is None else f": {str(row['query'])[:80]}"


FIRES = (
    Example("an index was dropped: scans fill the CPU at flat calls", SITE, {
        "db.wait.cpu": 7.0, "db.cpu.busy_ratio": 0.99, "db.sessions.active": 7.5,
        "db.transactions_per_s": 18.0, "db.statements.calls_per_s": 50.0,
        "db.statements.mean_ms": 55.0, "db.statements.top_time_share": 0.9,
        "db.statements.top_mean_ms": 300.0, "user.http.first_byte_ms": 900.0,
        "web.queue_length": 9.0, "pool.in_use": 8,
    }, rows={"postgres": ({"kind": "statement", "query": "select * from items where slug = ?"},)}),
    Example("milder: one route four times slower, CPU not full", SITE, {
        "db.wait.cpu": 1.4, "db.cpu.busy_ratio": 0.85, "db.statements.mean_ms": 9.0,
        "db.statements.top_time_share": 0.8, "db.statements.top_mean_ms": 45.0,
        "user.http.first_byte_ms": 60.0,
    }),
    Example("an index was dropped while traffic rises", LIGHT, {
        "db.wait.cpu": 1.2, "db.cpu.busy_ratio": 0.97, "db.transactions_per_s": 60.0,
        "web.requests_per_s": 55.0, "db.statements.calls_per_s": 160.0,
        "db.statements.mean_ms": 14.0, "db.statements.top_time_share": 0.61,
        "db.statements.top_mean_ms": 55.0, "db.rows_scanned_per_s": 8.0e6,
        "user.http.first_byte_ms": 300.0, "web.in_flight": 8.0, "web.queue_length": 9.0,
    }),
    Example("without statement figures", OPEN_SITE, {
        "db.wait.cpu": (15.0, 60.0), "db.cpu.busy_ratio": 0.99, "db.transactions_per_s": 15.0,
        "db.connections.opened_per_s": 34.0, "user.http.first_byte_ms": 1500.0,
    }).without("db.statements"),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("a surge on a guarded site: calls rose", SITE, SURGE_PROTECTED),
    Example("the seeds' surge", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("a drowned site completes less: the crowd makes all work dearer", OPEN_SITE, {
        **DROWNED, "db.statements.top_time_share": 0.7,
    }),
    Example("statements wait for a lock", SITE, {
        "db.wait.lock": 7.0, "db.sessions.active": 7.5, "db.root_blocker.age_s": 6.0,
        "db.statements.mean_ms": 60.0, "db.statements.top_mean_ms": 400.0,
        "db.statements.top_time_share": 0.8,
    }),
    Example("a nightly report runs once and is dear, calls are not slower", SITE, {
        "db.wait.cpu": 1.2, "db.cpu.busy_ratio": 0.6,
        "db.statements.top_time_share": 0.3,
    }),
)  # fmt: skip
