"""Finds the query for a server's version: ``sql/NAME.LOWEST_VERSION.sql``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from psycopg import sql

__all__ = ["OLDEST", "query", "together", "versions"]

OLDEST = 13
"""The oldest PostgreSQL that is looked at."""


@cache
def versions(name: str) -> tuple[int, ...]:
    """The lowest versions for which ``name`` is written, newest first."""
    found = (f.name.split(".") for f in (files("premortem.sources") / "sql").iterdir())
    return tuple(
        sorted((int(p[1]) for p in found if p[0] == name and p[-1] == "sql"), reverse=True)
    )


@cache
def query(name: str, version: int, schema: str = "") -> bytes:
    """The newest text of ``name`` that is not newer than the server (major ``version``).

    ``schema`` stands for ``{schema}``. Raises ``LookupError`` for a server older than any text.
    """
    fits = [v for v in versions(name) if v <= version]
    if not fits:
        raise LookupError(f"no {name} for PostgreSQL {version}; the oldest is {OLDEST}")
    text = (files("premortem.sources") / "sql" / f"{name}.{fits[0]}.sql").read_text()
    if "{schema}" not in text:
        return text.encode()
    return sql.SQL(text).format(schema=sql.Identifier(schema)).as_bytes()


@cache
def together(first: str, second: str, version: int) -> bytes:
    """Two queries of one row each as one: half the round trips, half the work of the driver."""
    left, right = query(first, version), query(second, version)
    return b"select /* premortem */ * from (\n" + left + b") a cross join (\n" + right + b") b"
