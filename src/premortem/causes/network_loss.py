"""The path between users and site loses or delays packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._verdict import (
    SLOW_S,
    fact,
    failed,
    held,
    level,
    num,
    percent,
    usual,
    verdict,
)
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "NetworkLoss"]


@dataclass(frozen=True, slots=True)
class NetworkLoss:
    """The network path loses packets, delays them or no longer reaches the site.

    Shows: connect times step to about 1, 3, 7 s (retried SYNs) on every port of the site, the
    retransmit ratio of established connections rises; the database has *less* to do than usual.
    Ruled out by: few retransmits while TCP connects fast; listen-queue overflows (the host drops,
    not the path); another port of the same host that answers fast.
    First help: another route, another zone, the provider.
    Not this: a slow first byte after a fast connect. That is the site.
    """

    retransmit_ratio_min: float = 0.02
    """2 %: TCP throughput falls with 1/sqrt(loss) (Mathis 1997); healthy paths stay below 0.5 %."""
    retransmit_ratio_high: float = 0.05
    """Loss by itself. Hosts without CPU repeat up to 3 % on loopback, where nothing is lost."""
    retransmit_ratio_low: float = 0.01
    """Below 1 % loss does not explain an outage."""
    queue_max: float = 5.0
    """Connections in an empty listener, give or take those in hand-over."""
    segments_per_s_min: float = 10.0
    """Fewer segments than this make no ratio."""
    retries_max: float = 6.0
    """A dropped handshake is tried again by both sides: up to three times each in 10 s; that many a
    second are no longer those of the watch's own connects."""
    connect_ms_min: float = 200.0
    """A handshake within a region takes < 100 ms; the first SYN retry comes at 1000 ms."""
    connect_times_usual: float = 5.0
    """Five times the usual handshake, where the usual is slow already."""

    tier: ClassVar[Tier] = "network"
    remedies: ClassVar[tuple[str, ...]] = ("failover",)
    deciding: ClassVar[tuple[str, ...]] = ("net.tcp.retransmit_ratio", "net.rtt_ms")
    check: ClassVar[str] = (
        "retransmit ratio and TCP connect time to two ports of the host; a slow connect to both "
        "is the path, a slow connect to one is its listener"
    )

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        slow = self._slow(history)
        loss = self._loss(history) or (None if slow is None else self._some(history))
        against = self._against(history, loss)
        if loss is None and slow is None:
            return self._nothing(history)
        shown = "; ".join(f.note for f in (loss, slow) if f is not None)
        if against is not None:
            because = f"{shown}, but {against.note}."
            known = level(history, "net.tcp.retransmit_ratio", over_s=10.0) is not None
            explained = loss is None or self._explained(history)
            clear: State = "ruled_out" if known else "cannot_exclude"
            state: State = clear if explained else "suspected"
            return verdict(self, state, because, loss, slow, against, check=self.check)
        other = self._other_slow(history)
        much = loss is not None and loss.value >= self.retransmit_ratio_high
        sure = much or (slow is not None and (loss is not None or other is not None))
        return verdict(
            self,
            "confirmed" if sure else "suspected",
            f"{shown}{'' if other is None else '; ' + other.note}.",
            loss,
            slow,
            other,
            check=self.check,
            strength=0.9 if loss and slow else 0.7,
        )

    def _loss(self, history: History) -> Evidence | None:
        ratio = level(history, "net.tcp.retransmit_ratio")
        segments = level(history, "net.tcp.segments_out_per_s")
        limit = self.retransmit_ratio_min * 0.999
        if ratio is None or not held(history, "net.tcp.retransmit_ratio", above=limit):
            return None
        if segments is not None and segments < self.segments_per_s_min:
            return None
        note = f"{percent(ratio)} of the TCP segments are sent again"
        return fact(history, "net.tcp.retransmit_ratio", ratio, limit, note)

    def _some(self, history: History) -> Evidence | None:
        """Less loss than that, while connects fail and no full listener explains it: most connects
        get through a path that loses one packet in twenty, also the next one to another port."""
        metric, ratio = "net.tcp.retransmit_ratio", history.mean("net.tcp.retransmit_ratio", 10.0)
        if ratio is None or ratio < self.retransmit_ratio_low or not self._listens(history):
            return None
        note = f"{percent(ratio)} of the TCP segments are sent again, and no listener is full"
        return fact(history, metric, ratio, self.retransmit_ratio_low * 0.999, note)

    def _listens(self, history: History) -> bool:
        """The site's listener is empty; or, where it cannot be seen, more is sent again than the
        handshakes that it may have dropped of ours."""
        overflows = history.mean("net.tcp.listen_overflows_per_s", 10.0)
        if overflows is not None and overflows > 0:
            return False
        queue = level(history, "net.tcp.listen_queue")
        if queue is not None:
            return queue < self.queue_max
        return (history.mean("net.tcp.retransmits_per_s", 10.0) or 0.0) >= self.retries_max

    def _limit(self, history: History, metric: str) -> float:
        return max(self.connect_ms_min, self.connect_times_usual * (usual(history, metric) or 0.0))

    def _slow(self, history: History) -> Evidence | None:
        for metric in ("net.rtt_ms", "user.http.connect_ms"):
            value = level(history, metric, max_age_s=SLOW_S)
            if value is not None and value > self._limit(history, metric):
                note = f"a TCP connect to the site takes {num(value)} ms"
                return fact(history, metric, value, self._limit(history, metric), note)
        timeouts = failed(history, "http_probe", "connect timeout") + failed(
            history, "tcp", "connect timeout"
        )
        names = failed(history, "http_probe", "dns:")
        if timeouts + names < 2:
            return None
        words = "name look-ups failed" if names > timeouts else "connects to the site timed out"
        return Evidence(
            "user.http.connect_ms", self._worst_ms, self.connect_ms_min, history.now - 10.0,
            f"{max(names, timeouts)} {words} in 10 s",
        )  # fmt: skip

    @property
    def _worst_ms(self) -> float:
        return 1000.0

    def _other_slow(self, history: History) -> Evidence | None:
        metric = "net.other_port_rtt_ms"
        value = level(history, metric, max_age_s=SLOW_S)
        if value is None or value <= self._limit(history, metric):
            return None
        note = f"a connect to another port of the host takes {num(value)} ms too"
        return fact(history, metric, value, self._limit(history, metric), note)

    def _explained(self, history: History) -> bool:
        """Whether the segments sent again are no more than retries of dropped handshakes."""
        overflows = history.mean("net.tcp.listen_overflows_per_s", 5.0) or 0.0
        again = history.mean("net.tcp.retransmits_per_s", 5.0)
        return again is not None and again <= self.retries_max * overflows

    def _against(self, history: History, loss: Evidence | None) -> Evidence | None:
        """What says that the host drops or delays, not the path."""
        overflows = history.mean("net.tcp.listen_overflows_per_s", 5.0)
        if overflows is not None and overflows >= 1.0:
            note = f"a listener of the host overflows {num(overflows)} times a second"
            return fact(history, "net.tcp.listen_overflows_per_s", overflows, 0.0, note)
        metric = "net.other_port_rtt_ms"
        other = level(history, metric, max_age_s=SLOW_S)
        if other is None or other > self._limit(history, metric) / 4:
            return None
        if loss is not None:
            return None
        note = f"another port of the host answers in {num(other)} ms"
        return fact(history, metric, other, self._limit(history, metric), note, above=False)

    def _nothing(self, history: History) -> Verdict:
        ratio = level(history, "net.tcp.retransmit_ratio", over_s=10.0)
        metric = "net.rtt_ms"
        connect = level(history, metric)
        if connect is None:
            metric = "user.http.connect_ms"
            connect = level(history, metric, max_age_s=SLOW_S)
        if ratio is None or connect is None:
            lacking = "retransmits are" if ratio is None else "connect times are"
            return verdict(
                self,
                "cannot_exclude",
                f"{lacking} not measured.",
                check="ping the host, and time a TCP connect to two of its ports",
            )
        limit = self._limit(history, metric)
        low = fact(
            history, "net.tcp.retransmit_ratio", ratio, self.retransmit_ratio_low,
            f"{percent(ratio)} of the TCP segments are sent again", above=False,
        )  # fmt: skip
        fast = fact(
            history, metric, connect, limit, f"a TCP connect takes {num(connect)} ms", above=False
        )
        state: State = "ruled_out" if ratio < self.retransmit_ratio_low else "cannot_exclude"
        return verdict(self, state, f"{low.note} and {fast.note}.", low, fast, check=self.check)


FIRES = (
    Example("6 % loss: some connects fail, most get through, the listener is empty", SITE, {
        "net.tcp.retransmit_ratio": 0.018, "net.tcp.retransmits_per_s": 6.0,
        "net.tcp.listen_queue": 0.0, "net.tcp.listen_overflows_per_s": 0.0,
        "user.http.connect_ms": 1000.0, "user.http.ok_ratio": 0.7,
    }),
    Example("8 % loss on the way in", SITE, {
        "net.tcp.retransmit_ratio": 0.08, "net.tcp.retransmits_per_s": 40.0,
        "net.rtt_ms": 1010.0, "net.other_port_rtt_ms": 1010.0, "user.http.connect_ms": 1012.0,
        "user.http.first_byte_ms": 400.0, "user.http.ok_ratio": 0.6, "web.requests_per_s": 12.0,
        "web.served_per_s": 12.0, "db.wait.cpu": 0.2, "db.cpu.busy_ratio": 0.12,
        "db.transactions_per_s": 15.0,
    }),
    Example("the path is congested: every port takes 600 ms", SITE, {
        "net.rtt_ms": 600.0, "net.other_port_rtt_ms": 620.0, "user.http.connect_ms": 610.0,
        "user.http.first_byte_ms": 640.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds: a surge on an unprotected site", OPEN_SITE, SURGE_OPEN,
            errors=(("http_probe", "first byte timeout after 2 s"),)),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
)  # fmt: skip
NEAR_MISS = (
    Example("a host without CPU acknowledges late: segments are repeated, none is lost", SITE, {
        **SURGE_PROTECTED, "net.tcp.retransmit_ratio": 0.026, "net.rtt_ms": 17.0,
    }),
    Example("a drowned host drops handshakes on both ports; they are sent again", SITE, {
        "net.tcp.retransmit_ratio": 0.12, "net.tcp.retransmits_per_s": 900.0,
        "net.tcp.listen_overflows_per_s": 500.0, "net.tcp.listen_queue": 2049,
        "net.rtt_ms": 1008.0, "net.other_port_rtt_ms": 1001.0, "user.http.ok_ratio": 0.1,
    }),
    Example("the web workers do not accept: connects to their port hang, others are fast", SITE, {
        "net.rtt_ms": 1010.0, "user.http.connect_ms": 1010.0, "net.other_port_rtt_ms": 0.4,
        "net.tcp.listen_overflows_per_s": 15.0, "net.tcp.listen_queue": 2049,
        "user.http.ok_ratio": 0.2,
    }),
)  # fmt: skip
