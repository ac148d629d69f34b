"""The psycopg router against connections that behave like its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from premortem.route import Token
from premortem.route.psycopg import Router
from premortem.route.rule import PROBE, TOKEN, UNKNOWN


class Server:
    """What every connection to one DSN answers; ``None`` in the list: it is gone."""

    def __init__(self, probe: Any = (False, None, 0.0), token: Any = ("0/30",)) -> None:
        self.answers = {PROBE: probe, TOKEN: token}
        self.up, self.connects, self.reads = True, 0, 0


class Connection:
    def __init__(self, server: Server) -> None:
        self.server, self.closed = server, False
        self.row: Any = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def execute(self, query: str, params: object = None) -> Connection:
        if not self.server.up:
            raise psycopg.OperationalError("gone")
        if query == "SELECT rows":
            self.server.reads += 1
        self.row = self.server.answers.get(query, ("row",))
        if isinstance(self.row, Exception):
            raise self.row
        return self

    def fetchone(self) -> Any:
        return self.row

    def fetchall(self) -> list[Any]:
        return [self.row]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Server]:
    made = {"app": Server(), "app_ro": Server((True, "0/30", 0.1))}

    def connect(dsn: str, **settings: object) -> Connection:
        server = made[dsn]
        server.connects += 1
        if not server.up:
            raise psycopg.OperationalError("refused")
        return Connection(server)

    monkeypatch.setattr(psycopg, "connect", connect)
    return made


def read(router: Router) -> str:
    router.read("SELECT rows", stale_s_max=1.0)
    return "replica" if router.counts["replica"] else "primary"


def test_only_where_allowed(servers: dict[str, Server]) -> None:
    with Router("app", "app_ro") as router:
        router.read("SELECT rows")
        assert (servers["app"].reads, servers["app_ro"].reads) == (1, 0)
        router.read("SELECT rows", stale_s_max=1.0)
        assert (servers["app"].reads, servers["app_ro"].reads) == (1, 1)


def test_remembers_the_position_of_its_write(servers: dict[str, Server]) -> None:
    with Router("app", "app_ro", wait_s=0.01) as router:
        assert router.write(lambda c: "kept") == "kept"
        assert router.token == Token(0x30)
        assert read(router) == "replica"
        router.token = Token(0x31)
        router.read("SELECT rows", stale_s_max=1.0)
        assert router.counts == {"replica": 1, "primary": 1, "fallback": 1}


def test_a_committed_write_never_looks_failed(servers: dict[str, Server]) -> None:
    servers["app"].answers[TOKEN] = psycopg.OperationalError("gone")
    with Router("app", "app_ro") as router:
        assert router.write(lambda c: "kept") == "kept"
        assert router.token == UNKNOWN
        assert read(router) == "primary"


def test_a_lost_replica_costs_no_read_and_is_left_alone_a_while(
    servers: dict[str, Server],
) -> None:
    with Router("app", "app_ro") as router:
        read(router)
        servers["app_ro"].up = False
        for _ in range(5):
            router.read("SELECT rows", stale_s_max=1.0)
        assert router.counts == {"replica": 1, "primary": 5, "fallback": 1}
        assert servers["app_ro"].connects == 1


@pytest.mark.parametrize(
    "farewell",
    [
        psycopg.OperationalError("server conn crashed?"),
        psycopg.InterfaceError("the connection is lost"),
        psycopg.InternalError("received 2 results from command 'BEGIN'"),
    ],
)
def test_every_way_a_replica_may_go_is_a_read_from_the_primary(
    servers: dict[str, Server], farewell: Exception
) -> None:
    servers["app_ro"].answers[PROBE] = farewell
    with Router("app", "app_ro") as router:
        assert router.read("SELECT rows", stale_s_max=1.0) == [("row",)]
        assert router.counts == {"replica": 0, "primary": 1, "fallback": 1}


def test_a_mistaken_query_is_the_callers(servers: dict[str, Server]) -> None:
    for server in servers.values():
        server.answers["SELECT rows"] = psycopg.errors.UndefinedTable("no such table")
    with Router("app", "app_ro") as router, pytest.raises(psycopg.errors.UndefinedTable):
        router.read("SELECT rows", stale_s_max=1.0)


def test_a_read_is_repeated_once_on_a_fresh_connection(servers: dict[str, Server]) -> None:
    with Router("app", "app_ro") as router:
        router.read("SELECT rows")
        servers["app"].up = False
        with pytest.raises(psycopg.OperationalError):
            router.read("SELECT rows")
        servers["app"].up = True
        router.read("SELECT rows")
        assert servers["app"].reads == 2


def test_a_failed_write_is_not_repeated(servers: dict[str, Server]) -> None:
    calls: list[object] = []

    def work(connection: Any) -> None:
        calls.append(connection)
        raise psycopg.OperationalError("gone")

    with Router("app", "app_ro") as router, pytest.raises(psycopg.OperationalError):
        router.write(work)
    assert len(calls) == 1
