"""What a remedy may reach: the guard in the site and one connection to the database."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from premortem.model import Action, History

__all__ = ["Hands", "Remedy", "RemedyFailed", "Sql"]

Sql = Callable[[str, Sequence[object]], Awaitable[list[dict[str, Any]]]]
"""Runs one statement on the watch's own connection and returns its rows."""

HTTP_TIMEOUT_S = 2.0
"""A guard that cannot answer within two seconds is not going to help."""


class RemedyFailed(RuntimeError):
    """The remedy could not be applied: says what refused it."""


@dataclass(frozen=True, slots=True)
class Hands:
    """The means to act. A part that is ``None`` is out of reach, and the remedy says so."""

    guard_url: str | None = None
    """Base address of the site, e.g. ``http://127.0.0.1:8000``."""
    guard_token: str | None = None
    sql: Sql | None = None
    knee_in_flight: int | None = None
    """The load-tested number of requests in flight at the knee: what a cap is set to."""

    async def set_guard(self, settings: Mapping[str, object]) -> dict[str, Any]:
        """Change the guard's settings. Returns its answer (old and new values).

        Raises :class:`RemedyFailed` when there is no guard or it refuses.
        """
        if self.guard_url is None or self.guard_token is None:
            raise RemedyFailed("no guard in the site to talk to (guard.url and guard.token)")
        request = urllib.request.Request(
            self.guard_url.rstrip("/") + "/-/premortem/settings",
            data=json.dumps(dict(settings)).encode(),
            headers={"Content-Type": "application/json", "X-Premortem-Token": self.guard_token},
            method="POST",
        )
        return await asyncio.to_thread(_fetch, request)

    async def query(
        self, statement: str, parameters: Sequence[object] = ()
    ) -> list[dict[str, Any]]:
        """Run one statement in the database. Raises :class:`RemedyFailed` without a connection."""
        if self.sql is None:
            raise RemedyFailed("no connection to the database")
        return await self.sql(statement, parameters)


def _fetch(request: urllib.request.Request) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as answer:
            found = json.loads(answer.read(65536))
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise RemedyFailed(f"guard at {request.full_url}: {error}") from None
    return found if isinstance(found, dict) else {}


class Remedy(Protocol):
    """One action: ``apply`` does it and says what it did, ``undo`` takes it back.

    ``apply`` returns ``None`` when there is nothing to do.
    """

    async def apply(self, hands: Hands, history: History) -> Action | None: ...

    async def undo(self, hands: Hands, action: Action) -> None: ...
