"""The Django router and middleware against connections that behave like its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from premortem.route.django import COOKIE, ReadYourWrites, ReplicaRouter, may_be_stale
from premortem.route.rule import PROBE, TOKEN


class Error(Exception):
    pass


class Connection:
    def __init__(self) -> None:
        self.answers: dict[str, Any] = {PROBE: (True, "0/20", 0.1), TOKEN: ("0/30",)}
        self.closed = 0

    @contextmanager
    def cursor(self) -> Iterator[Connection]:
        yield self

    def execute(self, query: str) -> None:
        self.row = self.answers[query]
        if isinstance(self.row, Exception):
            raise self.row

    def fetchone(self) -> Any:
        return self.row

    def close(self) -> None:
        self.closed += 1


class Response:
    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def set_cookie(self, name: str, value: str, **how: object) -> None:
        assert how["httponly"]
        self.cookies[name] = value


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> dict[str, Connection]:
    made = {"default": Connection(), "replica": Connection()}
    db, utils = ModuleType("django.db"), ModuleType("django.db.utils")
    db.connections = made  # type: ignore[attr-defined]
    utils.Error = Error  # type: ignore[attr-defined]
    for name, module in (
        ("django", ModuleType("django")),
        ("django.db", db),
        ("django.db.utils", utils),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    return made


def request(view: Any, cookie: str = "") -> Response:
    middleware = ReadYourWrites(lambda _: view())
    response: Response = middleware(SimpleNamespace(COOKIES={COOKIE: cookie} if cookie else {}))
    return response


def read() -> str:
    with may_be_stale(1.0):
        return ReplicaRouter().db_for_read(object)


def test_only_where_allowed(connections: dict[str, Connection]) -> None:
    assert ReplicaRouter().db_for_read(object) == "default"
    assert read() == "replica"
    assert ReplicaRouter().db_for_read(object) == "default"


def test_after_a_write_the_request_stays_at_the_primary(connections: dict[str, Connection]) -> None:
    seen: list[str] = []

    def view() -> Response:
        seen.append(read())
        assert ReplicaRouter().db_for_write(object) == "default"
        seen.append(read())
        return Response()

    response = request(view)
    assert seen == ["replica", "default"]
    assert response.cookies == {COOKIE: "0/30"}
    assert read() == "replica"  # and nothing of it leaks into the next request


def test_the_next_request_sees_the_write(connections: dict[str, Connection]) -> None:
    seen: list[str] = []

    def view() -> Response:
        seen.append(read())
        return Response()

    assert request(view, cookie="0/30").cookies == {}
    connections["replica"].answers[PROBE] = (True, "0/30", 0.1)
    request(view, cookie="0/30")
    request(view, cookie="nonsense")
    assert seen == ["default", "replica", "replica"]


def test_a_dead_replica_means_the_primary(connections: dict[str, Connection]) -> None:
    connections["replica"].answers[PROBE] = Error("gone")
    assert read() == "default"
    assert connections["replica"].closed == 1


def test_migrations_only_on_the_primary() -> None:
    assert ReplicaRouter().allow_migrate("default", "app")
    assert not ReplicaRouter().allow_migrate("replica", "app")
    assert ReplicaRouter().allow_relation(object(), object())
