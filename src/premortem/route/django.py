"""The same rule for Django: a database router and a middleware.

settings.py: ``DATABASES`` with ``default`` (DSN ``app``) and ``replica`` (DSN ``app_ro``),
``DATABASE_ROUTERS = ["premortem.route.django.ReplicaRouter"]`` and, for reads after writes across
requests, ``"premortem.route.django.ReadYourWrites"`` among ``MIDDLEWARE``. Reads go to the replica
only inside ``with may_be_stale(2.0):``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from premortem.route.rule import PROBE, TOKEN, UNKNOWN, Token, choose, parse_lsn, read_probe

__all__ = ["ReadYourWrites", "ReplicaRouter", "may_be_stale"]

PRIMARY, REPLICA = "default", "replica"
WAIT_S = 0.1
LOOK_S = 0.005
COOKIE = "premortem_seen"
COOKIE_S = 60
"""No replica that may answer is ever a minute behind; after that the token says nothing new."""


NOTHING_SEEN = Token()


@dataclass(frozen=True, slots=True)
class _Context:
    stale_s_max: float = 0.0
    after: Token = NOTHING_SEEN
    wrote: bool = False


_context: ContextVar[_Context] = ContextVar("premortem_route", default=_Context())  # noqa: B039 - frozen


@contextmanager
def may_be_stale(stale_s_max: float) -> Iterator[None]:
    """Inside the block reads may be this many seconds behind, though never behind our writes."""
    before = _context.get().stale_s_max
    _context.set(replace(_context.get(), stale_s_max=stale_s_max))
    try:
        yield
    finally:
        _context.set(replace(_context.get(), stale_s_max=before))


class ReplicaRouter:
    """Answers Django's question which database to use."""

    def db_for_read(self, model: object, **hints: object) -> str:
        """``replica`` where the caller allows it and the replica is fresh enough."""
        now = _context.get()
        if now.wrote or now.stale_s_max <= 0:
            return PRIMARY  # within a request, after a write, its own transaction may be open
        return REPLICA if _fit(now, _connection(REPLICA)) else PRIMARY

    def db_for_write(self, model: object, **hints: object) -> str:
        """The primary; from now on this request reads there too."""
        _context.set(replace(_context.get(), wrote=True))
        return PRIMARY

    def allow_relation(self, one: object, other: object, **hints: object) -> bool:
        """Both are the same data."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        """Replicas get migrations by replication."""
        return db == PRIMARY


class ReadYourWrites:
    """Middleware: after a request that wrote, a cookie tells the next one what it must see."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        mark = _context.set(_Context(after=_token_of(request.COOKIES.get(COOKIE, ""))))
        try:
            response = self.get_response(request)
            if _context.get().wrote:
                row = _ask(_connection(PRIMARY), TOKEN)
                token = str(row[0]) if row else str(UNKNOWN)
                response.set_cookie(COOKIE, token, max_age=COOKIE_S, httponly=True)
            return response
        finally:
            _context.reset(mark)


def _token_of(text: str) -> Token:
    """A visitor may send anything: what is no position asks for nothing."""
    try:
        return parse_lsn(text) if text else Token()
    except ValueError:
        return Token()


def _fit(now: _Context, connection: Any) -> bool:
    began = time.monotonic()
    while True:
        choice = choose(
            read_probe(_ask(connection, PROBE)),
            stale_s_max=now.stale_s_max,
            after=now.after,
            waited_s=time.monotonic() - began,
            wait_s=WAIT_S,
        )
        if choice != "wait":
            return choice == "replica"
        time.sleep(LOOK_S)


def _ask(connection: Any, query: str) -> tuple[object, ...] | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row: tuple[object, ...] | None = cursor.fetchone()
            return row
    except import_module("django.db.utils").Error:
        connection.close()
        return None


def _connection(alias: str) -> Any:
    return import_module("django.db").connections[alias]
