"""Another service the site calls has become slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._decomposition import components, most_grown
from premortem.causes._verdict import fact, held, level, num, percent, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "DownstreamDependency"]


@dataclass(frozen=True, slots=True)
class DownstreamDependency:
    """Requests wait for a service that is neither the site nor its database.

    Shows: the time of outbound calls grows, requests in flight pile up; database and CPU idle.
    Ruled out by: outbound times as usual; a database that is saturated.
    First help: a breaker and a short time-out for that call, a bulkhead so that other routes live,
    an answer without it.
    Not this: outbound times that grow because the web process has no CPU to read the answers.
    """

    times_min: float = 3.0
    """Three times the usual: beyond a service's own daily shape."""
    grown_ms_min: float = 50.0
    """Less than this is not felt behind a page of some hundred milliseconds."""
    slow_ms: float = 1000.0
    """Slow by itself while nothing usual is known."""
    web_busy_max: float = 0.9
    """A web process without CPU sees everything late."""
    turns: float = 5.0
    """Turns of the event loop in an outbound call (connect, send, read, close, go on): each waits
    as long as the loop lags. Other programs on its core make it lag at a low CPU share."""

    tier: ClassVar[Tier] = "downstream"
    remedies: ClassVar[tuple[str, ...]] = ("shed",)
    deciding: ClassVar[tuple[str, ...]] = ("web.downstream_ms",)
    check: ClassVar[str] = "time of each outbound call, and one such call made by hand"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        now, before = level(history, "web.downstream_ms"), usual(history, "web.downstream_ms")
        if now is None:
            return verdict(
                self, "cannot_exclude", "outbound calls are not timed.", check=self.check
            )
        limit = (
            self.slow_ms
            if before is None
            else max(before * self.times_min, before + self.grown_ms_min)
        )
        instead = "" if before is None else f", usually {num(before)} ms"
        note = f"outbound calls take {num(now)} ms{instead}"
        slow = held(history, "web.downstream_ms", above=limit)
        calls = fact(history, "web.downstream_ms", now, limit, note, above=slow)
        if slow:
            return self._slow(history, calls)
        fine = now < limit and (before is not None or now < self.grown_ms_min)
        return verdict(
            self, "ruled_out" if fine else "cannot_exclude", f"{note}.", calls, check=self.check
        )

    def _slow(self, history: History, calls: Evidence) -> Verdict:
        load, busy = pressure(history), level(history, "web.cpu.busy_ratio") or 0.0
        if load.saturated:
            because = f"{calls.note}, but {load.words}."
            return verdict(self, "suspected", because, calls, load.evidence, check=self.check)
        if busy >= self.web_busy_max:
            because = f"{calls.note}, but the web processes use {percent(busy)} of their CPU."
            return verdict(self, "suspected", because, calls, check=self.check)
        lag = level(history, "web.loop_lag_ms") or 0.0
        if self.turns * lag >= calls.value:
            because = f"{calls.note}, but the web processes lag {num(lag)} ms at each step."
            return verdict(self, "suspected", because, calls, check=self.check)
        most = most_grown(components(history))
        sure = most is None or most.tier in ("downstream", "web", "network", "pool")
        room = f" while {load.words}" if load.saturated is not None else ""
        return verdict(
            self, "confirmed" if sure else "suspected", f"{calls.note}{room}.",
            calls, load.evidence, check=self.check, strength=0.8,
        )  # fmt: skip


FIRES = (
    Example("the payment service answers in 2 s", SITE, {
        "web.downstream_ms": 2000.0, "web.in_flight": 8, "web.queue_length": 6.0,
        "user.http.first_byte_ms": 2000.0, "web.response_ms": 1800.0, "db.wait.cpu": 0.3,
        "db.cpu.busy_ratio": 0.25, "db.transactions_per_s": 25.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("outbound calls are not timed", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("the web process has no CPU: all it waits for looks slow", SITE, {
        "web.downstream_ms": 300.0, "web.cpu.busy_ratio": 0.98, "web.loop_lag_ms": 280.0,
        "user.http.first_byte_ms": 900.0,
    }),
    Example("another program holds the web server's core: each step comes late", SITE, {
        "web.downstream_ms": 330.0, "web.cpu.busy_ratio": 0.04, "web.loop_lag_ms": 125.0,
        "user.http.first_byte_ms": 400.0, "db.cpu.busy_ratio": 0.1, "db.wait.cpu": 0.1,
        "web.in_flight_limit": 3, "web.refused_per_s": 20.0,
    }),
    Example("a few milliseconds more", SITE, {"web.downstream_ms": 18.0}),
)  # fmt: skip
