"""Writes a journey as the TOML that :mod:`premortem.load.declared` reads. Pure: data in, text out.

>>> print(toml({"journey": [{"name": "a", "step": [{"get": "/", "think_s": 2}]}]}))
[[journey]]
name = "a"
<BLANKLINE>
  [[journey.step]]
  get = "/"
  think_s = 2
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence

__all__ = ["csv_text", "toml"]

BARE = re.compile(r"[A-Za-z0-9_-]+")
LITERAL = re.compile(r"[^'\x00-\x1f\x7f]*")
"""What may stand between single quotes: regular expressions are readable there."""
LISTS = ("pace", "journey", "task", "step")
"""Lists of tables, written as ``[[…]]``."""
DOTTED = ("extract", "acknowledge")


def toml(data: Mapping[str, object], comments: Sequence[str] = ()) -> str:
    """The file's text; ``comments`` are written above it, a line each."""
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    return "\n".join([*lines, *([""] if lines else []), *_table(data, "", "")])


def csv_text(rows: Sequence[Mapping[str, str]]) -> str:
    """A feed's file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _table(table: Mapping[str, object], path: str, indent: str) -> list[str]:
    """Its values, then its tables, then its lists of tables: TOML wants them in this order."""
    lines = []
    for key, value in table.items():
        if key in DOTTED and path and isinstance(value, Mapping):
            lines += [f"{indent}{key}.{_key(k)} = {_inline(v)}" for k, v in value.items()]
        elif key not in LISTS and (path or not isinstance(value, Mapping)):
            lines.append(f"{indent}{_key(key)} = {_inline(value)}")
    for key, value in table.items():
        if not path and isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *_table(value, key, "")]
        elif key in LISTS and isinstance(value, Sequence):
            lines += _list(value, f"{path}.{key}" if path else key, indent)
    return lines[1:] if lines[:1] == [""] and not path else lines


def _list(tables: Sequence[Mapping[str, object]], path: str, indent: str) -> list[str]:
    lines = []
    inner = indent if "." not in path else f"{indent}  "
    for table in tables:
        lines += ["", f"{inner}[[{path}]]", *_table(table, path, inner)]
    return lines


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    if ("\\" in text or '"' in text) and LITERAL.fullmatch(text):
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_inline(inner)}" for key, inner in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_inline, value))}]"
    raise TypeError(f"TOML has no {type(value).__name__}")
