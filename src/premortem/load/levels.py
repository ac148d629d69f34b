"""How full each resource of a site is, from what the watch's sources read. Pure.

Names are those of the tiers; ``depth`` orders them as a request meets them, because a slow tier
fills the ones in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from premortem.load.bottleneck import Resource
from premortem.model import Reading

__all__ = ["RESOURCES", "WORDS", "levels_from", "means_of"]

Values = Mapping[str, float]

ACTIVE_MIN = 0.5
"""Fewer database sessions at work than this, on average, and their shares are chance."""
WAITS = ("cpu", "io", "lock", "lwlock", "client", "other", "wal")

RESOURCES = (
    Resource("host.cpu", 1),
    Resource("web.workers", 2, "slots"),
    Resource("web.cpu", 3),
    Resource("pool", 4, "slots"),
    Resource("downstream", 5, "latency"),
    Resource("db.connections", 6, "slots"),
    Resource("db.cpu", 7),
    Resource("db.lock", 7, "share"),
    Resource("db.io", 7, "share"),
    Resource("db.wal", 7, "share"),
    Resource("db.lwlock", 7, "share"),
)

WORDS: Mapping[str, str] = {
    "host.cpu": "this machine's processor",
    "web.workers": "the web servers' slots (requests in flight)",
    "web.cpu": "the web servers' processor",
    "pool": "the pool of database connections",
    "downstream": "the other service that the site calls",
    "db.connections": "the database's connection slots",
    "db.cpu": "the database's processor",
    "db.lock": "locks in the database",
    "db.io": "the database's disk",
    "db.wal": "the database's write-ahead log",
    "db.lwlock": "the database's internal locks",
}
"""Each resource in the words of a sentence."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    level: Callable[[Values], float | None]


def _ratio(part: str, whole: str) -> Callable[[Values], float | None]:
    def level(seen: Values) -> float | None:
        if part not in seen or seen.get(whole, 0.0) <= 0.0:
            return None
        return min(1.0, seen[part] / seen[whole])

    return level


def _plain(metric: str) -> Callable[[Values], float | None]:
    return lambda seen: seen.get(metric)


def _share(*waits: str) -> Callable[[Values], float | None]:
    def level(seen: Values) -> float | None:
        active = sum(seen.get(f"db.wait.{wait}", 0.0) for wait in WAITS)
        if active < ACTIVE_MIN:
            return 0.0 if "db.wait.cpu" in seen else None
        return sum(seen.get(f"db.wait.{wait}", 0.0) for wait in waits) / active

    return level


def _database_cpu(seen: Values) -> float | None:
    """From the processes where the database runs here, else from sessions that wait for nothing."""
    if "db.cpu.busy_ratio" in seen:
        return seen["db.cpu.busy_ratio"]
    return _ratio("db.wait.cpu", "db.cores")(seen)


def _pool(seen: Values) -> float | None:
    own = _ratio("pool.in_use", "pool.max")(seen)
    if own is not None or "pool.proxy.in_use" not in seen:
        return own
    used = seen["pool.proxy.in_use"]
    return used / max(used + seen.get("pool.proxy.idle", 0.0), 1.0)


_RULES = (
    _Rule("host.cpu", _plain("host.cpu.busy_ratio")),
    _Rule("web.workers", _ratio("web.in_flight", "web.in_flight_limit")),
    _Rule("web.cpu", _plain("web.cpu.busy_ratio")),
    _Rule("pool", _pool),
    _Rule("downstream", _plain("web.downstream_ms")),
    _Rule("db.connections", _ratio("db.connections.used", "db.connections.max")),
    _Rule("db.cpu", _database_cpu),
    _Rule("db.lock", _share("lock")),
    _Rule("db.io", _share("io")),
    _Rule("db.wal", _share("wal")),
    _Rule("db.lwlock", _share("lwlock")),
)


def means_of(readings: Iterable[Reading], start: float, end: float) -> dict[str, float]:
    """The mean of every metric between two instants (epoch seconds)."""
    seen: dict[str, list[float]] = {}
    for reading in readings:
        if start <= reading.at <= end:
            for metric, value in reading.values.items():
                seen.setdefault(metric, []).append(value)
    return {metric: fmean(values) for metric, values in seen.items()}


def levels_from(means: Values) -> dict[str, float]:
    """How full each resource was, of those whose metrics are there: 0 to 1, or ms for a latency.

    >>> levels_from({"pool.in_use": 6.0, "pool.max": 8.0, "web.cpu.busy_ratio": 0.4})
    {'web.cpu': 0.4, 'pool': 0.75}
    """
    found = ((rule.name, rule.level(means)) for rule in _RULES)
    return {name: level for name, level in found if level is not None}
