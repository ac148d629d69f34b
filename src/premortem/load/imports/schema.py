"""A value that fits a JSON schema as OpenAPI 3 uses it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

__all__ = ["Unknown", "example", "resolved"]

DEPTH_MAX = 12
"""Schemas refer to themselves (a comment has comments): deeper ones are left empty."""
GUESS_MAX = 100
"""An id without bounds is drawn from 1 to this; the import says that it is a guess."""
FORMATS = {
    "uuid": "{uuid}", "date": "2026-01-15", "date-time": "2026-01-15T12:00:00Z", "time": "12:00:00",
    "email": "{user}@example.org", "uri": "https://example.org/", "hostname": "example.org",
    "ipv4": "192.0.2.1",
}  # fmt: skip


class Unknown(ValueError):
    """Nothing in the document says what the value could be."""


def resolved(document: Mapping[str, Any], node: Any) -> Any:
    """``node``, or what its ``$ref`` within the document refers to (an empty one if nothing)."""
    for _ in range(DEPTH_MAX):
        if not isinstance(node, Mapping) or "$ref" not in node:
            break
        found: Any = document
        for part in unquote(str(node["$ref"])).removeprefix("#").strip("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        node = found
    return node if isinstance(node, Mapping) and "$ref" not in node else {}


def example(
    document: Mapping[str, Any], schema: Any, *, holes: bool = False, depth: int = 0
) -> tuple[Any, bool]:
    """``(value, whether it is a guess)``. Raises :class:`Unknown`.

    With ``holes`` a whole number with bounds is drawn anew for each request.

    >>> example({}, {"type": "integer", "minimum": 5, "maximum": 9}, holes=True)
    ('{5..9}', False)
    """
    if depth > DEPTH_MAX:
        raise Unknown("no end")
    schema = resolved(document, schema)
    for key in ("example", "const", "default"):
        if key in schema:
            return schema[key], False
    for key in ("examples", "enum"):
        if schema.get(key) and isinstance(schema[key], list):
            return schema[key][0], False
    for key in ("allOf", "oneOf", "anyOf"):
        if schema.get(key):
            return _combined(document, schema, key, depth)
    kind = schema.get("type") or ("object" if "properties" in schema else None)
    kind = next((k for k in kind if k != "null"), None) if isinstance(kind, list) else kind
    return _of_kind(document, schema, kind, holes, depth)


def _combined(
    document: Mapping[str, Any], schema: Mapping[str, Any], key: str, depth: int
) -> tuple[Any, bool]:
    parts = [resolved(document, part) for part in schema[key]]
    if key != "allOf":
        for part in parts:  # the first of which something is known
            with suppress(Unknown):
                return example(document, part, depth=depth + 1)
        raise Unknown("no example")
    whole: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in [*parts, {k: v for k, v in schema.items() if k != key}]:
        whole["properties"] |= part.get("properties") or {}
        whole["required"] += part.get("required") or []
    return example(document, whole if whole["properties"] else parts[0], depth=depth + 1)


def _of_kind(
    document: Mapping[str, Any],
    schema: Mapping[str, Any],
    kind: str | None,
    holes: bool,
    depth: int,
) -> tuple[Any, bool]:
    if kind == "integer":
        return _whole(schema, holes)
    if kind == "number":
        return schema.get("minimum", 1.0), "minimum" not in schema
    if kind == "boolean":
        return True, False
    if kind == "array":
        return _list(document, schema, depth)
    if kind == "object":
        return _object(document, schema, depth)
    if kind == "string" and schema.get("format") in FORMATS:
        return FORMATS[schema["format"]], False
    raise Unknown("no example")


def _whole(schema: Mapping[str, Any], holes: bool) -> tuple[Any, bool]:
    low = int(schema.get("minimum", 1))
    high = int(schema.get("maximum", max(low, GUESS_MAX)))
    value = f"{{{low}..{high}}}" if holes and 0 <= low < high else low
    return value, "maximum" not in schema


def _list(
    document: Mapping[str, Any], schema: Mapping[str, Any], depth: int
) -> tuple[list[Any], bool]:
    if depth >= DEPTH_MAX or not schema.get("items"):
        return [], False
    value, guessed = example(document, schema["items"], depth=depth + 1)
    return [value] * max(1, min(int(schema.get("minItems", 1)), GUESS_MAX)), guessed


def _object(
    document: Mapping[str, Any], schema: Mapping[str, Any], depth: int
) -> tuple[dict[str, Any], bool]:
    """The required properties, and those that say what they can be."""
    value: dict[str, Any] = {}
    guesses = False
    required = set(schema.get("required") or ())
    for name, inner in (schema.get("properties") or {}).items():
        if depth >= DEPTH_MAX or resolved(document, inner).get("readOnly"):
            continue
        try:
            value[name], guessed = example(document, inner, depth=depth + 1)
        except Unknown as why:
            if name in required:
                raise Unknown(f"{why} of {name}") from None
        else:
            guesses = guesses or guessed
    return value, guesses
