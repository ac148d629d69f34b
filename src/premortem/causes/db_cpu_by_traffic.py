"""The database has more work than cores, because more is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import Pressure, pressure
from premortem.causes._traffic import (
    FLAT,
    Traffic,
    demand_growth,
    lost_cache,
    repeats,
    scans,
    traffic,
)
from premortem.causes._users import hurt
from premortem.causes._verdict import verdict
from premortem.causes._worlds import LIGHT, OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "DbCpuByTraffic"]


@dataclass(frozen=True, slots=True)
class DbCpuByTraffic:
    """More requests arrive than the database's cores can do.

    Shows: more sessions want CPU (active without a wait event) than the database has cores, on
    all routes at once; calls per second are up, the cost of one call only mildly.
    Ruled out by: sessions on CPU within the cores; calls flat (then one query became dearer);
    repeats of the same requests (then it is a retry storm).
    First help: shed at the web tier so that no more are in flight than the database can do; then
    cache, then replicas or more cores.
    Not this: more web servers. They send the same database more work.
    """

    repeat_ratio_min: float = 0.3
    """Share of repeats that explains a saturated database when unique requests did not rise."""
    demand_growth_max: float = 1.5
    """One transaction's CPU may rise this much from contention alone (measured up to 1.4)."""
    demand_crowded_max: float = 4.0
    """With ten sessions a core and more, switching and spinning may quadruple it."""
    busy_ratio_low: float = 0.6
    """Below this a database has room, whoever is refused before it."""
    calls_each_max: float = 3.0
    """More calls a request than this times the usual is not traffic but a lost cache."""

    tier: ClassVar[Tier] = "database"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "cap_pool", "cancel_query")
    deciding: ClassVar[tuple[str, ...]] = ("db.wait.cpu", "db.cores")
    check: ClassVar[str] = (
        "active sessions without a wait event against cores, and calls per second against usual"
    )

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        load = pressure(history)
        if load.saturated is None:
            return verdict(
                self,
                "cannot_exclude",
                f"{load.words}.",
                check="sample the sessions by wait event once a second; or run top on the "
                "database host",
            )
        if not load.saturated:
            return self._keeps_up(history, load)
        return self._saturated(history, load)

    def _keeps_up(self, history: History, load: Pressure) -> Verdict:
        """Ruled out, unless it is busy while more arrives than is served: then it may be both."""
        felt = hurt(history)
        if felt is None or (load.busy or 0.0) < self.busy_ratio_low or not traffic(history).risen:
            return self._no(f"{load.words}: it keeps up.", load.evidence)
        because = f"{load.words}, and {felt.note}."
        return verdict(self, "cannot_exclude", because, load.evidence, felt, check=self.check)

    def _saturated(self, history: History, load: Pressure) -> Verdict:
        calls = traffic(history)
        other = repeats(history, self.repeat_ratio_min) or lost_cache(history, self.calls_each_max)
        if other is not None:
            return verdict(
                self, "suspected", other.note + ".", load.evidence, other, check=self.check
            )
        read = scans(history)
        if read is not None:
            return self._no(f"{load.words}, but {read.note}: the same work became dearer.", read)
        if calls.flat or self._dearer(history, load, calls):
            because = f"{load.words}, but {calls.words}: the same work became dearer."
            return self._no(because, load.evidence)
        return self._by_traffic(history, load, calls)

    def _dearer(self, history: History, load: Pressure, calls: Traffic) -> bool:
        """Calls are not up and a transaction costs more than a crowd makes of it."""
        cost = demand_growth(history)
        if cost is None or calls.most is None or calls.most >= FLAT:
            return False
        crowd = load.crowded or calls.risen
        return cost >= (self.demand_crowded_max if crowd else self.demand_growth_max)

    def _by_traffic(self, history: History, load: Pressure, calls: Traffic) -> Verdict:
        felt = hurt(history)
        excess = (load.sessions or 0.0) / (load.cores or 1.0)
        return verdict(
            self,
            "suspected" if felt is None and not load.crowded else "confirmed",
            f"{load.words}; {calls.words or 'what is usual is not known yet'}.",
            load.evidence,
            calls.evidence(history),
            felt,
            check=self.check,
            strength=0.6 + min(excess / 1000, 0.05),
        )

    def _no(self, because: str, evidence: Evidence | None) -> Verdict:
        return verdict(self, "ruled_out", because, evidence, check=self.check)


FIRES = (
    Example("a surge reaches an unprotected site; slots are not full yet", OPEN_SITE, {
        **SURGE_OPEN, "db.connections.used": (20.0, 70.0), "db.sessions.active": (18.0, 68.0),
        "db.wait.cpu": (16.0, 65.0),
    }),
    Example("a surge on a guarded site: the excess is refused", SITE, SURGE_PROTECTED),
)  # fmt: skip
SILENT = (
    Example("calm at 40 % load", SITE),
    Example("a surge with headroom: twice the traffic on eight cores", {**SITE, "db.cores": 8}, {
        "web.requests_per_s": 66.0, "db.transactions_per_s": 90.0, "db.wait.cpu": 1.2,
        "db.cpu.busy_ratio": 0.15,
    }),
)  # fmt: skip
NEAR_MISS = (
    Example("an index was dropped while traffic rises", LIGHT, {
        "db.wait.cpu": 7.0, "db.cpu.busy_ratio": 0.97, "db.transactions_per_s": 60.0,
        "web.requests_per_s": 55.0, "db.rows_scanned_per_s": 8.0e6,
        "user.http.first_byte_ms": 900.0, "web.queue_length": 9.0,
    }),
    Example("a query lost its index: CPU is full at flat calls", SITE, {
        "db.wait.cpu": 7.0, "db.cpu.busy_ratio": 0.99, "db.transactions_per_s": 20.0,
        "db.statements.calls_per_s": 60.0, "db.statements.mean_ms": 60.0,
        "db.statements.top_time_share": 0.9, "db.statements.top_mean_ms": 300.0,
        "user.http.first_byte_ms": 900.0, "web.queue_length": 6.0,
    }),
    Example("clients retry: the requests are repeats", SITE, {
        **SURGE_PROTECTED, "web.requests_per_s": 90.0, "web.repeat_ratio": 0.7,
    }),
)  # fmt: skip
