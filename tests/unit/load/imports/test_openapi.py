from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from premortem.load.imports.draft import BadImport
from premortem.load.imports.openapi import from_openapi, openapi_draft
from premortem.load.imports.schema import Unknown, example

SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop"},
    "servers": [
        {"url": "https://shop.example/{version}/", "variables": {"version": {"default": "v2"}}}],
    "security": [{"bearer": []}],
    "paths": {
        "/products": {
            "get": {"parameters": [
                {"name": "page", "in": "query", "required": True,
                 "schema": {"type": "integer", "minimum": 1, "maximum": 9}},
                {"name": "colour", "in": "query", "schema": {"type": "string"}},
            ]},
            "post": {"requestBody": {"required": True, "content": {"application/json": {
                "schema": {"$ref": "#/components/schemas/Product"}}}}},
        },
        "/products/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {"responses": {"200": {}}},
            "delete": {"responses": {"204": {}}},
        },
        "/users/{name}": {
            "get": {"parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}
        },
        "/gone": {"get": {"responses": {"410": {}}}},
        "/orders/{id}": {"get": {"parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}},
            {"name": "lang", "in": "header", "required": True, "example": "en"}]}},
    },
    "components": {
        "parameters": {"Id": {"name": "id", "in": "path", "required": True, "example": 17}},
        "schemas": {"Product": {"type": "object", "required": ["name", "price"], "properties": {
            "id": {"type": "integer", "readOnly": True},
            "name": {"type": "string", "example": "hat"},
            "price": {"type": "number", "minimum": 2.5},
            "note": {"type": "string"},
            "like": {"$ref": "#/components/schemas/Product"},
            "tags": {"type": "array", "items": {"enum": ["new"]}}}}},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    },
}  # fmt: skip


def paths(**options: Any) -> dict[str, Any]:
    (journey,) = openapi_draft(SHOP, **options).sheet().journeys
    return {task.steps[0].name: task.steps[0] for task in journey.tasks}


def test_safe_operations_become_tasks() -> None:
    found = paths()
    assert list(found) == [
        "GET /v2/products", "GET /v2/products/{id}", "GET /v2/gone", "GET /v2/orders/{id}",
    ]  # fmt: skip
    assert found["GET /v2/products"].params == {"page": "{1..9}"}
    assert found["GET /v2/products/{id}"].path == "/v2/products/17"
    assert found["GET /v2/orders/{id}"].path == "/v2/orders/{1..100}"
    assert found["GET /v2/gone"].expect == (410,)


def test_what_is_left_out_or_guessed_is_said() -> None:
    notes = "\n".join(openapi_draft(SHOP).notes)
    assert "left out 1 POST operations (--methods takes more), as /products" in notes
    assert "left out 1 DELETE operations" in notes
    assert "operations that need a value for name (no example), as GET /users/{name}" in notes
    assert "GET /v2/orders/{id}: id is a guess: {1..100}" in notes
    assert "set the environment variable BEARER" in notes
    assert "the document's server is https://shop.example" in notes


def test_a_body_is_made_from_its_schema() -> None:
    step = paths(methods=("get", "post"))["POST /v2/products"]
    assert isinstance(step.json, dict)
    like = step.json.pop("like")
    assert step.json == {"name": "hat", "price": 2.5, "tags": ["new"]}
    assert like["like"]["like"]["name"] == "hat"  # it refers to itself: deep, but not endless


def test_secrets_come_from_the_environment() -> None:
    step = paths()["GET /v2/orders/{id}"]
    assert step.headers == {"Authorization": "Bearer {env.BEARER}", "lang": "en"}


def test_nothing_safe_is_said() -> None:
    only_post = {"openapi": "3.1.0", "paths": {"/a": {"post": {}}}}
    with pytest.raises(BadImport, match="nothing to ask for: left out 1 POST"):
        openapi_draft(only_post)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("api.json", json.dumps(SHOP)),
        ("api.yaml", "openapi: 3.1.0\npaths:\n  /a:\n    get: {}\n"),
    ],
)
def test_json_and_yaml_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert from_openapi(path).sheet().journeys[0].tasks


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("swagger: '2.0'\n", "not an OpenAPI 3"),
        ("{", "Expecting"),
        ("a: [", "not YAML"),
        ("", "not an"),
    ],
)
def test_a_bad_file_says_so(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "api.yaml"
    path.write_text(text)
    with pytest.raises(BadImport, match=words):
        from_openapi(path)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"anyOf": [{"type": "null"}, {"type": "string"}, {"type": "boolean"}]}, True),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"enum": [2]}}}]},
         {"a": 1, "b": 2}),
        ({"type": ["null", "integer"], "minimum": 4}, 4),
        ({"type": "string", "format": "uuid"}, "{uuid}"),
        ({"type": "array", "items": {"const": "x"}, "minItems": 2}, ["x", "x"]),
        ({"type": "object"}, {}),
    ],
)  # fmt: skip
def test_a_value_that_fits_a_schema(schema: dict[str, Any], value: object) -> None:
    assert example({}, schema)[0] == value


@pytest.mark.parametrize(
    "schema",
    [{"type": "string"}, {"oneOf": [{"type": "string"}]}, {}, {"$ref": "#/gone"},
     {"required": ["a"], "properties": {"a": {"type": "string"}}}],
)  # fmt: skip
def test_a_schema_that_says_nothing_is_unknown(schema: dict[str, Any]) -> None:
    with pytest.raises(Unknown):
        example({}, schema)


def test_a_schema_that_only_refers_to_itself_ends() -> None:
    document = {"a": {"oneOf": [{"$ref": "#/a"}]}, "b": {"$ref": "#/b"}}
    for name in document:
        with pytest.raises(Unknown):
            example(document, {"$ref": f"#/{name}"})
