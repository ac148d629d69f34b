"""Queues: what waiting costs before anything is full.

Rates are per second and times in seconds (any one unit of time does). Formulas: Kleinrock,
*Queueing Systems* vol. 1 (1975); the MVA recursion is Reiser and Lavenberg's (1980).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Closed",
    "Queue",
    "Station",
    "closed_network",
    "erlang_b",
    "erlang_c",
    "mmc",
    "mmck",
    "occupancy",
    "servers_for",
]

SERVERS_MAX = 100_000
"""Bound on servers and places: the recursions are linear in them."""

POPULATION_MAX = 100_000
"""Bound on the population of a closed network."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue in steady state."""

    served_per_s: float
    busy_ratio: float
    """Share of the servers at work."""
    in_system: float
    """L, waiting and in service."""
    in_system_s: float
    """W, the mean time from arrival to departure of those admitted."""
    waiting_s: float
    """Wq, the part of W spent waiting."""
    waits_ratio: float
    """Share of those admitted that must wait."""
    blocked_ratio: float
    """Share of the arrivals turned away."""


def erlang_b(servers: int, offered: float) -> float:
    """Share turned away by ``servers`` without a queue; ``offered`` = λ/μ in erlangs.

    >>> round(erlang_b(10, 8), 6)
    0.121661
    """
    _check(servers, offered)
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Share that must wait in an unbounded queue. Raises ``ValueError`` at ρ ≥ 1: no steady state.

    >>> round(erlang_c(5, 4), 6)
    0.554113
    """
    _check(servers, offered)
    rho = offered / servers
    if rho >= 1:
        raise ValueError(f"{offered:g} erlangs never drain through {servers} servers")
    blocked = erlang_b(servers, offered)
    return blocked / (1 - rho * (1 - blocked))


def mmc(arrivals_per_s: float, service_per_s: float, servers: int) -> Queue:
    """M/M/c: Poisson arrivals, exponential service, an unbounded queue."""
    offered = arrivals_per_s / service_per_s
    waits = erlang_c(servers, offered)
    waiting_s = waits / (servers * service_per_s - arrivals_per_s)
    stay_s = waiting_s + 1 / service_per_s
    return Queue(
        arrivals_per_s, offered / servers, arrivals_per_s * stay_s, stay_s, waiting_s, waits, 0.0
    )


def mmck(arrivals_per_s: float, service_per_s: float, servers: int, places: int) -> Queue:
    """M/M/c/K: at most ``places`` inside, the rest turned away. Fine at any load.

    Raises ``ValueError`` when ``places`` < ``servers``.
    """
    offered = arrivals_per_s / service_per_s
    _check(servers, offered)
    if not servers <= places <= SERVERS_MAX:
        raise ValueError(f"places must be between {servers} servers and {SERVERS_MAX}")
    share = occupancy(
        arrivals_per_s, [service_per_s * min(i, servers) for i in range(1, places + 1)]
    )
    admitted = 1 - share[-1]
    served = arrivals_per_s * admitted
    inside = math.fsum(i * p for i, p in enumerate(share))
    queued = math.fsum((i - servers) * p for i, p in enumerate(share) if i > servers)
    return Queue(
        served,
        served / (servers * service_per_s),
        inside,
        inside / served,
        queued / served,
        math.fsum(share[servers:-1]) / admitted,
        share[-1],
    )


def occupancy(arrivals_per_s: float, rates_per_s: Sequence[float]) -> list[float]:
    """Probability of 0 … K inside when i inside are served at ``rates_per_s[i - 1]`` together.

    The birth–death balance p_i = p_{i−1}·λ/rate_i, in logarithms so that nothing overflows.
    """
    logs = [0.0]
    for rate in rates_per_s:
        logs.append(logs[-1] + math.log(arrivals_per_s / rate))
    top = max(logs)
    weights = [math.exp(w - top) for w in logs]
    total = math.fsum(weights)
    return [w / total for w in weights]


def servers_for(arrivals_per_s: float, service_s: float, quality: float = 1.0) -> int:
    """Square-root staffing: ⌈a + Q√a⌉ servers for a = λ·S erlangs.

    ``quality`` 1 leaves about one in four waiting at 100 erlangs, 2 about one in thirty
    (Halfin and Whitt 1981).
    """
    offered = arrivals_per_s * service_s
    _check(1, offered)
    return math.ceil(offered + quality * math.sqrt(offered))


@dataclass(frozen=True, slots=True)
class Station:
    """One tier as a visitor sees it: ``demand_s`` seconds of one server's work a request."""

    name: str
    demand_s: float
    servers: int = 1


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed network at one population."""

    throughput_per_s: float
    response_s: float
    """Time in all stations, think time excluded."""
    queue: tuple[float, ...]
    """Mean number at each station, waiting and served."""
    busy_ratio: tuple[float, ...]
    bottleneck: str
    """The station whose servers fill up first: the highest demand a server."""


def closed_network(stations: Sequence[Station], population: int, think_s: float = 0.0) -> Closed:
    """Exact mean value analysis of single-server stations with think time.

    A station of c servers is Seidmann's approximation: a queue of demand D/c in line with a delay
    of D(c−1)/c. It is exact for one server and for an idle or a saturated station; in between it
    misjudges the response by some per cent.
    """
    if not 1 <= population <= POPULATION_MAX:
        raise ValueError(f"the population must be between 1 and {POPULATION_MAX}")
    if not stations or any(s.demand_s <= 0 or s.servers < 1 for s in stations):
        raise ValueError("every station needs a demand above 0 and at least one server")
    queued = [s.demand_s / s.servers for s in stations]
    delay = [s.demand_s - q for s, q in zip(stations, queued, strict=True)]
    waiting = [0.0] * len(stations)
    throughput, stay = 0.0, list(queued)
    for n in range(1, population + 1):
        stay = [d * (1 + q) for d, q in zip(queued, waiting, strict=True)]
        throughput = n / (think_s + sum(stay) + sum(delay))
        waiting = [throughput * r for r in stay]
    slowest = max(range(len(stations)), key=lambda i: queued[i])
    return Closed(
        throughput,
        sum(stay) + sum(delay),
        tuple(q + throughput * d for q, d in zip(waiting, delay, strict=True)),
        tuple(throughput * d for d in queued),
        stations[slowest].name,
    )


def _check(servers: int, offered: float) -> None:
    if not 1 <= servers <= SERVERS_MAX:
        raise ValueError(f"servers must be between 1 and {SERVERS_MAX}, got {servers}")
    if not (math.isfinite(offered) and offered > 0):
        raise ValueError(f"the load must be a positive, finite number, got {offered:g}")
