"""An OpenAPI 3 document → a journey: its operations as tasks, all as likely.

Only GET and HEAD unless told otherwise: a document says how to delete everything as well. Values
come from the document's examples, defaults, enumerations and bounds; an operation that needs a
value nobody gave is left out and named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from premortem.load.imports.draft import BadImport, Draft, LeftOut, read_text, readable, slug
from premortem.load.imports.schema import Unknown, example, resolved
from premortem.load.steps import METHODS

__all__ = ["from_openapi", "openapi_draft"]

SAFE = ("get", "head")
OPERATIONS_MAX = 1_000
ROUNDS = 10
"""Requests a user: of a document nothing is known of visits."""


def openapi_draft(document: object, *, methods: Sequence[str] = SAFE) -> Draft:
    """The journey of a parsed document. Raises :class:`BadImport`."""
    with readable("an OpenAPI 3 document"):
        return _draft(document, methods)


def _draft(document: object, methods: Sequence[str]) -> Draft:
    if not isinstance(document, Mapping) or not str(document.get("openapi", "")).startswith("3."):
        raise BadImport("not an OpenAPI 3 document: it has no 'openapi: 3.…'")
    left_out = LeftOut()
    notes: list[str] = []
    tasks = []
    prefix = _prefix(document, notes)
    for method, path, operation, shared in _operations(document):
        if method not in methods:
            left_out.note(f"{method.upper()} operations (--methods takes more)", path)
            continue
        try:
            step = _step(document, method, prefix + path, operation, shared, notes)
        except Unknown as why:
            left_out.note(f"operations that need {why}", f"{method.upper()} {path}")
            continue
        tasks.append({"name": step["name"], "weight": 1, "step": [step]})
    if not tasks:
        raise BadImport(f"nothing to ask for: {'; '.join(left_out.lines()) or 'no operations'}")
    headers = _security(document, notes)
    journey = {"name": _title(document), "rounds": ROUNDS, "think_s": [0.5, 2.0], "task": tasks}
    notes = [f"{len(tasks)} operations, all as likely: set the weights", *notes, *left_out.lines()]
    data = {**({"headers": headers} if headers else {}), "journey": [journey]}
    return Draft(data, tuple(dict.fromkeys(notes)))


def _title(document: Mapping[str, Any]) -> str:
    return str((document.get("info") or {}).get("title") or "api")


def _prefix(document: Mapping[str, Any], notes: list[str]) -> str:
    """The path of the first server."""
    servers = document.get("servers") or [{}]
    url = str(servers[0].get("url") or "")
    for name, variable in (servers[0].get("variables") or {}).items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    parts = urlsplit(url)
    if parts.netloc:
        notes.append(f"the document's server is {parts.scheme}://{parts.netloc}")
    return parts.path.rstrip("/")


def _operations(
    document: Mapping[str, Any],
) -> Iterator[tuple[str, str, Mapping[str, Any], list[Any]]]:
    """``(method, path, operation, parameters of the path)``."""
    count = 0
    for path, raw in (document.get("paths") or {}).items():
        item = resolved(document, raw)
        for method in METHODS:
            operation = item.get(method) if isinstance(item, Mapping) else None
            if isinstance(operation, Mapping) and count < OPERATIONS_MAX:
                count += 1
                yield method, str(path), operation, list(item.get("parameters") or [])


def _step(
    document: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any],
    shared: Sequence[Any], notes: list[str],
) -> dict[str, Any]:  # fmt: skip
    """One request. Raises :class:`Unknown` with the value that it lacks."""
    name = f"{method.upper()} {path}"
    parameters = _parameters(document, [*shared, *(operation.get("parameters") or [])])
    params: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for (where, key), parameter in parameters.items():
        if where != "path" and not parameter.get("required"):
            continue
        value, guessed = _value(document, parameter)
        if guessed:
            notes.append(f"{name}: {key} is a guess: {value}")
        if where == "path":
            path = path.replace(f"{{{key}}}", _text(value))
        elif where == "query":
            params[key] = _text(value)
        elif where == "header":
            headers[key] = _text(value)
        else:
            headers["Cookie"] = f"{headers['Cookie']}; " * ("Cookie" in headers) + f"{key}={value}"
    missing = re.findall(r"\{([A-Za-z_][\w-]*)\}", path)
    if missing:
        raise Unknown(f"a path parameter that is not declared ({missing[0]})")
    step: dict[str, Any] = {method: path, "name": name}
    step |= {key: value for key, value in (("params", params), ("headers", headers)) if value}
    return step | _payload(document, operation) | _expected(operation)


def _parameters(
    document: Mapping[str, Any], raw: Sequence[Any]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """By place and name: those of the operation replace those of the path."""
    found = [resolved(document, one) for one in raw]
    return {(str(p.get("in")), str(p.get("name"))): p for p in found if isinstance(p, Mapping)}


def _value(document: Mapping[str, Any], parameter: Mapping[str, Any]) -> tuple[Any, bool]:
    """``(value, whether it was guessed)`` of a parameter."""
    if "example" in parameter:
        return parameter["example"], False
    for one in (parameter.get("examples") or {}).values():
        return resolved(document, one).get("value"), False
    try:
        return example(document, parameter.get("schema") or {}, holes=True)
    except Unknown as why:
        raise Unknown(f"a value for {parameter.get('name')} ({why})") from None


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _payload(document: Mapping[str, Any], operation: Mapping[str, Any]) -> dict[str, Any]:
    """The body: JSON, or a form. Raises :class:`Unknown` for others that are required."""
    body = resolved(document, operation.get("requestBody") or {})
    content = body.get("content") or {}
    for kind, key in (("application/json", "json"), ("application/x-www-form-urlencoded", "form")):
        media = content.get(kind)
        if media is None:
            continue
        if "example" in media:
            value = media["example"]
        elif media.get("examples"):
            value = resolved(document, next(iter(media["examples"].values()))).get("value")
        else:
            value, _ = example(document, media.get("schema") or {})
        return {key: _without_none(value)}
    if content and body.get("required"):
        raise Unknown(f"a body of {next(iter(content))}")
    return {}


def _without_none(value: Any) -> Any:
    """TOML has no null: what is null is left out."""
    if isinstance(value, Mapping):
        return {k: _without_none(inner) for k, inner in value.items() if inner is not None}
    return [_without_none(v) for v in value if v is not None] if isinstance(value, list) else value


def _expected(operation: Mapping[str, Any]) -> dict[str, Any]:
    """An operation that documents no success (a 404 by design) expects what it documents."""
    statuses = [str(status) for status in operation.get("responses") or {}]
    if not statuses or any(s[:1] in "23" or s == "default" for s in statuses):
        return {}
    return {"expect": [int(status) for status in statuses if status.isdigit()]}


def _security(document: Mapping[str, Any], notes: list[str]) -> dict[str, str]:
    """Headers for the schemes that the document demands, their secrets from the environment."""
    schemes = (document.get("components") or {}).get("securitySchemes") or {}
    demanded = {name for one in document.get("security") or [] for name in one}
    headers = {}
    for name in sorted(demanded):
        scheme = resolved(document, schemes.get(name) or {})
        variable = slug(name).upper()
        kind = (scheme.get("type"), str(scheme.get("scheme", "")).lower())
        if kind[0] == "oauth2" or kind in (("http", "bearer"), ("openIdConnect", "")):
            headers["Authorization"] = f"Bearer {{env.{variable}}}"
        elif kind == ("http", "basic"):
            headers["Authorization"] = f"Basic {{env.{variable}}}"
        elif kind[0] == "apiKey" and scheme.get("in") == "header":
            headers[str(scheme["name"])] = f"{{env.{variable}}}"
        else:
            notes.append(f"security scheme {name}: not mapped, add it by hand")
            continue
        notes.append(f"security scheme {name}: set the environment variable {variable}")
    return headers


def from_openapi(path: Path, *, methods: Sequence[str] = SAFE) -> Draft:
    """Read a JSON or YAML document. Raises :class:`BadImport`."""
    text = read_text(path)
    try:
        document = json.loads(text) if text.lstrip()[:1] == "{" else _yaml(text)
    except ValueError as error:
        raise BadImport(f"{path}: {error}") from error
    return openapi_draft(document, methods=methods)


def _yaml(text: str) -> object:
    try:
        import yaml  # type: ignore[import-untyped] # noqa: PLC0415 - only where it is YAML
    except ModuleNotFoundError:
        raise BadImport("YAML needs PyYAML: pip install 'premortem[load]'") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadImport(f"not YAML: {' '.join(str(error).split())}") from error
