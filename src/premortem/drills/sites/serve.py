"""Run one worker of a rehearsal site: ``python -m premortem.drills.sites.serve --site shop …``.

Workers bind one port with SO_REUSEPORT, so another can be added while the first ones run: the
kernel spreads new connections over them.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from premortem.drills.sites import site, site_names
from premortem.drills.sites.database import Database
from premortem.guard import Guard, Route, Settings

__all__ = ["listening", "main", "run"]

HOST = "127.0.0.1"

REQUESTS_MAX = 1000
"""What one worker takes on before it answers 503 at once: gunicorn's worker_connections. Without
a bound the requests of visitors who left long ago pile up for as long as the surge lasts."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Returns 0, or 3 when the port or a file cannot be used."""
    wanted = _arguments().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # we log each failed request
    try:
        app = _application(wanted)
        sock = listening(wanted.port)
    except OSError as error:
        print(
            f"serve: {error.filename or f'port {wanted.port}'}: {error.strerror}", file=sys.stderr
        )
        return 3
    run(app, sock)
    return 0


def run(app: ASGIApp, sock: socket.socket, backlog: int = 2048) -> None:
    """Serve until SIGTERM; ``backlog`` connections wait to be accepted (uvicorn's default)."""
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        ws="none",
        limit_concurrency=REQUESTS_MAX,
        backlog=backlog,
    )
    uvicorn.Server(settings).run([sock])


def listening(port: int, host: str = HOST) -> socket.socket:
    """A socket on ``port`` that other workers may share. Raises ``OSError`` when it is taken."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    # asyncio does this only for sockets it made; head and body then wait 40 ms for each other
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serve", description=__doc__)
    parser.add_argument("--site", required=True, choices=site_names())
    parser.add_argument("--dsn-file", required=True, type=Path, help="holds the connection string")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument(
        "--mode", default="pool", choices=("connection_per_request", "pool"), help="database access"
    )
    parser.add_argument("--pool-size", default=8, type=int, help="connections")
    parser.add_argument(
        "--transaction-pooler", action="store_true", help="one is in front of the database"
    )
    parser.add_argument("--threads", default=40, type=int, help="handlers at once (anyio: 40)")
    parser.add_argument("--guard-cap", default=0, type=int, help="requests in flight; 0: no guard")
    parser.add_argument("--guard-token-file", type=Path, help="holds the guard's token")
    return parser


def _application(wanted: argparse.Namespace) -> ASGIApp:
    database = Database.of(
        wanted.dsn_file.read_text().strip(),
        wanted.mode,
        wanted.pool_size,
        prepare=not wanted.transaction_pooler,
    )
    app: Starlette = importlib.import_module(f"premortem.drills.sites.{wanted.site}.app").build(
        database
    )
    _set_threads(app, wanted.threads)
    if wanted.guard_cap <= 0:
        return app
    token = wanted.guard_token_file.read_text().strip() if wanted.guard_token_file else ""
    routes = tuple(Route(*priority) for priority in site(wanted.site).priorities)
    settings = Settings(cap=wanted.guard_cap, token=token, routes=routes)
    guarded: ASGIApp = Guard(app, settings, pool=database.pool)
    return guarded


def _set_threads(app: Starlette, threads: int) -> None:
    """Let ``threads`` handlers run at once; the limiter exists only once the loop runs."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def life(scope: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = threads
        async with inner(scope):
            yield

    app.router.lifespan_context = life


if __name__ == "__main__":
    sys.exit(main())
