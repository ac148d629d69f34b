"""The detectors premortem runs by default, and why each figure is what it is."""

from __future__ import annotations

from premortem.detectors.burn_rate import BurnRate
from premortem.detectors.change_point import ChangePoint
from premortem.detectors.failing import Failing
from premortem.detectors.plateau import Plateau
from premortem.detectors.runway import Runway
from premortem.detectors.silence import Silence
from premortem.detectors.threshold import Threshold
from premortem.pipeline import Detector

__all__ = ["standard"]


def standard() -> tuple[Detector, ...]:
    """Fresh instances of the default detectors, for one watch."""
    return (*_runways(), *_saturation(), *_plateaus(), *_users(), *_silences())


def _runways() -> tuple[Detector, ...]:
    """Seconds to saturation: these speak before users fail."""
    return (
        # 95 % of capacity: random arrivals queue without bound beyond it.
        Runway("web.requests_per_s", busy_metric="db.cpu.busy_ratio", share=0.95, noise="poisson",
               words="the database's capacity by U = X * S"),
        Runway("db.transactions_per_s", busy_metric="db.cpu.busy_ratio", share=0.95,
               noise="poisson", words="the database's capacity by U = X * S"),
        # The web tier's own capacity, where it is the narrower one.
        Runway("web.requests_per_s", busy_metric="web.cpu.busy_ratio", share=0.95, noise="poisson",
               words="the web tier's capacity by U = X * S"),
        # The share of one core used in 1 s is never steadier than 0.1 with requests of 10 ms.
        Runway("db.cpu.busy_ratio", limit=0.95, sigma_min=0.12, words="database CPU"),
        Runway("web.cpu.busy_ratio", limit=0.95, sigma_min=0.12, words="web CPU"),
        # Counts that jitter by a few: a departure must be more than five of them.
        Runway("db.connections.used", limit_metric="db.connections.max", sigma_min=2.0,
               words="connection slots"),
        # A leak grows for minutes: a longer window, a farther horizon.
        Runway("db.connections.used", limit_metric="db.connections.max", window_s=120.0,
               gap_s=100.0, reference_s=300.0, horizon_s=600.0, recent=5, sigma_min=2.0,
               words="connection slots"),
        # In-flight counts spread like m + m^2 (a queue's geometric tail): four samples, sigma >= 3.
        Runway("pool.in_use", limit_metric="pool.max", recent=4, sigma_min=3.0,
               words="pooled connections"),
        Runway("web.in_flight", limit_metric="web.in_flight_limit", recent=4, sigma_min=3.0,
               words="requests in flight"),
        # Traffic without any known capacity.
        ChangePoint("web.requests_per_s", noise="poisson", words="traffic"),
        ChangePoint("db.transactions_per_s", noise="poisson", words="traffic at the database"),
    )  # fmt: skip


def _saturation() -> tuple[Detector, ...]:
    """Queues, refusals, more work than cores (USE: saturation and errors before utilisation)."""
    return (
        # Four seconds without a moment of an empty queue: at 70 % load a queue of 8 places
        # empties several times a second.
        Threshold("pool.waiting", 0.0, samples=4, words="requests wait for a connection"),
        Threshold("web.queue_length", 0.0, samples=4, words="requests queue at the guard"),
        Threshold("web.refused_per_s", 0.0, samples=2, words="users are refused"),
        Threshold("db.connections.refused_per_s", 0.0, samples=1, words="connections are refused"),
        Failing("postgres", "db.connections.refused_per_s", text="53300", times=1),
        # Three sessions a core that want CPU, and a CPU without a pause for four seconds.
        Threshold("db.wait.cpu", limit_metric="db.cores", share=3.0, samples=4,
                  while_metric="db.cpu.busy_ratio", while_above=0.95,
                  words="more sessions want CPU than the database has cores"),
        # Ten a core need no CPU figure: 0.7^10 of the time at 70 % load, never three in a row.
        Threshold("db.wait.cpu", limit_metric="db.cores", share=10.0, samples=3,
                  words="more sessions want CPU than the database has cores"),
        # 80 % of the slots: what is left is one more pool of a restarting site.
        Threshold("db.connections.used", limit_metric="db.connections.max", share=0.8, samples=2,
                  words="connection slots run out"),
        Threshold("db.wait.lock", 2.0, samples=3, words="sessions wait for locks"),
        Threshold("web.cpu.busy_ratio", 0.95, samples=4, words="the web tier has no CPU left"),
        Threshold("web.loop_lag_ms", 250.0, samples=3, words="the event loop is blocked"),
        # 2 %: throughput falls with the root of the loss (Mathis 1997).
        Threshold("net.tcp.retransmit_ratio", 0.02, samples=3, words="packets are lost"),
        Threshold("net.tcp.listen_overflows_per_s", 0.0, samples=2,
                  words="the site does not accept its connections"),
        # 10 s of replica lag: readers see what they wrote before the last page view as missing.
        Threshold("db.replica.lag_s", 10.0, samples=3, words="replicas serve old data"),
        # 0.5 of the 2^31 transactions; autovacuum forces itself in at about 0.1.
        Threshold("db.xid.age_ratio", 0.5, samples=2, words="transaction ids run out"),
        Threshold("host.disk.free_ratio", 0.05, below=True, samples=2, words="the disk is full"),
    )  # fmt: skip


def _plateaus() -> tuple[Detector, ...]:
    """Counts held exactly at their limit."""
    return (
        Plateau("db.connections.used", "db.connections.max", words="no slot is free"),
        Plateau("pool.in_use", "pool.max", share=1.0, words="the pool is all used"),
        Plateau("web.in_flight", "web.in_flight_limit", share=1.0, words="the guard is full"),
    )


def _users() -> tuple[Detector, ...]:
    """What users feel already."""
    return (
        Failing("http_probe", "user.http.status", without="shed:"),
        # Two failed probes of the last ten.
        Threshold("user.http.ok_ratio", 0.85, below=True, samples=2,
                  words="probes fail or are refused"),
        Threshold("user.http.status_5xx_ratio", 0.15, samples=1, words="the site answers 5xx"),
        # Four times the usual and a quarter of a second: people notice; queueing at 70 % load
        # makes three times of it.
        Threshold("user.http.first_byte_ms", 250.0, times_usual=4.0, samples=2,
                  words="the site answers slowly"),
        Threshold("user.http.connect_ms", 200.0, times_usual=4.0, samples=2,
                  words="the site accepts slowly"),
        Threshold("web.downstream_ms", 250.0, times_usual=4.0, samples=3,
                  words="another service answers slowly"),
        BurnRate(),
    )  # fmt: skip


def _silences() -> tuple[Detector, ...]:
    """What was seen and no longer is."""
    return (
        Silence("db.wait.cpu", words="the database does not answer the watch"),
        Silence("web.requests_per_s", words="the site's status does not answer"),
        Threshold("db.up", 0.5, below=True, samples=1, words="the database does not answer"),
    )
