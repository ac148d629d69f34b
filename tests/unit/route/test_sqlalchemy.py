"""The SQLAlchemy router against engines that behave like its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from premortem.route import Token
from premortem.route.rule import PROBE, TOKEN
from premortem.route.sqlalchemy import Router


class DBAPIError(Exception):
    pass


class Result:
    def __init__(self, row: tuple[object, ...]) -> None:
        self.row = row

    def fetchone(self) -> tuple[object, ...]:
        return self.row


class Connection:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.closed = engine, False

    def exec_driver_sql(self, query: str) -> Result:
        assert query in (PROBE, TOKEN)
        answer = self.engine.answers[query].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Result(answer)

    def invalidate(self, error: Exception) -> None:
        self.engine.invalidated += 1

    def close(self) -> None:
        self.closed = True
        self.engine.open -= 1

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Engine:
    def __init__(self, probe: list[Any] | None = None, token: list[Any] | None = None) -> None:
        self.answers = {PROBE: probe or [], TOKEN: token or []}
        self.open = self.invalidated = 0

    def connect(self) -> Connection:
        self.open += 1
        return Connection(self)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.connect() as connection:
            yield connection


@pytest.fixture(autouse=True)
def _error_class(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sqlalchemy.exc")
    module.DBAPIError = DBAPIError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sqlalchemy", ModuleType("sqlalchemy"))
    monkeypatch.setitem(sys.modules, "sqlalchemy.exc", module)


def test_reads_go_to_the_primary_unless_allowed_elsewhere() -> None:
    primary, replicas = Engine(), Engine()
    with Router(primary, replicas).reading() as connection:
        assert connection.engine is primary


def test_a_fresh_replica_answers_on_the_connection_that_was_asked() -> None:
    primary, replicas = Engine(), Engine([(True, "0/20", 0.1)])
    with Router(primary, replicas).reading(stale_s_max=1) as connection:
        assert connection.engine is replicas
        assert replicas.open == 1
    assert replicas.open == 0


def test_waits_for_our_own_write_then_reads_the_replica() -> None:
    primary = Engine(token=[("0/30",)])
    replicas = Engine([(True, "0/20", 0.1), (True, "0/30", 0.1)])
    router = Router(primary, replicas)
    with router.writing():
        pass
    assert router.token == Token(0x30)
    with router.reading(stale_s_max=1) as connection:
        assert connection.engine is replicas


def test_falls_back_when_the_replica_does_not_catch_up() -> None:
    primary = Engine(token=[("0/30",)])
    replicas = Engine([(True, "0/20", 0.1)] * 1000)
    router = Router(primary, replicas, wait_s=0.02)
    with router.writing():
        pass
    with router.reading(stale_s_max=1) as connection:
        assert connection.engine is primary
    assert replicas.open == 0


def test_falls_back_when_the_replica_is_gone() -> None:
    primary, replicas = Engine(), Engine([DBAPIError("gone")])
    with Router(primary, replicas).reading(stale_s_max=1) as connection:
        assert connection.engine is primary
    assert (replicas.open, replicas.invalidated) == (0, 1)


def test_an_error_in_the_block_is_the_callers() -> None:
    replicas = Engine([(True, "0/20", 0.1)])
    with pytest.raises(ZeroDivisionError), Router(Engine(), replicas).reading(stale_s_max=1):
        _ = 1 / 0
    assert replicas.open == 0


def test_a_committed_write_does_not_look_failed_when_its_position_cannot_be_asked() -> None:
    primary = Engine(token=[DBAPIError("gone")])
    router = Router(primary, Engine([(True, "0/20", 0.1)]))
    with router.writing():
        pass
    with router.reading(stale_s_max=1) as connection:
        assert connection.engine is primary
