"""What both exports share: texts with holes as expressions, and what cannot be said. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from premortem.load.journey import BadJourney
from premortem.load.steps import HOLE, Sheet

__all__ = ["FEED_ROWS_MAX", "demand_small", "expression", "json_text", "text_parts"]

FEED_ROWS_MAX = 10_000
"""Feeds are written into the script: it stays one file, of a few MB at most."""


def demand_small(sheet: Sheet) -> None:
    """Raises :class:`BadJourney` for a feed that is too large to be written into a script."""
    for name, rows in sheet.feeds.items():
        if len(rows) > FEED_ROWS_MAX:
            raise BadJourney(
                f"feed {name}: {len(rows)} rows; an export holds up to {FEED_ROWS_MAX}"
            )


def json_text(data: object) -> str:
    """JSON, which is also how JavaScript writes values."""
    return json.dumps(data, ensure_ascii=True)


def text_parts(text: str) -> list[tuple[bool, str]]:
    """``(whether it is a hole, text)`` pairs.

    >>> text_parts("/a/{id}?b")
    [(False, '/a/'), (True, 'id'), (False, '?b')]
    """
    found: list[tuple[bool, str]] = []
    at = 0
    for hole in HOLE.finditer(text):
        if hole.start() > at:
            found.append((False, text[at : hole.start()]))
        found.append((True, hole[1]))
        at = hole.end()
    if at < len(text) or not found:
        found.append((False, text[at:]))
    return found


def expression(
    value: Any, hole: Callable[[str], str], join: Callable[[list[str]], str],
    constant: Callable[[object], str] = json_text,
) -> str:  # fmt: skip
    """``value`` as source code: strings with holes become what ``join`` makes of their parts; one
    hole alone keeps the type of what fills it."""
    if isinstance(value, str):
        parts = text_parts(value)
        if len(parts) == 1:
            is_hole, text = parts[0]
            return hole(text) if is_hole else constant(text)
        return join([hole(text) if is_hole else constant(text) for is_hole, text in parts])
    if isinstance(value, Mapping):
        pairs = (
            f"{constant(key)}: {expression(inner, hole, join, constant)}"
            for key, inner in value.items()
        )
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(expression(one, hole, join, constant) for one in value)}]"
    return constant(value)
