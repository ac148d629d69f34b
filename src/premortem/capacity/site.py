"""The site as a planner sees it: what limits it, and what is left of it under a surge.

Under a surge every place that may hold a request holds one. So the database meets as many sessions
as the web tier's pools allow together, whatever it can bear: past its knee it serves less, and the
loss is a function of settings. That is the seeds' outage in one line of arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from premortem.capacity.intervals import Peak
from premortem.capacity.queueing import occupancy
from premortem.capacity.usl import Curve, Usl

__all__ = ["Capacity", "Database", "Site", "capacity", "knee_sessions", "pool_findings"]

RESERVED_CONNECTIONS = 3
"""PostgreSQL's default superuser_reserved_connections."""


@dataclass(frozen=True, slots=True)
class Database:
    """Requests per second against sessions at work, and how far that was measured."""

    usl: Usl
    n_top: float
    """The highest number of sessions measured: nothing is said beyond it."""
    n_seen: float
    x_seen: float
    """The highest throughput measured, and the sessions it was measured with."""
    quoted: bool
    """Whether the knee passed the gate."""

    @staticmethod
    def measured(curve: Curve, usl: Usl, peak: Peak) -> Database:
        """From a load test's curve and what the gate said of it."""
        return Database(usl, curve.loads[-1], peak.n_seen, peak.x_seen, not peak.abstained)

    @property
    def knee(self) -> float:
        """Sessions at the highest throughput: N* where quoted, else those of the highest seen."""
        return self.usl.n_max if self.quoted else self.n_seen

    def best(self, sessions_max: float) -> float:
        """The highest throughput with at most so many sessions; capped at what was seen."""
        if self.quoted:
            return self.usl.throughput(min(sessions_max, self.usl.n_max))
        if sessions_max >= self.n_seen:
            return self.x_seen
        return min(self.x_seen, self.usl.throughput(sessions_max))

    def scaled(self, factor: float) -> Database:
        """A server with ``factor`` times the cores: perfect scaling, so an upper bound."""
        return replace(
            self,
            usl=self.usl.scaled(factor),
            n_top=self.n_top * factor,
            n_seen=self.n_seen * factor,
            x_seen=self.x_seen * factor,
        )


@dataclass(frozen=True, slots=True)
class Site:
    """What is declared of the site. ``None`` means: not there, or not known."""

    database: Database
    web_servers: int = 1
    web_processes: int = 4
    """Worker processes a web server."""
    pool_size: int = 10
    """Connections each process may hold."""
    max_connections: int = 100
    """PostgreSQL's default."""
    reserved_connections: int = RESERVED_CONNECTIONS
    in_flight_max: int | None = None
    """Requests the guard lets in at once, over the whole site."""
    pgbouncer_pool: int | None = None
    """Server connections PgBouncer may open; clients then do not count against the database."""
    web_cpu_s: float | None = None
    """Processor seconds of a web server a request costs."""
    web_cores: int = 1
    """Cores a web server."""
    db_cores: int = 1
    db_cores_measured: int = 1
    """Cores the database had when its curve was measured."""
    replicas: int = 0
    read_ratio: float | None = None
    """Share of the database's work that a replica could do."""
    database_limit: str = "the database's CPU"
    """What was saturated at the knee of the load test."""

    def __post_init__(self) -> None:
        low = {
            "web_servers": 1,
            "web_processes": 1,
            "pool_size": 1,
            "max_connections": 1,
            "web_cores": 1,
            "db_cores": 1,
            "db_cores_measured": 1,
            "replicas": 0,
            "reserved_connections": 0,
            "in_flight_max": 1,
            "pgbouncer_pool": 1,
        }
        for name, least in low.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} = {value}: at least {least} is needed")
        if self.web_cpu_s is not None and not self.web_cpu_s > 0:
            raise ValueError(f"web_cpu_s = {self.web_cpu_s:g}: must be above 0 seconds")
        if self.read_ratio is not None and not 0 <= self.read_ratio <= 1:
            raise ValueError(f"read_ratio = {self.read_ratio:g}: must be between 0 and 1")

    @property
    def pooled(self) -> int:
        """Connections all pools may open together."""
        return self.web_servers * self.web_processes * self.pool_size

    @property
    def usable_connections(self) -> int:
        """Connections the server has for the site."""
        return max(0, self.max_connections - self.reserved_connections)

    def sessions(self) -> dict[str, int]:
        """Every limit on simultaneous work in the database, by name."""
        limits = {"the connection pools": self.pooled}
        if self.in_flight_max is not None:
            limits["the in-flight cap"] = self.in_flight_max
        if self.pgbouncer_pool is not None:
            limits["the PgBouncer pool"] = self.pgbouncer_pool
        limits["max_connections"] = self.usable_connections
        return limits


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a site can serve. Throughputs in requests per second."""

    best_per_s: float
    """The most it serves, while arrivals rise to it gently."""
    surge_per_s: float | None
    """What is left when arrivals exceed the best; ``None`` beyond what was measured."""
    surge_at_most: bool
    """``surge_per_s`` is a ceiling: more sessions meet the database than were ever measured."""
    sessions: int
    """Sessions that meet the database in a surge."""
    knee: float
    first: str
    """What is full first."""
    refused_connections: int
    """Pooled connections for which the server has no place."""
    response_s: float | None
    """Mean time in the database in a surge, for those served."""

    @property
    def past_knee(self) -> bool:
        """Whether a surge drives the database past its knee."""
        return self.sessions > self.knee


def capacity(site: Site) -> Capacity:
    """Evaluate one configuration with the measured curve. The model is the smaller of the tiers.

    Replicas: each of the k+1 servers does all writes and its share of the reads, so together they
    carry 1/(w + r/(k+1)) times one server's load. Replaying a write is taken to cost what writing
    it did, which is pessimistic.
    """
    database = site.database.scaled(site.db_cores / site.db_cores_measured)
    servers = site.replicas + 1
    reads = site.read_ratio or 0.0
    gain = 1 / (1 - reads + reads / servers)
    # work that only the primary can do does not spread: its sessions stay there
    spread = servers if reads > 0 else 1
    name, sessions = min(site.sessions().items(), key=lambda item: item[1])
    sessions = max(sessions, 1)
    each = sessions / spread
    best, first = database.best(each) * gain, site.database_limit
    if each < database.knee:
        first = name
    web = math.inf if site.web_cpu_s is None else site.web_servers * site.web_cores / site.web_cpu_s
    if web < best:
        best, first = web, "the web servers' CPU"
    beyond = each > database.n_top
    surge = None
    if not beyond or database.quoted:
        surge = _surge(database, sessions, spread, gain, web)
    direct = 0 if site.pgbouncer_pool is not None else site.pooled
    return Capacity(
        best,
        surge,
        beyond and surge is not None,
        sessions,
        database.knee * spread,
        first,
        max(0, direct - site.usable_connections),
        sessions / surge if surge else None,
    )


def _surge(database: Database, sessions: int, spread: int, gain: float, web: float) -> float:
    """Throughput when every place is taken: the web tier feeds the database as fast as it can.

    A web tier that is slower than the database's knee holds it there or, once something pushed it
    over, does not; the balance of the two is a birth–death chain with the curve as death rate.
    """

    def rate(inside: int) -> float:
        each = inside / spread
        return gain * database.usl.throughput(min(max(each, 1.0), database.n_top)) * min(each, 1.0)

    if math.isinf(web):
        return rate(sessions)
    return web * (1 - occupancy(web, [rate(i) for i in range(1, sessions + 1)])[-1])


def knee_sessions(site: Site) -> int:
    """The most sessions all servers together should ever see."""
    database = site.database.scaled(site.db_cores / site.db_cores_measured)
    spread = site.replicas + 1 if site.read_ratio else 1
    return max(1, math.floor(database.knee * spread))


def pool_findings(site: Site) -> list[str]:
    """What is wrong with the declared pools, against max_connections and the knee."""
    found = []
    usable = site.usable_connections
    declared = site.pgbouncer_pool if site.pgbouncer_pool is not None else site.pooled
    sum_of = (
        f"PgBouncer may open {declared} connections"
        if site.pgbouncer_pool is not None
        else f"{site.web_servers} web servers x {site.web_processes} processes x pools of "
        f"{site.pool_size} = {declared} connections"
    )
    if declared > usable:
        found.append(
            f"{sum_of}, but max_connections = {site.max_connections} less "
            f"{site.reserved_connections} reserved leaves {usable}: "
            f"{declared - usable} would be refused"
        )
    now = capacity(site)
    if now.past_knee and now.surge_per_s is not None:
        most = "at most " if now.surge_at_most else ""
        found.append(
            f"a surge brings {now.sessions} sessions to the database, past its knee at "
            f"{now.knee:.0f}: {most}{now.surge_per_s:.4g}/s instead of {now.best_per_s:.4g}/s"
        )
    return found
