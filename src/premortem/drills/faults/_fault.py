"""What a fault is, how the site under it is run, and what it may reach."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import psycopg

from premortem.drills.faults._path import LossyPath
from premortem.drills.sites.switches import Switches, write_switches
from premortem.drills.stack import SiteProcesses, Stack
from premortem.model import Tier

__all__ = ["Expects", "Fault", "Rig", "SiteKind", "ended", "open_session"]


@dataclass(frozen=True, slots=True)
class Expects:
    """What must be named."""

    cause: str
    tier: Tier


@dataclass(frozen=True, slots=True)
class SiteKind:
    """How the site is run: what the fault needs to be possible at all."""

    guard: Literal["guards", "observes", "absent"] = "guards"
    """``observes``: it counts and lets everybody in. ``absent``: a connection for each request."""
    pool_size: int = 10
    cache: bool = False
    backlog: int = 2048
    """Connections the kernel may hold for the site (uvicorn's default)."""
    hold_ms: float = 0.0
    """Healthy habit of the site: how long a request keeps its connection beside its queries."""
    load_share: float = 0.35
    """Users in calm times, as a share of the knee: twice to three times headroom."""
    retries: int = 2
    """How often a user tries again (the drill's)."""
    lossy_path: bool = False
    """Users come over a path whose packets can be lost (needs root)."""
    replica: bool = False
    alone: Literal["database", "site"] = "database"
    """Which tier has a core without the users and the watch on it, where there are two cores."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The database server's, beside the drill's own."""


class Fault(Protocol):
    """One way to break a running site."""

    expects: ClassVar[Expects]

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """One of this fault's kinds, of a random severity."""

    @property
    def site(self) -> SiteKind:
        """How the site must be run."""

    @property
    def words(self) -> str:
        """What is done, in one line."""

    def inject(self, rig: Rig) -> AbstractAsyncContextManager[None]:
        """Break it now; mend it on the way out."""


@dataclass(slots=True)
class Rig:
    """A running stack in a fault's hands."""

    stack: Stack
    web: SiteProcesses
    switches_file: Path
    knee_users_per_s: float
    users: Callable[..., Awaitable[None]]
    """``await users(pace, retries=2)`` sends more users until the case ends."""
    deploys: list[Mapping[str, object]]
    """Changes as the watch will hear of them."""
    clock: Callable[[], float]
    dice: random.Random
    path: LossyPath | None = None
    """The users' way to the site, where it can be spoilt."""
    replica_dsn: str | None = None
    switches: Switches = field(default_factory=Switches)

    def turn(self, **wanted: Any) -> None:
        """Turn switches inside the site and the service beside it."""
        self.switches = replace(self.switches, **wanted)
        write_switches(self.switches_file, self.switches)

    @asynccontextmanager
    async def turned(self, **wanted: Any) -> AsyncIterator[None]:
        """Turn switches and turn them back."""
        before = {name: getattr(self.switches, name) for name in wanted}
        self.turn(**wanted)
        try:
            yield
        finally:
            self.turn(**before)

    async def run(self, *statements: str) -> None:
        """Statements of the database's operator, each a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(
            self.stack.database.dsn, autocommit=True
        ) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    @asynccontextmanager
    async def sessions(
        self, count: int, application: str, *, autocommit: bool = False
    ) -> AsyncIterator[Sequence[psycopg.AsyncConnection[Any]]]:
        """Sessions of another application that uses the site's role; ended on the way out.

        Fewer than ``count`` when the slots run out.
        """
        async with AsyncExitStack() as open_ones:
            found = []
            for _ in range(count):
                session = await open_session(self.stack.database.site_dsn, application, autocommit)
                if session is None:
                    break
                open_ones.push_async_callback(session.close)
                found.append(session)
            yield found


async def open_session(
    dsn: str, application: str, autocommit: bool = False
) -> psycopg.AsyncConnection[Any] | None:
    """One session, or ``None`` when no slot is left."""
    try:
        return await psycopg.AsyncConnection.connect(
            dsn, autocommit=autocommit, application_name=application, connect_timeout=5
        )
    except psycopg.OperationalError:
        return None


async def ended(work: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks that use sessions and wait until the last is done with its own.

    A session that is closed while its statement is still being cancelled leaves its socket's
    number to the next one. Raises what a task raised that is neither that nor the database's.
    """
    for task in work:
        task.cancel()
    for found in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(found, BaseException) and not isinstance(
            found, asyncio.CancelledError | psycopg.Error
        ):
            raise found
