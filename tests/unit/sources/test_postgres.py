"""The PostgreSQL source without a server: versions of queries, addresses, failures."""

from __future__ import annotations

import asyncio
import time

import pytest

from premortem.sources._pg_look import AGES
from premortem.sources._pg_names import COUNTS, RATES, SLOW
from premortem.sources._pg_sql import query, versions
from premortem.sources.postgres import METRICS, Postgres, address_of

NAMES = ("age", "blocking", "connections", "database", "facts", "replication", "sessions", "wal")


@pytest.mark.parametrize("version", range(13, 19))
@pytest.mark.parametrize("name", [*NAMES, "statements", "statement_texts"])
def test_every_query_is_there_for_every_version(name: str, version: int) -> None:
    text = query(name, version, "public").decode()
    assert "/* premortem */" in text
    assert ("sessions" in text) == (version >= 14) or name != "database"
    assert ("pg_stat_checkpointer" in text) == (version >= 17) or name != "wal"


def test_a_server_older_than_all_queries_is_refused() -> None:
    assert versions("wal") == (17, 13)
    with pytest.raises(LookupError, match="no wal for PostgreSQL 12; the oldest is 13"):
        query("wal", 12)


def test_a_schema_is_quoted() -> None:
    assert b'"ext ""x""".pg_stat_statements' in query("statements", 15, 'ext "x"')


def test_every_column_is_a_declared_metric() -> None:
    named = {*COUNTS.values(), *RATES.values(), *SLOW.values(), *AGES}
    assert named <= {m.name for m in METRICS}


@pytest.mark.parametrize(
    ("dsn", "target"),
    [
        ("postgresql://ann:secret@db.example:5433/shop", "db.example:5433/shop"),
        ("host=a,b port=5432,5433 user=ann dbname=x", "a:5432/x"),
        ("host=a hostaddr=192.0.2.7 user=ann", "192.0.2.7:5432/ann"),
        ("host=/tmp user=ann dbname=x port=1", "/tmp:1/x"),
    ],
)
def test_the_target_names_the_place_and_no_secret(dsn: str, target: str) -> None:
    source = Postgres(dsn)
    assert source.target == target
    assert "secret" not in repr(source)


@pytest.mark.parametrize("dsn", ["secret words", "postgresql://[", "port=x host=h user=u"])
def test_a_bad_dsn_is_refused_without_being_repeated(dsn: str) -> None:
    with pytest.raises(ValueError, match="the DSN") as caught:
        address_of(dsn)
    assert "secret" not in str(caught.value)


def test_cores_are_only_known_of_this_machine() -> None:
    assert Postgres("host=127.0.0.1 user=u").cores
    assert Postgres("host=192.0.2.1 user=u").cores is None
    assert Postgres("host=192.0.2.1 user=u", cores=3).cores == 3


async def test_a_server_that_is_down() -> None:
    source = Postgres("host=127.0.0.1 port=1 user=nobody dbname=nothing")
    first, second = await source.read(1.0), await source.read(2.0)
    await source.close()
    assert first.error is not None
    assert first.error.startswith("refused; not connected: ")
    assert first.error == second.error  # the second waits with connecting, and says the same
    assert first.values["db.up"] == 0.0
    assert source.connections_opened == 0


async def test_a_server_that_accepts_and_says_nothing(serve) -> None:
    async def hung(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await serve(hung)
    source = Postgres(f"host=127.0.0.1 port={port} user=u", ladder_timeout_s=0.2)
    begun = time.perf_counter()
    reading = await source.read(1.0)
    assert time.perf_counter() - begun < 2.5
    await source.close()
    assert "no reply to SSLRequest within 0.2 s" in (reading.error or "")
    assert reading.values["db.up"] == 0.0
    assert reading.values["db.connect.tcp_ms"] > 0
