"""A document as blocks, written out as Markdown or as HTML from the same blocks. Pure.

Text may hold `code` in backticks; everything else in it is taken literally in both forms.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Block", "Bullets", "Heading", "Paragraph", "Table", "to_html", "to_markdown"]

_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Bullets | Table


def to_markdown(blocks: Iterable[Block]) -> str:
    """The document as Markdown.

    >>> print(to_markdown([Heading(1, "A"), Table(("x", "y"), (("1|2", "<b>"),))]), end="")
    # A
    <BLANKLINE>
    | x | y |
    |---|---|
    | 1\\|2 | &lt;b> |
    """
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_line(text)}"
        case Paragraph(text):
            return _line(text)
        case Bullets(items):
            return "\n".join(f"- {_line(item)}" for item in items)
        case Table(head, rows):
            lines = [_row(head), "|" + "---|" * len(head), *(_row(row) for row in rows)]
            return "\n".join(lines)


def _line(text: str) -> str:
    """One line, in which nothing starts an HTML element or a comment."""
    return " ".join(text.split()).replace("<", "&lt;")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in cells) + " |"


def to_html(blocks: Iterable[Block], top: int = 1) -> str:
    """The document as an HTML fragment whose first heading level is ``top``.

    >>> to_html([Heading(1, "A & B"), Paragraph("run `premortem drill`")], top=3)
    '<h3>A &amp; B</h3>\\n<p>run <code>premortem drill</code></p>'
    """
    return "\n".join(_html(block, top) for block in blocks)


def _html(block: Block, top: int) -> str:
    match block:
        case Heading(level, text):
            tag = f"h{min(level + top - 1, 6)}"
            return f"<{tag}>{_inline(text)}</{tag}>"
        case Paragraph(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Table(head, rows):
            return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Each cell carries its column's name, so that a narrow page can stack the columns."""
    top = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{html.escape(name)}"><span>{_inline(cell)}</span></td>'
            for name, cell in zip(head, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table class="stack"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
