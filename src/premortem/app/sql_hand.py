"""The connection through which remedies act in the database, held from the start.

A second one beside the monitor's, and only where the policy allows acting: amid trouble there may
be no slot left to open one, and a statement that waits must not blind the monitor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from premortem.remedies._hands import RemedyFailed
from premortem.sources._contract import say
from premortem.sources._pg_connection import Connection

__all__ = ["SqlHand"]

WITHIN_S = 2.0
"""The statements of remedies take milliseconds; the server ends them after one second itself."""


@dataclass(slots=True)
class SqlHand:
    """Runs one statement at a time."""

    link: Connection

    @classmethod
    def to(cls, dsn: str) -> SqlHand:
        """To the server of ``dsn``; its role needs ``pg_signal_backend`` besides ``pg_monitor``."""
        return cls(Connection(dsn))

    async def __call__(self, statement: str, parameters: Sequence[object]) -> list[dict[str, Any]]:
        """Rows of one statement. Raises :class:`RemedyFailed` with what the server said."""
        why = await self.link.ready()
        if why is not None:
            raise RemedyFailed(why)
        work = asyncio.ensure_future(self.link.rows(statement.encode(), parameters or None))
        await asyncio.wait({work}, timeout=WITHIN_S)
        if not work.done():
            self.link.hang_up()
            await asyncio.gather(work, return_exceptions=True)
            await self.link.close()
            raise RemedyFailed(f"the database gave no reply in {WITHIN_S:g} s")
        try:
            return work.result()
        except psycopg.OperationalError as problem:
            await self.link.close()
            raise RemedyFailed(say(problem)) from None
        except psycopg.Error as problem:
            raise RemedyFailed(say(problem)) from None

    async def hold(self) -> None:
        """Connect unless connected."""
        await self.link.ready()

    async def close(self) -> None:
        """Close the connection."""
        await self.link.close()
