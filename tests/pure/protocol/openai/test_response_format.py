"""The form of an answer: what is accepted, and what Claude Code gets of it."""

import json
from typing import Any

import pytest

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.response_format import read_response_format

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def given_format(**inner: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, **inner}}


def test_text_is_no_form() -> None:
    assert read_response_format({"type": "text"}, Budget()) is None


def test_json_object_is_any_object() -> None:
    form = read_response_format({"type": "json_object"}, Budget())
    assert form is not None
    assert form.for_claude() == {"type": "object"}


def test_a_schema_is_kept_as_it_came() -> None:
    form = read_response_format(given_format(strict=True, description="d"), Budget())
    assert form is not None
    assert form.schema == json.dumps(SCHEMA, separators=(",", ":"))
    assert form.for_claude() == SCHEMA


@pytest.mark.parametrize(
    ("value", "code", "place"),
    [
        ({}, "missing_required_parameter", ".type"),
        ({"type": 7}, "invalid_type", ".type"),
        ({"type": "xml"}, "invalid_value", ".type"),
        ({"type": "json_schema"}, "missing_required_parameter", ".json_schema"),
        ({"type": "json_schema", "json_schema": "x"}, "invalid_type", ".json_schema"),
        (given_format(name=None), "missing_required_parameter", ".json_schema.name"),
        (given_format(name=7), "invalid_type", ".json_schema.name"),
        (given_format(name="a b"), "invalid_value", ".json_schema.name"),
        (given_format(schema=None), "missing_required_parameter", ".json_schema.schema"),
        (given_format(schema=[]), "invalid_type", ".json_schema.schema"),
        (given_format(schema={"type": "array"}), "invalid_value", ".json_schema.schema.type"),
        (given_format(schema={"$schema": 7}), "invalid_type", ".json_schema.schema.$schema"),
        (given_format(schema={"type": "object", "required": 7}), "invalid_json_schema", ".json_schema.schema"),
        (given_format(schema={"$ref": "https://example.org/s"}), "invalid_json_schema", ".json_schema.schema"),
    ],
)
def test_what_is_malformed_is_refused_at_its_exact_place(value: dict[str, Any], code: str, place: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read_response_format(value, Budget())
    assert (raised.value.code, raised.value.param) == (code, f"response_format{place}")
