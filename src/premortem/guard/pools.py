"""Reads connection pools without importing their packages: whoever has the right methods is read.

=================================  ======================================================
psycopg_pool (sync and async)      all five metrics, from ``get_stats()``
SQLAlchemy ``QueuePool``           in_use, size, max; it keeps no count of those who wait
asyncpg ``Pool``                   in_use, size, max; it keeps no count of those who wait
anything else                      a callable that returns the metrics
=================================  ======================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["PoolReader", "pool_values"]


def pool_values(pool: Any) -> dict[str, float]:
    """The ``pool.*`` metrics of a pool as they are now, waits as a mean since the pool was made.

    Raises ``TypeError`` for an object that is no known kind of pool.
    """
    return PoolReader(pool).read(0.0)


class PoolReader:
    """Reads one pool again and again; ``pool.wait_ms`` is the mean of the last ``over_s``."""

    def __init__(self, pool: Any, over_s: float = 1.0) -> None:
        self._read = _reading(pool)
        self._over_s = over_s
        self._past: deque[tuple[float, float, float]] = deque(maxlen=64)
        self._granted = 0.0
        self._stuck_since_s: float | None = None

    def read(self, now: float) -> dict[str, float]:
        """The metrics at ``now`` (seconds of a monotonic clock); call it up to 60 times a second.

        A pool that grants nothing while somebody waits reports how long that has been so: the wait
        of those who still wait is in no counter.
        """
        values = self._read()
        granted = values.pop("granted", None)
        waited_ms = values.pop("waited_ms", 0.0)
        if granted is not None:
            mean_ms = self._mean_wait_ms(now, granted, waited_ms)
            values["pool.wait_ms"] = max(mean_ms, self._stuck_ms(now, granted, values))
        return values

    def _mean_wait_ms(self, now: float, granted: float, waited_ms: float) -> float:
        past = self._past
        while len(past) > 1 and past[1][0] <= now - self._over_s:
            past.popleft()
        _, granted_then, waited_then = past[0] if past else (now, 0.0, 0.0)
        past.append((now, granted, waited_ms))
        return max(0.0, waited_ms - waited_then) / max(1.0, granted - granted_then)

    def _stuck_ms(self, now: float, granted: float, values: Mapping[str, float]) -> float:
        moved = granted != self._granted
        self._granted = granted
        if moved or not values.get("pool.waiting"):
            self._stuck_since_s = None
            return 0.0
        if self._stuck_since_s is None:
            self._stuck_since_s = now
        return 1000 * (now - self._stuck_since_s)


def _reading(pool: Any) -> Callable[[], dict[str, float]]:
    if hasattr(pool, "get_stats"):
        return lambda: _psycopg(pool.get_stats())
    if hasattr(pool, "checkedout"):
        return lambda: _sqlalchemy(pool)
    if hasattr(pool, "get_idle_size"):
        return lambda: _asyncpg(pool)
    if callable(pool):
        return lambda: {name: float(value) for name, value in pool().items()}
    raise TypeError(
        f"{type(pool).__name__} is no pool known here: pass a psycopg_pool, SQLAlchemy or asyncpg "
        "pool, or a callable that returns the pool.* metrics"
    )


def _psycopg(stats: Mapping[str, int]) -> dict[str, float]:
    """https://www.psycopg.org/psycopg3/docs/advanced/pool.html#pool-stats; counters that are
    still zero are left out by the pool."""
    waiting = stats.get("requests_waiting", 0)
    failed = stats.get("requests_errors", 0)
    return {
        "pool.in_use": float(stats["pool_size"] - stats["pool_available"]),
        "pool.max": float(stats["pool_max"]),
        "pool.size": float(stats["pool_size"]),
        "pool.waiting": float(waiting),
        "granted": float(stats.get("requests_num", 0) - waiting - failed),
        "waited_ms": float(stats.get("requests_wait_ms", 0)),
    }


def _sqlalchemy(pool: Any) -> dict[str, float]:
    values = {
        "pool.in_use": float(pool.checkedout()),
        "pool.size": float(pool.checkedin() + pool.checkedout()),
    }
    overflow = getattr(pool, "_max_overflow", 0)
    if overflow >= 0:  # -1 stands for no bound at all
        values["pool.max"] = float(pool.size() + overflow)
    return values


def _asyncpg(pool: Any) -> dict[str, float]:
    return {
        "pool.in_use": float(pool.get_size() - pool.get_idle_size()),
        "pool.max": float(pool.get_max_size()),
        "pool.size": float(pool.get_size()),
    }
