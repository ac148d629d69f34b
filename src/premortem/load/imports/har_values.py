"""Values in recorded requests: which of them an earlier answer held, and where. Pure.

A value that looks made by a machine (a token, an id) and stands in an earlier answer is proposed as
an extraction from it, the latest answer first: from a form field or ``meta`` tag, a cookie, a JSON
answer, or a link in the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from premortem.load.imports.draft import literal, secret, slug
from premortem.load.imports.ids import is_id
from premortem.load.played import fields

__all__ = ["Values"]

LEAVES_MAX = 20_000
"""Values looked at in one JSON answer."""
NUMBER_DIGITS_MIN = 3
"""Shorter numbers are found everywhere by chance; they count only under a key that says ``id``."""


@dataclass(slots=True)
class _Answer:
    """Where values can be had in one answer."""

    body: str
    json: Mapping[str, str] = field(default_factory=dict)
    """Value → path."""
    fields: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    extracts: dict[str, dict[str, object]] = field(default_factory=dict)


class Values:
    """Walks a recording in order: requests' values are replaced, answers are remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._answers: list[_Answer] = []
        self._names: dict[str, str] = {}  # value → variable
        self._numbers: set[str] = set()  # holes that stand for a number in a JSON body
        self._step = 0

    def extracts(self) -> list[dict[str, dict[str, object]]]:
        """Per step: variable to where it comes from."""
        return [answer.extracts for answer in self._answers]

    def begin(self, step: int) -> None:
        self._step = step

    def answered(self, body: str, mime: str, headers: Sequence[tuple[str, str]]) -> None:
        """Remember what an answer holds."""
        answer = _Answer(body)
        if "json" in mime:
            with suppress(ValueError):  # an answer that is not what it says holds no values
                answer.json = dict(_leaves(json.loads(body)))
        elif "html" in mime:
            answer.fields = {value: name for name, value in fields(body)}
        pairs = [value.partition(";")[0] for name, value in headers if name == "set-cookie"]
        answer.cookies = {
            value: name.strip() for pair in pairs for name, _, value in [pair.partition("=")]
        }
        self._answers.append(answer)

    # -- what a request holds

    def target(self, target: str) -> str:
        """A path and query with its dynamic values replaced."""
        path, question, query = target.partition("?")
        parts = path.split("/")
        for i, part in enumerate(parts):
            before = "/".join(parts[:i]) + "/"
            parts[i] = self._path_part(part, before) if is_id(part) else literal(part)
        path = "/".join(parts)
        if not question:
            return path
        pairs = [(n, self.value(n, v)) for n, v in parse_qsl(query, keep_blank_values=True)]
        return f"{path}?{urlencode(pairs, safe='{}')}"

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {name: self.value(name, value) for name, value in headers.items()}

    def value(self, name: str, value: str) -> str:
        """A form field, parameter or header: a hole where it is dynamic or secret."""
        if value in self._names:
            return f"{{{self._names[value]}}}"
        scheme, space, credentials = value.partition(" ")
        if name == "authorization" and space:
            return f"{scheme} {self.value(name, credentials)}"
        dynamic = secret(name) or "csrf" in name.lower() or "xsrf" in name.lower()
        if value and (dynamic or is_id(value)):
            found = self._found(name, value)
            if found is not None:
                return found
        if secret(name) and value:
            variable = slug(name).upper()
            self.notes.append(
                f"step {self._step}: {name} is secret: set the environment variable {variable}"
            )
            return f"{{env.{variable}}}"
        if is_id(value):
            self._as_recorded(f"{name}={value}", value)
        return literal(value)

    def json(self, data: object) -> dict[str, Any]:
        """``json`` of a step, or ``body`` where TOML cannot say it (it has no null)."""
        self._numbers.clear()
        filled = self._json("", data)
        if not _has_none(filled):
            return {"json": filled}
        text = json.dumps(filled)
        for hole in self._numbers:
            text = text.replace(f'"{hole}"', hole)
        return {"body": text}

    def text(self, text: str) -> str:
        return literal(text)

    def _json(self, name: str, data: object) -> Any:
        if isinstance(data, Mapping):
            return {key: self._json(key, inner) for key, inner in data.items()}
        if isinstance(data, list):
            return [self._json(name, inner) for inner in data]
        if isinstance(data, str):
            return self.value(name, data)
        if isinstance(data, int) and not isinstance(data, bool) and _says_id(name):
            filled = self._found(name, str(data))
            if filled is not None:
                self._numbers.add(filled)
                return filled
        return data

    def _path_part(self, part: str, before: str) -> str:
        if part in self._names:
            return f"{{{self._names[part]}}}"
        name = slug(before.strip("/").rpartition("/")[2] or "id")
        found = self._found(f"{name}_id", part, before)
        if found is None:
            self._as_recorded(before + part, part)
        return literal(part) if found is None else found

    def _as_recorded(self, where: str, value: str) -> None:
        if len(value) >= NUMBER_DIGITS_MIN or not value.isdigit():
            self.notes.append(
                f"step {self._step}: {where} looks like an id that no earlier answer holds: "
                "kept as recorded"
            )

    # -- where it came from

    def _found(self, name: str, value: str, before: str = "") -> str | None:
        for answer in reversed(self._answers):
            how = _where(answer, name, value, before)
            if how is not None:
                variable = self._free(slug(name))
                answer.extracts[variable] = how
                if "any" not in how:
                    self._names[value] = variable
                return f"{{{variable}}}"
        return None

    def _free(self, name: str) -> str:
        taken = {variable for answer in self._answers for variable in answer.extracts}
        names = (name, *(f"{name}_{i}" for i in range(2, len(taken) + 3)))
        return next(candidate for candidate in names if candidate not in taken)


def _where(answer: _Answer, name: str, value: str, before: str) -> dict[str, object] | None:
    """How a value can be had from an answer; ``None`` when it cannot."""
    decoded = unquote(value)
    clear = len(value) >= NUMBER_DIGITS_MIN or not value.isdigit()
    if answer.fields.get(decoded, "") == name or (clear and decoded in answer.fields):
        return {"field": answer.fields[decoded]}
    if clear and decoded in answer.cookies:
        return {"cookie": answer.cookies[decoded]}
    path = answer.json.get(decoded)
    if path is not None and (clear or _says_id(path) or _says_id(name)):
        return {"json": ".".join("*" if part.isdigit() else part for part in path.split("."))}
    if before and f"{before}{value}" in answer.body:
        kind = r"[0-9]+" if value.isdigit() else r"[A-Za-z0-9_-]+"
        return {"regex": f"{re.escape(before)}({kind})", "any": True}
    return None


def _says_id(name: str) -> bool:
    """Whether a key names an id.

    >>> _says_id("items.0.id"), _says_id("orderId"), _says_id("paid")
    (True, True, False)
    """
    last = name.rpartition(".")[2]
    return last.lower() in ("id", "uuid", "key", "token") or last.endswith(("_id", "Id", "ID"))


def _leaves(data: object, path: str = "") -> Iterator[tuple[str, str]]:
    """``(value, path)`` of a JSON answer, the first of each value last: it wins in a dict."""
    found: list[tuple[str, str]] = []
    waiting = [(path, data)]
    while waiting and len(found) < LEAVES_MAX:
        where, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [
                (f"{where}.{key}".strip("."), inner)
                for key, inner in value.items()
                if "." not in key  # a path could not say it
            ]
        elif isinstance(value, list):
            waiting += [(f"{where}.{i}".strip("."), inner) for i, inner in enumerate(value)]
        elif isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            found.append((str(value), where))
    return iter(found)


def _has_none(data: object) -> bool:
    if isinstance(data, Mapping):
        return any(map(_has_none, data.values()))
    return any(map(_has_none, data)) if isinstance(data, list) else data is None
