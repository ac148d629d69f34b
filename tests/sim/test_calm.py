"""A simulated site: silent through healthy noise, warned before users fail in a surge.

The simulation is a queue with Poisson arrivals and exponential work on a few cores, observed once a
second through the metrics the sources report. Every figure comes from a seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from premortem.causes._worlds import OPEN_SITE, SITE
from premortem.detectors._standard import standard
from premortem.model import Diagnosis, History, Reading
from premortem.parts import parts
from premortem.pipeline import Pipeline
from premortem.sources._declared import declared_metrics

WORK_S = 0.012
"""CPU one request costs the database (measured on the trial site)."""
TIMEOUT_S = 1.0
SLOTS = 97


@dataclass
class Site:
    """Jobs share the cores; ``cap`` is the guard's limit, ``None`` lets all reach the database."""

    dice: random.Random
    cores: int = 1
    cap: int | None = 8
    queue_max: int = 32
    inside: int = 0
    queued: int = 0
    served: int = 0
    refused: int = 0
    offered: int = 0
    exhausted: int = 0
    busy_s: float = 0.0
    waits_s: deque[float] = field(default_factory=lambda: deque(maxlen=50))
    failed_at: float | None = None

    def run(self, start: float, rate: Callable[[float], float]) -> None:
        """One second of births and deaths."""
        now, end = start, start + 1.0
        while now < end:
            birth, death = rate(now), min(self.inside, self.cores) / WORK_S
            step = min(self.dice.expovariate(birth + death), end - now)
            self.busy_s += step * min(self.inside, self.cores) / self.cores
            now += step
            if now >= end:
                return
            if self.dice.random() * (birth + death) < birth:
                self._arrive(now)
            else:
                self._leave()

    def _arrive(self, now: float) -> None:
        self.offered += 1
        if self.cap is None:
            self._open(now)
        elif self.inside < self.cap:
            self.inside += 1
        elif self.queued < self.queue_max:
            self.queued += 1
        else:
            self.refused += 1

    def _open(self, now: float) -> None:
        """A connection for each request: it waits its share of the CPU, or gets 53300."""
        wait_s = (self.inside + 1) * WORK_S / self.cores
        if self.inside >= SLOTS:
            self.exhausted += 1
        else:
            self.inside += 1
        if (wait_s > TIMEOUT_S or self.inside >= SLOTS) and self.failed_at is None:
            self.failed_at = now

    def _leave(self) -> None:
        self.served += 1
        if self.queued:
            self.queued -= 1
        else:
            self.inside -= 1

    def observe(self) -> dict[str, float]:
        """What the sources report of the last second; counters start again."""
        wait_ms = (self.inside + self.queued + 1) * WORK_S * 1000 / self.cores
        refused = self.refused / max(self.offered, 1)
        jitter = self.dice.uniform(0.9, 1.1)
        values = {
            **(SITE if self.cap is not None else OPEN_SITE),
            "db.cores": float(self.cores),
            "db.wait.cpu": float(self.inside),
            "db.sessions.active": float(self.inside),
            "db.sessions.idle": 8.0 if self.cap is None else float(self.cap - self.inside),
            "db.cpu.busy_ratio": min(self.busy_s * self.dice.uniform(0.98, 1.02), 1.0),
            "db.transactions_per_s": float(self.served),
            "db.statements.calls_per_s": 4.0 * self.served,
            "web.cpu.busy_ratio": min(0.15 + 0.1 * self.offered / 80, 0.6) * jitter,
            "net.rtt_ms": 0.3 * jitter,
            "user.http.connect_ms": 0.4 * jitter,
            "user.http.first_byte_ms": min(3.0 + wait_ms, 2000.0) * jitter,
        }
        if self.cap is None:
            values |= {
                "db.connections.used": 2.0 + self.inside,
                "db.connections.opened_per_s": float(self.offered - self.exhausted),
            }
        else:
            values |= {
                "web.requests_per_s": float(self.offered),
                "web.in_flight": float(self.inside),
                "web.queue_length": float(self.queued),
                "web.refused_per_s": float(self.refused),
                "web.served_per_s": float(self.served),
                "web.repeat_ratio": 0.03 + 0.5 * refused,
                "pool.in_use": float(self.inside),
            }
        self.offered = self.served = self.refused = self.exhausted = 0
        self.busy_s = 0.0
        return values


def play(site: Site, rate: Callable[[float], float], seconds: int) -> Iterator[Diagnosis]:
    """Run the site under the pipeline; one diagnosis a second."""
    causes = [part() for part in parts("premortem.causes").values()]
    pipeline = Pipeline(History(declared_metrics()), standard(), causes)
    for second in range(seconds):
        site.run(float(second), rate)
        now = 1e6 + second + 1
        values = site.observe()
        late = site.cap is None and values["user.http.first_byte_ms"] > 1700
        error = "first byte timeout after 2 s" if late else None
        if late:
            del values["user.http.first_byte_ms"]
        probe = Reading("http_probe", "site", now, {}, error=error)
        yield pipeline.step(now, [Reading("sim", "site", now, values), probe])


def capacity(site: Site) -> float:
    return site.cores / WORK_S


def ramp(site: Site, start: float) -> Callable[[float], float]:
    """40 % of capacity, then to 300 % within 15 s, then held."""
    top = capacity(site)

    def rate(at: float) -> float:
        return top * (0.4 + 2.6 * min(max((at - start) / 15.0, 0.0), 1.0))

    return rate


@pytest.mark.parametrize(
    ("cores", "cap", "seed"), [(1, 8, 1), (1, 8, 2), (1, None, 3), (4, 16, 4), (1, 8, 5)]
)
def test_ten_healthy_minutes_raise_nothing(cores: int, cap: int | None, seed: int) -> None:
    """Load wanders between 40 and 70 % of capacity for ten minutes."""
    site = Site(random.Random(seed), cores=cores, cap=cap)
    top = capacity(site)

    def rate(at: float) -> float:
        return top * (0.55 - 0.15 * (1 - abs((at % 240) / 60 - 2)))

    heard: list[str] = []
    for second, diagnosis in enumerate(play(site, rate, 600)):
        heard += [f"{second} s: {s.note}" for s in diagnosis.signals]
        heard += [
            f"{second} s: {v.cause} {v.state}: {v.because}"
            for v in diagnosis.ledger
            if v.state in ("confirmed", "suspected")
        ]
    assert heard == []


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("cap", [8, None])
def test_a_ramp_is_seen_before_users_fail_and_named_in_time(cap: int | None, seed: int) -> None:
    """Capacity is crossed 3.5 s after the ramp starts; the first users fail about 1.5 s later."""
    start = 40
    site = Site(random.Random(seed), cap=cap)
    seen = list(play(site, ramp(site, start), start + 30))
    warned = next(i + 1 - start for i, d in enumerate(seen) if i >= start and d.signals)
    named = next(i + 1 - start for i, d in enumerate(seen) if d.cause)
    assert warned <= 5
    if site.failed_at is not None:
        assert warned < site.failed_at - start
    assert named <= 8
    assert {d.tier for d in seen if d.tier} == {"database"}


def test_an_open_site_in_a_surge_is_named_and_the_others_ruled_out() -> None:
    """Situation A of the seeds: network and web are excluded in writing."""
    site = Site(random.Random(7), cap=None)
    last = list(play(site, ramp(site, 40), 70))[-1]
    states = last.states()
    assert last.cause == "connection_exhaustion"
    assert states["db_cpu_by_traffic"] in ("confirmed", "suspected")
    assert states["network_loss"] == states["web_cpu"] == "ruled_out"
    assert states["retry_storm"] == "cannot_exclude"
    assert {"network", "web"} <= set(last.ruled_out_tiers())


def test_a_guarded_site_in_a_surge_is_named_and_the_others_ruled_out() -> None:
    """Situation B: the database is full, the slots are not, nothing waits for locks."""
    site = Site(random.Random(7), cap=8)
    last = list(play(site, ramp(site, 40), 70))[-1]
    states = last.states()
    assert last.cause == "db_cpu_by_traffic"
    out = ("network_loss", "web_cpu", "connection_exhaustion", "lock_contention")
    assert {states[cause] for cause in out} == {"ruled_out"}
    assert {"network", "web"} <= set(last.ruled_out_tiers())
