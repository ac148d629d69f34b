"""Writes YAML that people can read: the subset that configuration files need."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["dump"]

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*$")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def dump(value: object) -> str:
    """The value as a YAML document.

    >>> print(dump({"a": 1, "b": ["x", {"c": "on", "d": True}], "e": {}}), end="")
    a: 1
    b:
      - x
      - c: "on"
        d: true
    e: {}
    """
    return "\n".join(_lines(value)) + "\n"


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(str(key))}:", item)
    elif _is_list(value) and value:
        for item in value:  # type: ignore[attr-defined]
            nested = list(_lines(item))
            yield f"- {nested[0]}"
            yield from (f"  {line}" for line in nested[1:])
    else:
        yield _scalar(value)


def _entry(head: str, item: object) -> Iterator[str]:
    if isinstance(item, str) and "\n" in item:
        yield f"{head} |"
        yield from (f"  {line}" for line in item.splitlines())
    elif (isinstance(item, Mapping) or _is_list(item)) and item:
        yield head
        yield from (f"  {line}" for line in _lines(item))
    else:
        yield f"{head} {_scalar(item)}"


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _scalar(value: object) -> str:
    plain = isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
