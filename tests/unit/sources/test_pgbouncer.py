"""The pooler's own figures, as its console shows them."""

from __future__ import annotations

import asyncio
import time

import pytest

from premortem.sources.pgbouncer import Pgbouncer, pool_values, stat_values

POOL = {"cl_active": 8, "cl_waiting": 3, "sv_active": 8, "sv_idle": 2, "maxwait": 1}


def test_pools_are_summed_and_the_longest_wait_counts() -> None:
    pools = [
        {"database": "site", **POOL, "maxwait_us": 250_000},
        {"database": "site", **POOL, "maxwait": 0, "maxwait_us": 900_000},
        {"database": "pgbouncer", **POOL, "maxwait": 99, "maxwait_us": 0},
    ]
    assert pool_values(pools) == {
        "pool.proxy.clients_active": 16.0,
        "pool.proxy.waiting": 6.0,
        "pool.proxy.in_use": 16.0,
        "pool.proxy.idle": 4.0,
        "pool.proxy.oldest_wait_ms": 1250.0,
    }
    assert pool_values([])["pool.proxy.oldest_wait_ms"] == 0


def test_times_are_in_microseconds() -> None:
    grown = {
        "total_xact_count": 100.0,
        "total_query_count": 200.0,
        "total_wait_time": 500_000.0,
        "total_query_time": 1_000_000.0,
    }
    assert stat_values(2.0, grown) == {
        "pool.proxy.transactions_per_s": 50.0,
        "pool.proxy.wait_ms": 5.0,
        "pool.proxy.query_ms": 5.0,
    }
    assert stat_values(0.0, {}) == {}


async def test_a_silent_console_costs_the_time_out(serve) -> None:
    async def hung(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await serve(hung)
    source = Pgbouncer(f"host=127.0.0.1 port={port} user=u", timeout_s=0.1)
    begun = time.perf_counter()
    reading = await source.read(1.0)
    assert time.perf_counter() - begun < 1.0
    assert reading.error == "no reply in 0.1 s"


@pytest.mark.parametrize("dsn", ["nonsense", "port=x user=u host=h"])
def test_a_bad_dsn_is_refused(dsn: str) -> None:
    with pytest.raises(ValueError, match="the DSN"):
        Pgbouncer(dsn)


async def test_a_dead_pooler_is_knocked_at_ever_more_seldom(serve) -> None:
    knocks: list[float] = []

    async def dead(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.append(time.perf_counter())
        writer.transport.abort()

    source = Pgbouncer(f"host=127.0.0.1 port={await serve(dead)} user=u sslmode=disable")
    begun = time.perf_counter()
    readings = []
    while time.perf_counter() - begun < 1.6:
        readings.append(await source.read(1.0))
        await asyncio.sleep(0.05)
    await source.close()
    assert len(readings) > 10
    assert len(knocks) == 2  # at once and after 1 s; the next would be 2 s later
    assert all(r.error for r in readings)
