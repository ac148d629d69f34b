"""The stack of a rehearsal: the drill's database, a site that can be broken, what stands beside."""

from __future__ import annotations

import asyncio
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from premortem.drills.faults._fault import SiteKind
from premortem.drills.sites.shop.popular import paths
from premortem.drills.sites.switches import Switches, write_switches
from premortem.drills.stack import Layout, SiteProcesses, Stack
from premortem.engines.errors import EngineError
from premortem.engines.processes import free_port, spawn

__all__ = ["WARM_TIMEOUT_S", "Site", "cores_of", "serve"]

THREADS = 80
"""As in the drill: raised once "so that pages do not queue"."""
CAP = 8
"""What the drill's calibration chooses for a database with one core."""
WARM_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Site:
    """A site of one case and the file of its switches."""

    web: SiteProcesses
    switches_file: Path
    switches: Switches


def cores_of(kind: SiteKind, plan: Layout) -> Layout:
    """Who gets a core without neighbours, where there are only two.

    >>> cores_of(SiteKind(alone="site"), Layout((0,), (1,), (1,))).clients
    (0,)
    """
    if kind.alone == "site" and plan.clients is not None and plan.clients == plan.site:
        return Layout(plan.database, plan.site, plan.database)
    return plan


@asynccontextmanager
async def serve(stack: Stack, kind: SiteKind, plan: Layout) -> AsyncIterator[Site]:
    """Start the other service and the site, run as the fault needs it. Raises ``EngineError``."""
    folder = stack.folder / f"rehearsal-{secrets.token_hex(3)}"
    folder.mkdir()
    healthy = Switches(hold_ms=kind.hold_ms)
    switches = folder / "switches.json"
    write_switches(switches, healthy)
    async with AsyncExitStack() as running:
        neighbour = free_port()
        beside = await spawn(
            [sys.executable, "-m", "premortem.drills.sites.neighbour", "--port", str(neighbour),
             "--switches", str(switches)],
            cpus=plan.site, log=folder / "neighbour.log", leash=stack.leash,
        )  # fmt: skip
        running.push_async_callback(beside.end)
        web = _site(stack, kind, plan, folder, neighbour)
        running.push_async_callback(web.stop)
        await web.add(1)
        if kind.cache:
            await _warm(web.url)
        yield Site(web, switches, healthy)


def _site(
    stack: Stack, kind: SiteKind, plan: Layout, folder: Path, neighbour: int
) -> SiteProcesses:
    token, port = secrets.token_urlsafe(16), free_port()
    (folder / "dsn").write_text(stack.database.site_dsn)
    (folder / "token").write_text(token)
    wanted = {
        "site": stack.scenario,
        "dsn-file": folder / "dsn",
        "host": "0.0.0.0" if kind.lossy_path else "127.0.0.1",
        "port": port,
        "mode": "connection_per_request" if kind.guard == "absent" else "pool",
        "pool-size": kind.pool_size,
        "threads": THREADS,
        "cap": CAP if kind.guard == "guards" else 0,
        "guard-token-file": folder / "token",
        "switches": folder / "switches.json",
        "neighbour-port": neighbour,
        "backlog": kind.backlog,
    }
    argv = [sys.executable, "-m", "premortem.drills.sites.rehearsal"]
    argv += [part for name, value in wanted.items() for part in (f"--{name}", str(value))]
    argv += ["--cache"] if kind.cache else []
    argv += ["--no-guard"] if kind.guard == "absent" else []
    return SiteProcesses(port, token, argv, plan.site, folder, stack.leash)


async def _warm(url: str) -> None:
    """Ask for every page once, so that the cache holds it."""
    try:
        await asyncio.to_thread(_fetch_all, url)
    except (urllib.error.URLError, TimeoutError) as error:
        raise EngineError(f"the site did not answer while its cache was filled: {error}") from None


def _fetch_all(url: str) -> None:
    for path in paths():
        with urllib.request.urlopen(url + path, timeout=WARM_TIMEOUT_S) as answer:
            answer.read()
