"""Whatever is in a file, an import gives a journey that can be read, or says what is wrong."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.load.imports.access_log import from_access_logs
from premortem.load.imports.draft import BadImport
from premortem.load.imports.har import har_draft
from premortem.load.imports.locustfile import locust_draft
from premortem.load.imports.openapi import openapi_draft

ODD = st.sampled_from([None, 0, -1, 1.5, "", "x", "{x}", [], {}, [None], {"a": None}, True])
SEED = st.integers(0, 2**32)
HAR: dict[str, Any] = {"log": {"entries": [
    {"startedDateTime": "2026-01-05T10:00:00Z", "time": 5, "request": {
        "method": "POST", "url": "http://a.example/x/77777?y=2", "headers": [
            {"name": "Authorization", "value": "Bearer abc123def456"}],
        "postData": {"mimeType": "application/json", "text": '{"a": {"b": [1, null, "{c}"]}}'}},
     "response": {"status": 200, "headers": [{"name": "Set-Cookie", "value": "a=b"}],
                  "content": {"mimeType": "application/json", "text": '{"id": 77777}'}}},
    {"startedDateTime": "2026-01-05T10:00:09Z", "time": 5, "request": {
        "method": "GET", "url": "http://a.example/x/77777", "headers": []},
     "response": {"status": 302, "headers": [{"name": "Location", "value": "/y"}],
                  "content": {"mimeType": "text/html", "text": "<input name=a value=b>"}}}
]}}  # fmt: skip
API: dict[str, Any] = {
    "openapi": "3.1.0", "info": {"title": "t"}, "servers": [{"url": "http://a.example/v1"}],
    "security": [{"k": []}], "components": {"securitySchemes": {"k": {
        "type": "apiKey", "in": "header", "name": "X-Key"}}, "schemas": {"S": {"type": "integer"}}},
    "paths": {"/a/{id}": {"parameters": [
        {"name": "id", "in": "path", "required": True,
         "schema": {"$ref": "#/components/schemas/S"}}],
        "get": {"responses": {"200": {}}}, "post": {"requestBody": {"content": {
            "application/json": {"schema": {"properties": {"a": {"example": 1}}}}}}}}},
}  # fmt: skip


def places(data: Any) -> list[tuple[Any, Any]]:
    """``(container, key)`` of everything inside."""
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    found = [(data, key) for key in keys]
    for key in keys:
        if isinstance(data[key], (dict, list)):
            found += places(data[key])
    return found


def bent(data: Any, odd: object, seed: int) -> Any:
    """The same with something odd in one place."""
    changed = copy.deepcopy(data)
    container, key = random.Random(seed).choice(places(changed))
    container[key] = odd
    return changed


@settings(max_examples=200, deadline=None)
@given(ODD, SEED)
def test_a_bent_har(odd: object, seed: int) -> None:
    try:
        har_draft(bent(HAR, odd, seed)).files("journey.toml")
    except BadImport as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(ODD, SEED)
def test_a_bent_openapi_document(odd: object, seed: int) -> None:
    try:
        openapi_draft(bent(API, odd, seed), methods=("get", "post")).files("journey.toml")
    except BadImport as error:
        assert str(error)


WORDS = st.sampled_from(
    ["self.client.get", "('/a')", "(f'/{x}')", "x", " = ", ".json()['a']", "random.randint(1, 2)",
     "for x in range(3):\n            ", "if x:\n            ", "\n        ", "[", "{}", "1", "%"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_any_body_of_a_task(words: list[str]) -> None:
    source = "class A(HttpUser):\n    @task\n    def t(self):\n        " + "".join(words) + "\n"
    try:
        locust_draft(source).files("journey.toml")
    except BadImport as error:
        assert str(error)


@pytest.mark.parametrize("seed", range(20))
def test_lines_with_odd_bytes(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    good = b'10.0.0.1 - - [10/Oct/2025:13:55:36 +0000] "GET /a?b={c} HTTP/1.1" 200 9 "-" "M"\n'
    lines = [bytearray(good) for _ in range(50)]
    for line in lines:
        for _ in range(dice.randrange(4)):
            line[dice.randrange(len(line) - 1)] = dice.choice([*range(9), *range(14, 256)])
    path = tmp_path / "access.log"
    path.write_bytes(b"".join(lines))
    try:
        from_access_logs([path]).files("journey.toml")
    except BadImport as error:
        assert str(error)
