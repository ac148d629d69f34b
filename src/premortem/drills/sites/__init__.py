"""Rehearsal sites: real applications on a real database, each with its visitors' journeys.

A site is a package here that holds ``schema.sql``, ``seed.sql``, ``app.py`` (``build(database)``
returns the ASGI application, ``PRIORITIES`` says which requests matter most) and ``journey.py``
(the visitor, and what it counts as acknowledged). There is no registry: a site exists because
its folder does.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["Site", "load_data", "site", "site_names"]

SEED_TIMEOUT_S = 120
"""Seeding takes some 5 s on a core of its own; a busy machine may take many times that."""


@dataclass(frozen=True, slots=True)
class Site:
    """One rehearsal site."""

    name: str
    folder: Path
    journey: Callable[[Any], Awaitable[None]]
    """``await journey(user)`` plays one visit with the load engine's user."""
    write: str
    """The kind of thing its visitors get acknowledged: ``order``, ``score``."""
    acknowledged_count_sql: str
    """Counts how many of the ids in ``%(ids)s`` the database still has."""
    probe: str
    """Path of the page that the watch asks for."""
    priorities: tuple[tuple[str, str, str], ...]
    """(method, path prefix, class) for the guard: what is let in first when not all can be."""


def site_names() -> tuple[str, ...]:
    """Every site there is, in alphabetical order.

    >>> site_names()
    ('game', 'shop')
    """
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.ispkg))


def site(name: str) -> Site:
    """The site called ``name``. Raises ``ValueError`` that lists the sites there are."""
    if name not in site_names():
        raise ValueError(f"no site is called {name!r}: choose one of {', '.join(site_names())}")
    journey = importlib.import_module(f"{__name__}.{name}.journey")
    return Site(
        name,
        Path(journey.__file__ or "").parent,
        journey.journey,
        journey.WRITE,
        journey.ACKNOWLEDGED_COUNT_SQL,
        journey.PROBE,
        journey.PRIORITIES,
    )


async def load_data(wanted: Site, dsn: str) -> None:
    """Create the site's tables and fill them; deterministic. Raises ``psycopg.Error``."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"SET statement_timeout = '{SEED_TIMEOUT_S}s'")
        for file in ("schema.sql", "seed.sql"):
            await connection.execute((wanted.folder / file).read_bytes())
        # Now, so that neither autovacuum nor a checkpoint of the load falls into a measurement.
        await connection.execute("VACUUM (ANALYZE)")
        await connection.execute("CHECKPOINT")
