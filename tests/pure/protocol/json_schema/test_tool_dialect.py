"""The schema of a tool as Claude is offered it: the client's own, unless Claude's API would refuse it."""

import json
from typing import Any

import pytest
from hypothesis import given

from claude_openai.protocol.json_schema.tool_dialect import tool_schema
from tests.schemas import object_schemas

CAT = {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}, "barks": {"type": "boolean"}}, "required": ["kind"]}


def offered(schema: dict[str, Any]) -> dict[str, Any]:
    return tool_schema(json.dumps(schema))


def test_a_schema_of_an_object_is_offered_as_it_is() -> None:
    assert offered(CAT) == CAT
    assert list(offered(CAT)) == list(CAT)


def test_a_schema_without_a_type_is_one_of_an_object() -> None:
    assert offered({}) == {"type": "object"}
    assert offered({"properties": CAT["properties"]}) == {"type": "object", "properties": CAT["properties"]}


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_alternatives_offer_all_properties_and_describe_the_rest(keyword: str) -> None:
    schema = {"description": "A pet.", "properties": {"name": {"type": "string"}}, keyword: [CAT, DOG]}
    received = offered(schema)
    assert received.keys() == {"type", "description", "properties"}
    assert received["properties"].keys() == {"name", "kind", "lives", "barks"}
    assert received["description"].startswith("A pet.\n")
    assert json.dumps({keyword: [CAT, DOG]}, separators=(",", ":")) in received["description"]


def test_alternatives_may_stand_among_the_definitions() -> None:
    schema = {"$defs": {"Cat": CAT, "Dog": DOG}, "anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    received = offered(schema)
    assert received["properties"].keys() == {"kind", "lives", "barks"}
    assert received["$defs"] == schema["$defs"]


@pytest.mark.parametrize("part", [True, {"$ref": "#"}, {"$ref": "#/nowhere/x"}, {"$ref": "x"}, {"properties": {}}, {}])
def test_alternatives_that_name_no_properties_offer_none(part: Any) -> None:
    assert "properties" not in offered({"anyOf": [part]})


@given(object_schemas())
def test_every_translated_schema_is_valid_for_claudes_api(schema: dict[str, Any]) -> None:
    received = offered(schema)
    assert received["type"] == schema.get("type", "object")
    assert received.keys().isdisjoint(("anyOf", "oneOf", "allOf"))
