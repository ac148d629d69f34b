"""Reads from replicas: stale by design, and never so with the router."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from premortem.cluster.units import remains
from premortem.route.psycopg import Router
from tests.real._cluster import Rehearsal

pytestmark = [pytest.mark.real, pytest.mark.slow]


@contextmanager
def replay_stopped(rehearsal: Rehearsal) -> Iterator[None]:
    """The replicas get and keep every commit and show none.

    Their startup processes, which replay, are stopped; ``pg_wal_replay_pause`` would be undone by
    Patroni within a second.
    """
    replicas = [n for n in rehearsal.state.topology.servers if n.name != rehearsal.primary()]
    replaying = [
        p
        for n in replicas
        for p in remains(rehearsal.state.data(n))
        if ": startup " in " ".join(p.cmdline())
    ]
    assert len(replaying) == len(replicas)
    try:
        for p in replaying:
            p.suspend()
        yield
    finally:
        for p in replaying:
            p.resume()


def on_replicas(rehearsal: Rehearsal, readers: int = 8) -> bool:
    """Whether every connection the pooler has for reads leads to a replica: all in use at once."""
    with ExitStack() as stack:
        dsn = rehearsal.state.dsn(replicas=True)
        asked = [stack.enter_context(psycopg.connect(dsn)) for _ in range(readers)]
        rows = [c.execute("SELECT pg_is_in_recovery()", prepare=False).fetchone() for c in asked]
        return rows == [(True,)] * readers


def test_reads_leave_a_replica_that_became_the_primary(rehearsal: Rehearsal) -> None:
    """Its connections outlive the promotion, and PgBouncer keeps them for 30 s, then one by one."""
    rehearsal.until(lambda: on_replicas(rehearsal), 75.0)
    rehearsal.cluster.switchover(rehearsal.replica())
    rehearsal.settled()
    rehearsal.until(lambda: on_replicas(rehearsal), 75.0)


def empty_table(rehearsal: Rehearsal) -> None:
    """Every replica knows it when we return."""
    rehearsal.execute("DROP TABLE IF EXISTS fresh", "CREATE TABLE fresh (id int PRIMARY KEY)")
    database = conninfo_to_dict(rehearsal.state.dsn())["dbname"]
    for node in rehearsal.state.topology.servers:
        with psycopg.connect(rehearsal.state.server_dsn(node, database=str(database))) as server:
            server.autocommit = True
            rehearsal.until(lambda s=server: s.execute("SELECT count(*) FROM fresh").fetchone())


def read_after_write(rehearsal: Rehearsal, checks: int) -> tuple[Counter[str], Counter[str]]:
    """Rows that a read right after their commit missed, and where the router read."""
    app, app_ro = rehearsal.state.dsn(), rehearsal.state.dsn(replicas=True)
    missed: Counter[str] = Counter()
    query = "SELECT id FROM fresh WHERE id = %s"
    with (
        psycopg.connect(app_ro, prepare_threshold=None, autocommit=True) as replica,
        Router(app, app_ro) as router,
    ):
        for i in range(checks):
            router.write(lambda c, i=i: c.execute("INSERT INTO fresh VALUES (%s)", (i,)))
            missed["any replica"] += replica.execute(query, (i,)).fetchone() is None
            router.write(lambda c, i=i: c.execute("INSERT INTO fresh VALUES (%s)", (-1 - i,)))
            missed["router"] += router.read(query, (-1 - i,), stale_s_max=5.0) == []
        print(f"missed of {checks} reads after a write: {missed}; router: {router.counts}")
        return missed, Counter(router.counts)


def test_the_router_reads_its_own_writes_from_replicas(rehearsal: Rehearsal) -> None:
    """At any replica the reference missed 243 of 400 rows; a quick machine may miss none."""
    empty_table(rehearsal)
    missed, read = read_after_write(rehearsal, 400)
    assert missed["router"] == 0
    assert read["replica"] > 200  # and not by reading from the primary


def test_behind_replicas_miss_every_row_and_the_router_none(rehearsal: Rehearsal) -> None:
    empty_table(rehearsal)
    with replay_stopped(rehearsal):
        missed, read = read_after_write(rehearsal, 30)
    assert missed == {"any replica": 30, "router": 0}
    assert read["replica"] == 0


def test_sqlalchemy_reads_its_own_writes(rehearsal: Rehearsal) -> None:
    import sqlalchemy

    from premortem.route.sqlalchemy import Router as SqlalchemyRouter

    def engine(dsn: str) -> Any:
        return sqlalchemy.create_engine(
            "postgresql+psycopg://",
            connect_args=conninfo_to_dict(dsn) | {"prepare_threshold": None},
        )

    primary, replicas = engine(rehearsal.state.dsn()), engine(rehearsal.state.dsn(replicas=True))
    router, on_replica = SqlalchemyRouter(primary, replicas), 0
    with router.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alchemy (id int)")
    for i in range(30):
        with router.writing() as connection:
            connection.exec_driver_sql("INSERT INTO alchemy VALUES (%s)", (i,))
        with router.reading(stale_s_max=5.0) as connection:
            query = "SELECT count(*), pg_is_in_recovery() FROM alchemy WHERE id = %s"
            count, replica = connection.exec_driver_sql(query, (i,)).one()
            assert count == 1
            on_replica += replica
    assert on_replica > 0
    primary.dispose()
    replicas.dispose()


def test_django_reads_its_own_writes(rehearsal: Rehearsal) -> None:
    """In a process of its own: Django's settings are one a process."""
    done = subprocess.run(
        [sys.executable, "-c", _DJANGO, rehearsal.state.dsn(), rehearsal.state.dsn(replicas=True)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missed, replica_reads = (int(word) for word in done.stdout.split())
    assert missed == 0
    assert replica_reads > 0


_DJANGO = """
import sys
from types import SimpleNamespace
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

def database(dsn):
    d = conninfo_to_dict(dsn)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": d["dbname"], "USER": d["user"],
            "PASSWORD": d["password"], "HOST": d["host"], "PORT": d["port"],
            "DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"prepare_threshold": None}}

settings.configure(
    DATABASES={"default": database(sys.argv[1]), "replica": database(sys.argv[2])},
    DATABASE_ROUTERS=["premortem.route.django.ReplicaRouter"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField")
import django
django.setup()
from django.db import connections, models, router
from django.http import HttpResponse
from premortem.route.django import ReadYourWrites, may_be_stale

class Row(models.Model):
    number = models.IntegerField()
    class Meta:
        app_label = "site"

with connections["default"].schema_editor() as editor:
    editor.create_model(Row)
missed = replica_reads = 0
cookie = {}
for i in range(30):
    def write(request):
        Row.objects.create(number=i)
        return HttpResponse()
    def read(request):
        global missed, replica_reads
        with may_be_stale(5.0):
            rows = Row.objects.filter(number=i)
            missed += not rows.exists()
            replica_reads += rows.db == "replica"
        return HttpResponse()
    response = ReadYourWrites(write)(SimpleNamespace(COOKIES=cookie))
    cookie = {k: v.value for k, v in response.cookies.items()}
    ReadYourWrites(read)(SimpleNamespace(COOKIES=cookie))
print(missed, replica_reads)
connections.close_all()
"""


def test_a_stalled_replica_is_not_read(rehearsal: Rehearsal) -> None:
    name = rehearsal.primary()
    senders = [
        p
        for p in remains(rehearsal.state.data(rehearsal.state.topology.node(name)))
        if "walsender" in " ".join(p.cmdline())
    ]
    with Router(rehearsal.state.dsn(), rehearsal.state.dsn(replicas=True)) as router:
        router.read("SELECT 1", stale_s_max=1.0)
        try:
            for p in senders:
                p.suspend()
            time.sleep(1.5)
            before = dict(router.counts)
            assert router.read("SELECT pg_is_in_recovery()", stale_s_max=1.0) == [(False,)]
            assert router.counts["fallback"] == before["fallback"] + 1
        finally:
            for p in senders:
                p.resume()
