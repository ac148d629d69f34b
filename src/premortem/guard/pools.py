"""Reads connection pools without importing their packages: whoever has the right methods is read.

=================================  ======================================================
psycopg_pool (sync and async)      all five metrics, from ``get_stats()``
SQLAlchemy engine or ``QueuePool`` all five; it keeps no times, so its ``connect`` is timed
asyncpg ``Pool``                   in_use, size, max, waiting; it keeps no times, and its
                                   ``acquire`` cannot be timed from outside
anything else                      a callable that returns the metrics
=================================  ======================================================

Who waits is in no public figure of SQLAlchemy and asyncpg. It is read from their queues, whose
shape may change: where it cannot be found, ``pool.waiting`` is missing, never 0.
"""

from __future__ import annotations

import math
import threading
import time
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
        return Timed(lambda: pool)
    if hasattr(getattr(pool, "pool", None), "checkedout"):  # an engine: dispose() changes its pool
        return Timed(lambda: pool.pool)
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


class Timed:
    """A SQLAlchemy pool whose ``connect`` is timed from the first reading on."""

    def __init__(self, pool: Callable[[], Any]) -> None:
        self._pool = pool
        self._timed: Any = None
        self._lock = threading.Lock()
        self._granted = self._waited_s = 0.0
        self._follow()

    def __call__(self) -> dict[str, float]:
        pool = self._follow()
        return _sqlalchemy(pool) | {"granted": self._granted, "waited_ms": 1000 * self._waited_s}

    def _follow(self) -> Any:
        pool = self._pool()
        if pool is not self._timed:
            self._timed = pool
            pool.connect = self._timing(pool, pool.connect)
        return pool

    def _timing(self, pool: Any, connect: Callable[[], Any]) -> Callable[[], Any]:
        """As psycopg_pool counts: opening a connection that may be opened is no wait."""

        def timed() -> Any:
            begun = time.perf_counter()
            taken = pool.checkedout() >= _sqlalchemy_max(pool)
            connection = connect()
            with self._lock:
                self._granted += 1
                self._waited_s += (time.perf_counter() - begun) if taken else 0.0
            return connection

        return timed


def _sqlalchemy(pool: Any) -> dict[str, float]:
    values = {
        "pool.in_use": float(pool.checkedout()),
        "pool.size": float(pool.checkedin() + pool.checkedout()),
    }
    if (limit := _sqlalchemy_max(pool)) < math.inf:
        values["pool.max"] = limit
    return values | _queued(getattr(pool, "_pool", None))


def _sqlalchemy_max(pool: Any) -> float:
    overflow = getattr(pool, "_max_overflow", 0)
    return math.inf if overflow < 0 else float(pool.size() + overflow)


def _asyncpg(pool: Any) -> dict[str, float]:
    return {
        "pool.in_use": float(pool.get_size() - pool.get_idle_size()),
        "pool.max": float(pool.get_max_size()),
        "pool.size": float(pool.get_size()),
    } | _queued(getattr(pool, "_queue", None))


def _queued(queue: Any) -> dict[str, float]:
    """Who waits on ``queue``: threads on a condition, or tasks on an asyncio queue (SQLAlchemy
    wraps it once)."""
    threads = getattr(getattr(queue, "not_empty", None), "_waiters", None)
    tasks = getattr(getattr(queue, "_queue", queue), "_getters", None)
    if tasks is None:
        tasks = getattr(queue, "_getters", None)
    if threads is not None:
        return {"pool.waiting": float(len(threads))}
    if tasks is not None:
        return {"pool.waiting": float(sum(not t.done() for t in tuple(tasks)))}
    return {}
