"""What people type: ``surge 3x``, ``web_servers +2``, ``Black Friday 2026-11-27 3x``, dates."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from premortem.capacity.demand import DAY_S, Event
from premortem.capacity.site import Site

__all__ = ["BadWords", "WhatIf", "parse_date", "parse_event", "parse_what_if", "whole_day"]

FACTOR_MAX = 1000.0
"""A surge beyond this is a typing error or an attack, not a plan."""

_SURGE = re.compile(r"(?:surge\s+)?(\d+(?:\.\d+)?)\s*[x×]", re.IGNORECASE)
_CHANGE = re.compile(r"([a-z_]+)\s*(?:(\+|-|=|x|×)\s*|\s)(\d+)", re.IGNORECASE)
_EVENT = re.compile(
    r"(?P<name>.*?\S)\s+(?P<first>\d{4}-\d{2}-\d{2})(?:\s*(?:\.\.|to)\s*(?P<last>\d{4}-\d{2}-\d{2}))?"
    r"(?:\s+(?P<factor>\d+(?:\.\d+)?)\s*[x×])?",
    re.IGNORECASE,
)
SETTINGS = tuple(f.name for f in fields(Site) if "int" in str(f.type))


class BadWords(ValueError):
    """A flag could not be understood; the message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A question: demand times ``surge``, and one setting changed."""

    text: str
    surge: float = 1.0
    field: str | None = None
    how: str = "="
    """``=``, ``+``, ``-`` or ``x``."""
    amount: int = 0

    def value(self, site: Site) -> int:
        """The setting's new value. Raises :class:`BadWords` when nothing is set to change."""
        now = getattr(site, self.field) if self.field else None
        if self.how == "=":
            return self.amount
        if now is None:
            raise BadWords(f"--what-if {self.text!r}: {self.field} is not set; say '= NUMBER'")
        changed = {"+": now + self.amount, "-": now - self.amount, "x": now * self.amount}
        return int(changed[self.how])


def parse_what_if(text: str) -> WhatIf:
    """``surge 3x``, ``web_servers +2``, ``db_cores x2``, ``max_connections 500``.

    >>> parse_what_if("surge 3x").surge
    3.0
    """
    words = text.strip()
    if found := _SURGE.fullmatch(words):
        return WhatIf(words, surge=_factor(found[1], "--what-if", text))
    if (found := _CHANGE.fullmatch(words)) and found[1].lower() in SETTINGS:
        how = {None: "=", "×": "x", "X": "x"}.get(found[2], found[2])
        return WhatIf(words, field=found[1].lower(), how=how or "=", amount=int(found[3]))
    raise BadWords(
        f"--what-if {text!r}: say 'surge 3x', or a setting and its change such as 'web_servers +2' "
        f"(settings: {', '.join(SETTINGS)})"
    )


def parse_event(text: str, utc_offset_h: float = 0.0) -> Event:
    """``NAME DATE[..DATE] [FACTORx]``; whole local days; without a factor it is learned.

    >>> parse_event("Black Friday 2026-11-27 3x").factor
    3.0
    """
    found = _EVENT.fullmatch(text.strip())
    if not found:
        raise BadWords(f"--event {text!r}: say NAME DATE FACTOR, as 'Black Friday 2026-11-27 3x'")
    first = parse_date(found["first"], "--event")
    last = parse_date(found["last"] or found["first"], "--event")
    if last < first:
        raise BadWords(f"--event {text!r}: it ends before it begins")
    factor = _factor(found["factor"], "--event", text) if found["factor"] else None
    return whole_day(found["name"], first, last, factor, utc_offset_h)


def parse_date(text: str, where: str = "--target-date") -> date:
    """A date as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BadWords(f"{where} {text!r}: not a date; write it as 2026-12-18") from None


def whole_day(
    name: str, first: date, last: date, factor: float | None, utc_offset_h: float = 0.0
) -> Event:
    """An event from the start of ``first`` to the end of ``last``, local time."""
    start = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(hours=utc_offset_h)
    days = (last - first).days + 1
    return Event(name, start.timestamp(), start.timestamp() + days * DAY_S, factor)


def _factor(text: str, where: str, whole: str) -> float:
    value = float(text)
    if not 0 < value <= FACTOR_MAX:
        raise BadWords(f"{where} {whole!r}: the factor must be above 0 and at most {FACTOR_MAX:g}")
    return value
