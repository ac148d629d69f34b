"""Run a rehearsal site behind a cluster's pooler: ``python -m premortem.drills.cluster_serve …``.

Beside ``sites.serve`` because a pooler in transaction mode asks two things of a site: statements
are not prepared on the server (PgBouncer before 1.21 gives the next statement another server), and
a connection that a failover broke is thrown away, which psycopg's pool does by itself.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
import uvicorn
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from starlette.types import ASGIApp

from premortem.drills.sites import site, site_names
from premortem.drills.sites.database import POOL_TIMEOUT_S, Database
from premortem.drills.sites.serve import REQUESTS_MAX, listening
from premortem.guard import Guard, Route, Settings

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Returns 0, or 3 when the port or a file cannot be used."""
    wanted = _arguments().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # each failed request is logged
    try:
        app, sock = _application(wanted), listening(wanted.port)
    except OSError as error:
        where = error.filename or f"port {wanted.port}"
        print(f"cluster_serve: {where}: {error.strerror}", file=sys.stderr)
        return 3
    settings = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        ws="none",
        limit_concurrency=REQUESTS_MAX,
    )
    uvicorn.Server(settings).run([sock])
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster_serve", description=__doc__)
    parser.add_argument("--site", required=True, choices=site_names())
    parser.add_argument("--dsn-file", required=True, type=Path, help="holds the connection string")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--pool-size", default=10, type=int, help="connections to the pooler")
    parser.add_argument("--guard-cap", default=0, type=int, help="requests in flight; 0: no guard")
    parser.add_argument("--guard-token-file", type=Path, help="holds the guard's token")
    return parser


def _application(wanted: argparse.Namespace) -> ASGIApp:
    dsn = wanted.dsn_file.read_text().strip()
    database = Database(dsn, "pool", _pool(dsn, wanted.pool_size))
    app: ASGIApp = importlib.import_module(f"premortem.drills.sites.{wanted.site}.app").build(
        database
    )
    if wanted.guard_cap <= 0:
        return app
    token = wanted.guard_token_file.read_text().strip() if wanted.guard_token_file else ""
    routes = tuple(Route(*priority) for priority in site(wanted.site).priorities)
    settings = Settings(cap=wanted.guard_cap, token=token, routes=routes)
    guarded: ASGIApp = Guard(app, settings, pool=database.pool)
    return guarded


def _pool(dsn: str, size: int) -> ConnectionPool[psycopg.Connection[DictRow]]:
    return ConnectionPool(
        dsn,
        connection_class=psycopg.Connection[DictRow],
        kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": None},
        min_size=size,
        max_size=size,
        timeout=POOL_TIMEOUT_S,
        open=False,
    )


if __name__ == "__main__":
    sys.exit(main())
