"""The site's listener is full: its processes do not accept connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._verdict import SLOW_S, fact, held, level, num, percent, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "AcceptQueueOverflow"]


@dataclass(frozen=True, slots=True)
class AcceptQueueOverflow:
    """The kernel has finished handshakes that no process of the site takes.

    Shows: connects time out or take 1, 3, 7 s, and what is accepted is answered fast; the
    listener's queue is at its limit and ListenOverflows count up; other ports of the host are fine.
    Ruled out by: no overflow and an empty listener queue; retransmits and slow connects on other
    ports too (then it is the path).
    First help: find why the workers do not accept: stopped, blocked, all waiting for a lower tier.
    Not this: a longer backlog. It hides the wait and lengthens it.
    """

    waiting_min: float = 20.0
    """A process that accepts leaves a few in the queue; twenty for seconds is a standstill."""
    full_share: float = 0.95
    """Recv-Q at Send-Q, give or take the connection in hand-over."""
    other_port_ms_max: float = 100.0
    """Another port of the same host that answers this fast clears the path."""

    web_busy_full: float = 0.9
    """Processes that compute all the time accept late; then their CPU is the cause."""

    tier: ClassVar[Tier] = "web"
    remedies: ClassVar[tuple[str, ...]] = ("shed", "add_web_workers")
    deciding: ClassVar[tuple[str, ...]] = (
        "net.tcp.listen_overflows_per_s",
        "net.tcp.listen_queue",
    )
    check: ClassVar[str] = "ss -ltn on the host: Recv-Q of the site's listener against Send-Q"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        overflows = level(history, "net.tcp.listen_overflows_per_s")
        queue = level(history, "net.tcp.listen_queue")
        full = self._overflow(history, overflows) or self._queue(history, queue)
        if full is not None:
            return self._full(history, full)
        if overflows is None or queue is None:
            lacking = "listener overflows are" if overflows is None else "the listener's queue is"
            return verdict(self, "cannot_exclude", f"{lacking} not measured.", check=self.check)
        calm = fact(
            history, "net.tcp.listen_queue", queue, self.waiting_min,
            f"{num(queue)} connections wait in the listener, {num(overflows)} overflows a second",
            above=False,
        )  # fmt: skip
        state: State = "ruled_out" if queue < self.waiting_min else "cannot_exclude"
        return verdict(self, state, f"{calm.note}.", calm, check=self.check)

    def _full(self, history: History, full: Evidence) -> Verdict:
        load = pressure(history)
        if load.saturated:
            because = f"{full.note}, but below {load.words}: its workers wait for it."
            return verdict(self, "suspected", because, full, load.evidence, check=self.check)
        if held(history, "web.cpu.busy_ratio", above=self.web_busy_full):
            because = f"{full.note}, but the web processes have no CPU to accept them."
            return verdict(self, "suspected", because, full, check=self.check)
        other = level(history, "net.other_port_rtt_ms", max_age_s=SLOW_S)
        if other is not None and other > self.other_port_ms_max:
            because = f"{full.note}, but another port takes {num(other)} ms as well."
            return verdict(self, "suspected", because, full, check=self.check)
        fine = "" if other is None else f"; another port answers in {num(other)} ms"
        return verdict(
            self, "confirmed", f"{full.note}{fine}.", full, check=self.check, strength=0.9
        )

    def _overflow(self, history: History, overflows: float | None) -> Evidence | None:
        """Overflows, where the site's own queue was near its limit: the count is of all ports."""
        metric = "net.tcp.listen_overflows_per_s"
        if overflows is None or not held(history, metric, above=0.0, samples=2):
            return None
        lengths = history.window("net.tcp.listen_queue", 5.0).values
        most = history.value("net.tcp.listen_queue_max", max_age_s=60.0)
        if lengths and most and max(lengths) < self.full_share * most / 2:
            return None
        note = f"the site's listener overflows {num(overflows)} times a second"
        return fact(history, metric, overflows, 0.0, note)

    def _queue(self, history: History, queue: float | None) -> Evidence | None:
        if queue is None or not held(history, "net.tcp.listen_queue", above=self.waiting_min):
            return None
        most = history.value("net.tcp.listen_queue_max", max_age_s=60.0) or 0.0
        share = f", {percent(queue / most)} of its limit" if most else ""
        note = f"{num(queue)} connections wait in the listener{share}"
        limit = max(self.waiting_min, most * self.full_share)
        return fact(history, "net.tcp.listen_queue", queue, min(limit, self.waiting_min), note)


FIRES = (
    Example("the workers hang: connects time out on the site's port only", SITE, {
        "net.tcp.listen_overflows_per_s": 20.0, "net.tcp.listen_queue": 129,
        "net.tcp.listen_queue_max": 128, "net.rtt_ms": 1005.0, "user.http.connect_ms": 1005.0,
        "user.http.ok_ratio": 0.1, "db.wait.cpu": 0.1,
    }),
    Example("the web process is stopped: its listener fills", SITE, {
        "net.tcp.listen_queue": (30.0, 400.0), "user.http.first_byte_ms": 2000.0,
        "user.http.ok_ratio": 0.2, "db.wait.cpu": 0.05,
    }, gone=("web.", "pool.")),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge: connections are accepted at once", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)
NEAR_MISS = (
    Example("the database's listener overflows, the site's is empty", SITE, {
        "net.tcp.listen_overflows_per_s": 15.0, "net.tcp.listen_queue": 1.0,
        "net.other_port_rtt_ms": 1001.0, "db.wait.cpu": 30.0, "user.http.ok_ratio": 0.1,
    }),
    Example("the workers do not accept because they wait for a full database", OPEN_SITE, {
        **SURGE_OPEN, "net.tcp.listen_queue": (200.0, 2000.0),
        "net.tcp.listen_overflows_per_s": (0.0, 400.0),
    }),
    Example("the path is slow to every port", SITE, {
        "net.rtt_ms": 1010.0, "net.other_port_rtt_ms": 1010.0, "user.http.connect_ms": 1010.0,
        "net.tcp.retransmit_ratio": 0.09, "net.tcp.listen_queue": 3.0,
    }),
)  # fmt: skip
