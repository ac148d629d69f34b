"""The web processes have no CPU left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import Pressure, idle, pressure
from premortem.causes._traffic import dearer_pages
from premortem.causes._users import hurt
from premortem.causes._verdict import fact, held, level, num, percent, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "WebCpu"]


@dataclass(frozen=True, slots=True)
class WebCpu:
    """The web processes compute all the time, the tiers below them have room.

    Shows: TCP connects fast, the first byte comes late; the web processes use 90 % or more of the
    cores they may use, the event loop lags or the run queue grows.
    Ruled out by: web CPU below that; or a saturated database or a queue for its connections: then
    the web tier only waits.
    First help: more web workers or servers. This is the only cause where that helps.
    Not this: high *memory* or many open requests in the web tier with little CPU. They wait for
    something below.
    """

    busy_ratio_min: float = 0.9
    """At 90 % of a core, waiting is nine times the work of one request (M/M/1: rho/(1-rho))."""
    loop_lag_ms_min: float = 250.0
    """A loop that answers a timer this late is blocked; sharing one core costs up to 50 ms."""

    loop_lag_ms_busy: float = 100.0
    """Twice what sharing a core costs. Beside a busy process it is that process's own work."""
    busy_ratio_lagging: float = 0.8
    """With such a lag the rest of the core is what neighbours took of it in the same seconds."""
    busy_ratio_robbed: float = 0.5
    """With such a lag on a machine whose cores are all used: more it could not get."""
    host_busy_full: float = 0.9
    """All cores of the machine are used."""

    tier: ClassVar[Tier] = "web"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "add_web_workers")
    deciding: ClassVar[tuple[str, ...]] = ("web.cpu.busy_ratio",)
    check: ClassVar[str] = "CPU of the web processes against their cores, with database and pool"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        busy = level(history, "web.cpu.busy_ratio")
        lag = self._lag(history)
        if busy is None:
            return self._unmeasured(lag)
        full = self._used_up(history, busy)
        note = f"the web processes use {percent(busy)} of their CPU"
        cpu = fact(history, "web.cpu.busy_ratio", busy, self.busy_ratio_min, note, above=full)
        if full:
            return self._full(history, cpu, lag)
        if lag is not None and not pressure(history).saturated:
            return verdict(
                self, "suspected", f"{lag.note} although {note}: one call blocks the event loop.",
                lag, cpu, check="a stack sample of the web process (py-spy dump)",
            )  # fmt: skip
        calm = busy < self.busy_ratio_lagging and self._has_room(history, busy)
        state: State = "ruled_out" if calm else "cannot_exclude"
        return verdict(self, state, f"{note}.", cpu, check=self.check)

    def _used_up(self, history: History, busy: float) -> bool:
        """All of its cores; or nearly all, while it lags or a page costs several times as much; or
        what a full machine leaves it."""
        if held(history, "web.cpu.busy_ratio", above=self.busy_ratio_min * 0.999):
            return True
        if busy >= self.busy_ratio_lagging and dearer_pages(history) and hurt(history) is not None:
            return True
        if not self._lags(history):
            return False
        robbed = (level(history, "host.cpu.busy_ratio") or 0.0) >= self.host_busy_full
        return busy >= (self.busy_ratio_robbed if robbed else self.busy_ratio_lagging)

    def _has_room(self, history: History, busy: float) -> bool:
        """Whether it could have more: its loop does not lag, or the machine has cores left."""
        if level(history, "web.loop_lag_ms") is not None:
            return not self._lags(history)
        host = level(history, "host.cpu.busy_ratio")
        spare = host is not None and host < self.host_busy_full
        return spare or busy < self.busy_ratio_robbed

    def _lags(self, history: History) -> bool:
        return (level(history, "web.loop_lag_ms") or 0.0) >= self.loop_lag_ms_busy

    def _full(self, history: History, cpu: Evidence, lag: Evidence | None) -> Verdict:
        load, pool = pressure(history), None if idle(history) else self._pool(history)
        if load.saturated or pool is not None:
            below = pool.note if pool is not None else load.words
            return verdict(
                self, "suspected", f"{cpu.note}, but below {below}: the deeper tier comes first.",
                cpu, load.evidence, pool, check=self.check,
            )  # fmt: skip
        return verdict(
            self,
            "confirmed",
            f"{cpu.note}{self._room(load)}.",
            cpu,
            lag,
            check=self.check,
            strength=0.8,
        )

    def _room(self, load: Pressure) -> str:
        return "" if load.saturated is None else f" while {load.words}"

    def _lag(self, history: History) -> Evidence | None:
        lag = level(history, "web.loop_lag_ms")
        if lag is None or lag < self.loop_lag_ms_min:
            return None
        note = f"the event loop lags {num(lag)} ms"
        return fact(history, "web.loop_lag_ms", lag, self.loop_lag_ms_min, note)

    def _pool(self, history: History) -> Evidence | None:
        if not held(history, "pool.waiting", above=0.0):
            return None
        waiting = level(history, "pool.waiting") or 0.0
        note = f"{num(waiting)} requests wait for a pooled connection"
        return fact(history, "pool.waiting", waiting, 0.0, note)

    def _unmeasured(self, lag: Evidence | None) -> Verdict:
        how = "run top on the web server: one process at 100 % of a core is this"
        if lag is None:
            return verdict(self, "cannot_exclude", "web CPU is not measured.", check=how)
        return verdict(self, "suspected", f"{lag.note}; web CPU is not measured.", lag, check=how)


FIRES = (
    Example("a template got expensive, neighbours take the rest; the clients try again", {
        **SITE, "web.cpu.busy_ratio": 0.06,
    }, {
        "web.cpu.busy_ratio": 0.87, "web.loop_lag_ms": 80.0, "web.queue_length": 4.0,
        "web.requests_per_s": 60.0, "web.repeat_ratio": 0.4, "user.http.ok_ratio": 0.5,
        "user.http.first_byte_ms": 200.0, "db.cpu.busy_ratio": 0.2,
    }),
    Example("a template got expensive: one core full, the database idle", SITE, {
        "web.cpu.busy_ratio": 0.98, "web.loop_lag_ms": 300.0, "user.http.first_byte_ms": 700.0,
        "web.response_ms": 600.0, "web.in_flight": 8, "web.queue_length": 5.0,
    }),
    Example("the same on a machine that others use up: it gets 60 % of its core", SITE, {
        "web.cpu.busy_ratio": 0.6, "web.loop_lag_ms": 250.0, "host.cpu.busy_ratio": 1.0,
        "user.http.first_byte_ms": 900.0,
    }),
    Example("it keeps pooled connections while it computes, the database is idle", SITE, {
        "web.cpu.busy_ratio": 0.95, "web.loop_lag_ms": 70.0, "pool.in_use": 10, "pool.max": 10,
        "pool.waiting": 12.0, "pool.wait_ms": 800.0, "db.sessions.active": 0.5, "db.wait.cpu": 0.1,
        "user.http.first_byte_ms": 2000.0,
    }),
    Example("seen without a guard", OPEN_SITE, {
        "web.cpu.busy_ratio": 0.97, "user.http.first_byte_ms": 900.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("half a core used in a surge on a guarded site", SITE, SURGE_PROTECTED),
    Example("the seeds' surge: the web tier waits", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("neighbours use the machine; the web process asks for little and lags a bit", SITE, {
        "web.cpu.busy_ratio": 0.4, "web.loop_lag_ms": 120.0, "host.cpu.busy_ratio": 1.0,
    }),
    Example("the web tier is busy, and the database is full", SITE, {
        **SURGE_PROTECTED, "web.cpu.busy_ratio": 0.97,
    }),
    Example("one blocking call in the event loop, CPU low", SITE, {
        "web.loop_lag_ms": 900.0, "user.http.first_byte_ms": 1200.0, "web.cpu.busy_ratio": 0.1,
    }),
)  # fmt: skip
