"""What both sites share: sync handlers in the threadpool, forms, honest errors, health."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import psycopg
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from premortem.drills.sites.database import Connection, Database

__all__ = ["Handler", "application", "number"]

log = logging.getLogger("premortem.site")

Form = Mapping[str, str]
Handler = Callable[[Connection, Request, Form], Response]
FORM_BYTES_MAX = 64_000


class BadRequest(ValueError):
    """The visitor's input makes no sense; the message goes back to them."""


def number(form: Mapping[str, str], name: str) -> int:
    """A whole number of a form or query. Raises ``BadRequest`` (a 400) when it is none."""
    try:
        return int(form[name])
    except (KeyError, ValueError):
        raise BadRequest(f"{name} must be a whole number") from None


def application(database: Database, routes: Mapping[tuple[str, str], Handler]) -> Starlette:
    """An ASGI application of sync handlers, each called with a connection in the threadpool."""

    def served(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        def work(request: Request, form: Form) -> Response:
            with database.connect() as connection:
                return handler(connection, request, form)

        async def endpoint(request: Request) -> Response:
            body = await request.body() if request.method == "POST" else b""
            if len(body) > FORM_BYTES_MAX:
                raise BadRequest("the form is too large")
            return await run_in_threadpool(work, request, dict(parse_qsl(body.decode())))

        return endpoint

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        database.open()
        yield
        database.close()

    return Starlette(
        routes=[
            Route("/health", _health),
            *(Route(path, served(h), methods=[verb]) for (verb, path), h in routes.items()),
        ],
        exception_handlers={psycopg.OperationalError: _database_failed, BadRequest: _bad_request},
        lifespan=life,
    )


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "up"})


async def _database_failed(request: Request, error: Exception) -> Response:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    log.warning("500 %s %s: %s", request.method, request.url.path, reason)
    return PlainTextResponse("the database did not answer\n", 500)


async def _bad_request(request: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{error}\n", 400)
