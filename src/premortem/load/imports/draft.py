"""What an import gives: a journey as plain data, its feeds, and what was left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.load.declared import sheet_from
from premortem.load.steps import HOLE, Row, Sheet
from premortem.load.written import csv_text, toml

__all__ = ["BadImport", "Draft", "LeftOut", "literal", "read_text", "readable", "secret", "slug"]

SECRET = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|authorization|credential|session|sig(nature)?$",
    re.IGNORECASE,
)
FILE_BYTES_MAX = 256 * 1024 * 1024
"""A recording of hours with all its bodies is smaller; access logs are read by line instead."""


class BadImport(ValueError):
    """A file that is not what it was said to be, or holds nothing to import."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A journey that can be written, read again and improved by hand."""

    data: Mapping[str, Any]
    """As the TOML of :mod:`premortem.load.declared`, but for the feeds."""
    notes: tuple[str, ...]
    """What was left out or guessed, a line each."""
    feeds: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def sheet(self) -> Sheet:
        """Read as it will be read from its file. Raises ``BadJourney`` for a mistake of ours."""
        return sheet_from("the imported journey", self.data, self.feeds)

    def files(self, name: str) -> dict[str, str]:
        """File name to text: the journey as ``name``, and a CSV file a feed."""
        with readable("a journey that can be written"):
            return self._files(name)

    def _files(self, name: str) -> dict[str, str]:
        self.sheet()
        stem = Path(name).stem
        where = {feed: f"{stem}-{feed}.csv" for feed in self.feeds}
        data = {**({"feeds": where} if where else {}), **self.data}
        return {
            name: toml(data, [*HEADLINES, *self.notes]) + "\n",
            **{where[feed]: csv_text(rows) for feed, rows in self.feeds.items()},
        }


HEADLINES = ("Imported; read it through and correct what was guessed. Left out or guessed:",)


@dataclass(slots=True)
class LeftOut:
    """Counts what was left out, by reason, with an example each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, reason: str, example: str = "") -> None:
        self.counts[reason] += 1
        self.examples.setdefault(reason, example)

    def lines(self) -> list[str]:
        return [
            f"left out {count} {reason}" + (f", as {example}" if example else "")
            for reason, count in self.counts.most_common()
            for example in (self.examples[reason],)
        ]


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise :class:`BadImport` for a document whose parts are not what the format says they are."""
    try:
        yield
    except BadImport:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise BadImport(f"not {what}: {type(error).__name__}: {words[:200]}") from error


def literal(text: str) -> str:
    """Text in which nothing is a hole.

    >>> literal("/a/{id}?b={}")
    '/a/{brace}id}?b={}'
    """
    return HOLE.sub(lambda hole: "{brace}" + hole[0][1:], text)


def secret(name: str) -> bool:
    """Whether a header, field or parameter of this name holds what must not be written down."""
    return SECRET.search(name) is not None


def slug(text: str) -> str:
    """A name for a variable, a feed or an environment variable.

    >>> slug("/product/:id"), slug("X-CSRF-Token"), slug("/"), slug("2fa")
    ('product_id', 'x_csrf_token', 'root', 'n2fa')
    """
    words = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "root"
    return f"n{words}" if words[0].isdigit() else words


def read_text(path: Path) -> str:
    """A file as text. Raises :class:`BadImport`."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise BadImport(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadImport(f"{path}: {error}") from error
