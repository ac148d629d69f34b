"""Run a site that can be broken: ``python -m premortem.drills.sites.rehearsal --site shop …``.

The same shop on the same database, with what shops have besides: another service that product
pages ask for the delivery time, a cache of pages where it is wanted, and switches (``switches.py``)
that break one thing at a time. The guard is inside either as a guard or as an observer that lets
everybody in.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from starlette.types import ASGIApp

from premortem.drills.sites import site, site_names
from premortem.drills.sites._breakable import BreakableDatabase, breakable
from premortem.drills.sites._edge import Edge
from premortem.drills.sites.serve import listening, run
from premortem.drills.sites.switches import Live
from premortem.guard import Guard, Route, Settings

__all__ = ["main"]

OBSERVER_CAP = 10_000
"""No limit that is ever reached: the guard only counts."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM. Returns 0, or 3 when the port or a file cannot be used."""
    wanted = _arguments().parse_args(argv)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.ERROR)
    live = Live(wanted.switches)
    try:
        app = _application(wanted, live)
        sock = listening(wanted.port, wanted.host)
    except OSError as error:
        where = error.filename or f"port {wanted.port}"
        print(f"rehearsal: {where}: {error.strerror}", file=sys.stderr)
        return 3
    live.watch()
    run(app, sock, wanted.backlog)
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rehearsal", description=__doc__)
    parser.add_argument("--site", required=True, choices=site_names())
    parser.add_argument("--dsn-file", required=True, type=Path, help="holds the connection string")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--mode", default="pool", choices=("connection_per_request", "pool"))
    parser.add_argument("--pool-size", default=10, type=int, help="connections")
    parser.add_argument("--threads", default=80, type=int, help="handlers at once")
    parser.add_argument("--cap", default=0, type=int, help="requests in flight; 0: only observe")
    parser.add_argument("--no-guard", action="store_true", help="nothing of premortem inside")
    parser.add_argument("--guard-token-file", required=True, type=Path)
    parser.add_argument("--switches", required=True, type=Path)
    parser.add_argument("--neighbour-port", required=True, type=int, help="the other service")
    parser.add_argument("--cache", action="store_true", help="pages come from a cache")
    parser.add_argument("--backlog", default=2048, type=int, help="connections not yet accepted")
    return parser


def _application(wanted: argparse.Namespace, live: Live) -> ASGIApp:
    dsn = wanted.dsn_file.read_text().strip()
    database = BreakableDatabase.made(dsn, wanted.mode, wanted.pool_size, live)
    app = importlib.import_module(f"premortem.drills.sites.{wanted.site}.app").build(database)
    breakable(app, database, wanted.threads)
    threading.Thread(target=database.misbehave_forever, name="misbehave", daemon=True).start()
    edge = Edge(app, live, wanted.neighbour_port, cached=wanted.cache)
    if wanted.no_guard:
        return edge
    routes = tuple(Route(*priority) for priority in site(wanted.site).priorities)
    settings = Settings(
        cap=wanted.cap or OBSERVER_CAP,
        adaptive=bool(wanted.cap),
        token=wanted.guard_token_file.read_text().strip(),
        routes=routes,
    )
    pool = database if database.pool is not None else None
    guarded: ASGIApp = Guard(edge, settings, pool=pool)
    return guarded


if __name__ == "__main__":
    sys.exit(main())
