import threading
import time
from collections.abc import Callable

import pytest

from premortem.guard import PoolReader, pool_values


class Psycopg:
    """Answers as psycopg_pool does: counters that are zero are missing."""

    def __init__(self, **stats: int) -> None:
        self.stats = {"pool_min": 4, "pool_max": 10, "pool_size": 8, "pool_available": 3, **stats}

    def get_stats(self) -> dict[str, int]:
        return self.stats


class SqlAlchemy:
    def __init__(self, overflow: int = 5) -> None:
        self._max_overflow = overflow

    def size(self) -> int:
        return 10

    def checkedout(self) -> int:
        return 7

    def checkedin(self) -> int:
        return 2

    def connect(self) -> object:
        return object()


class Asyncpg:
    def get_size(self) -> int:
        return 6

    def get_idle_size(self) -> int:
        return 2

    def get_max_size(self) -> int:
        return 10


@pytest.mark.parametrize(
    ("pool", "values"),
    [
        (
            Psycopg(requests_num=4, requests_wait_ms=100),
            {"in_use": 5, "max": 10, "size": 8, "waiting": 0, "wait_ms": 25},
        ),
        (Psycopg(), {"in_use": 5, "max": 10, "size": 8, "waiting": 0, "wait_ms": 0}),
        (SqlAlchemy(), {"in_use": 7, "max": 15, "size": 9, "wait_ms": 0}),
        (SqlAlchemy(overflow=-1), {"in_use": 7, "size": 9, "wait_ms": 0}),
        (Asyncpg(), {"in_use": 4, "max": 10, "size": 6}),
        (lambda: {"pool.in_use": 3}, {"in_use": 3}),
    ],
    ids=["psycopg", "psycopg idle", "sqlalchemy", "sqlalchemy unbounded", "asyncpg", "callable"],
)
def test_each_kind_of_pool(pool: object, values: dict[str, float]) -> None:
    assert pool_values(pool) == {f"pool.{name}": value for name, value in values.items()}


def test_an_unknown_pool_is_one_line() -> None:
    with pytest.raises(TypeError, match="object is no pool known here"):
        pool_values(object())


def test_the_wait_is_that_of_the_last_second() -> None:
    pool = Psycopg(requests_num=100, requests_wait_ms=0)
    reader = PoolReader(pool)
    reader.read(0.0)
    pool.stats.update(requests_num=110, requests_wait_ms=500)
    assert reader.read(0.5)["pool.wait_ms"] == 50.0
    assert reader.read(1.0)["pool.wait_ms"] == 50.0
    assert reader.read(2.0)["pool.wait_ms"] == 0.0


def test_a_pool_that_grants_nothing_tells_how_long() -> None:
    pool = Psycopg(requests_num=10, requests_waiting=2)
    reader = PoolReader(pool)
    reader.read(0.0)
    reader.read(1.0)
    assert reader.read(3.5)["pool.wait_ms"] == 2500.0
    pool.stats.update(requests_num=11, requests_waiting=2)
    assert reader.read(3.6)["pool.wait_ms"] == 0.0


async def test_the_real_psycopg_pools_are_known_unopened() -> None:
    from psycopg_pool import AsyncConnectionPool, ConnectionPool

    for kind in (ConnectionPool, AsyncConnectionPool):
        pool = kind("host=nowhere.invalid", min_size=2, max_size=5, open=False)
        values = pool_values(pool)
        assert values["pool.max"] == 5.0
        assert set(values) == {f"pool.{n}" for n in ("in_use", "max", "size", "waiting", "wait_ms")}


def test_sqlalchemys_pool_tells_who_waits_and_how_long() -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from sqlalchemy.pool import QueuePool

    url = "sqlite://"
    engine = sqlalchemy.create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0)
    reader = PoolReader(engine)
    reader.read(0.0)
    held = engine.connect()
    waiter = threading.Thread(target=lambda: engine.connect().close())
    waiter.start()
    until(lambda: reader.read(0.0).get("pool.waiting") == 1)
    time.sleep(0.1)
    held.close()
    waiter.join()
    values = reader.read(0.5)
    assert (values["pool.waiting"], values["pool.in_use"], values["pool.max"]) == (0, 0, 1)
    assert values["pool.wait_ms"] >= 45  # two were granted, one of them after 100 ms
    engine.dispose()
    engine.connect().close()  # the new pool is timed as well
    reader.read(0.6)
    engine.connect().close()
    assert reader.read(5.0)["pool.wait_ms"] < 45
    engine.dispose()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 3.0
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def test_the_real_asyncpg_pool_is_known_unopened() -> None:
    asyncpg = pytest.importorskip("asyncpg")
    pool = asyncpg.create_pool("postgresql://nobody@127.0.0.1:1/x", min_size=1, max_size=7)
    values = pool_values(pool)
    assert values["pool.max"] == 7.0
    assert {"pool.in_use", "pool.size"} <= set(values)
