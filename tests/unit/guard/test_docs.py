"""The table of settings in the documentation says what the code says."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

from premortem.guard import Settings
from premortem.guard.settings import CHANGEABLE

PAGE = Path(__file__).parents[3] / "docs" / "guard.md"


def shown(default: object) -> str:
    if default is MISSING:
        return "required"
    if isinstance(default, tuple):
        names = (f"{d.name} {d.share}" if hasattr(d, "share") else str(d) for d in default)
        return f"`({', '.join(names)})`"
    return f"`{default!r}`"


def row(name: str, default: object, words: str) -> str:
    return f"| `{name}` | {shown(default)} | {'yes' if name in CHANGEABLE else 'no'} | {words} |"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    expected = [row(f.name, f.default, f.metadata["doc"]) for f in fields(Settings)]
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert written == expected, "\n" + "\n".join(expected)
