"""A form's schema as Claude Code takes it: strict compilers find nothing wrong with it, and it forbids nothing more."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from claude_openai.errors import BadRequest
from claude_openai.protocol.json_schema.claude_dialect import to_claude_schema
from claude_openai.protocol.json_schema.document import Document
from claude_openai.protocol.json_schema.validation import usable_schema
from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.response_format import read_response_format
from claude_openai.protocol.turn.output_format import OutputFormat
from tests.schemas import Schema, object_schemas, objects

STRING = {"type": "string"}
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def read(schema: Schema) -> OutputFormat:
    form = read_response_format({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}, Budget())
    assert form is not None
    return form


def of_a(schema: Any, **more: Any) -> Any:
    """What the schema of the property `a` becomes."""
    return read({"type": "object", "properties": {"a": schema}, **more}).for_claude()["properties"]["a"]


def test_what_claude_code_cannot_check_becomes_words() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {
            "format": {"type": "string", "format": "email", "description": "Whose?"},
            "either": {"anyOf": [{"x-own": 1}, True]},
            "pattern": {"items": {"pattern": "^a"}},
        },
        "$defs": {"not used": {"type": "string"}},
        "additionalProperties": False,
    }
    assert read(schema).for_claude() == {
        "type": "object",
        "properties": {
            "format": {"type": "string", "description": 'Whose? (JSON Schema: {"format":"email"})'},
            "either": {"anyOf": [{"description": '(JSON Schema: {"x-own":1})'}, True]},
            "pattern": {"items": {"description": '(JSON Schema: {"pattern":"^a"})'}},
        },
        "additionalProperties": False,
    }


def test_self_referring_schema_stays_self_referring() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert read(schema).for_claude() == schema


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("#/components/schemas/N", {"components": {"schemas": {"N": STRING}}}),
        ("#/$defs/N", {"$defs": {"N": STRING}}),
        ("#/definitions/N", {"definitions": {"N": STRING}}),
        ("#/$defs/t/prefixItems/0", {"$defs": {"t": {"prefixItems": [STRING]}}}),
        ("#there", {"$defs": {"N": {"$anchor": "there", **STRING}}}),
        ("https://example.org/N", {"$defs": {"N": {"$id": "https://example.org/N", **STRING}}}),
        ("#/x~1y/a%20b", {"x/y": {"a b": STRING}}),
    ],
)
def test_what_is_referred_to_moves_to_one_place(reference: str, place: Schema) -> None:
    form = read({"type": "object", "properties": {"a": {"$ref": reference}}, **place})
    adapted = form.for_claude()
    (name,) = adapted["$defs"]
    assert adapted["properties"]["a"] == {"$ref": f"#/$defs/{name}"}
    assert adapted["$defs"][name] == STRING


def test_places_of_one_name_stay_apart() -> None:
    places = {"$defs": {"N": STRING}, "definitions": {"N": {"type": "integer"}}}
    refs = {"a": {"$ref": "#/$defs/N"}, "b": {"$ref": "#/definitions/N"}, "c": {"$ref": "#/$defs/N"}}
    adapted = read({"type": "object", "properties": refs, **places}).for_claude()
    assert adapted["$defs"] == {"N": STRING, "N_2": {"type": "integer"}}
    assert adapted["properties"] == {**refs, "b": {"$ref": "#/$defs/N_2"}}


def test_a_top_that_only_refers_is_unfolded_so_that_claude_sees_the_parts() -> None:
    node = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}
    adapted = read({"$ref": "#/$defs/Node", "$defs": {"Node": node}}).for_claude()
    assert adapted == {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}


def test_alternatives_at_the_top_become_words_since_claudes_api_takes_none_there() -> None:
    adapted = read({"anyOf": [{"$ref": "#/$defs/A"}, {"required": ["b"]}], "$defs": {"A": STRING}}).for_claude()
    said = '(JSON Schema: {"anyOf":[{"$ref":"#/$defs/A"},{"required":["b"]}]})'
    assert adapted == {"type": "object", "description": said, "$defs": {"A": STRING}}


@pytest.mark.parametrize(
    ("given", "adapted"),
    [
        ({"enum": [1, 1.0, "a", True, "a", {"b": 1}, {"b": 1.0}]}, {"enum": [1.0, "a", True, {"b": 1.0}]}),
        ({"enum": [2**53, 2**53 + 1]}, {"enum": [2**53 + 1]}),
        ({"enum": []}, {"not": {}}),
        ({"if": STRING, "type": "string"}, STRING),
        ({"then": STRING, "else": STRING}, {}),
        ({"if": STRING, "then": {"minLength": 1}}, {"if": STRING, "then": {"minLength": 1}}),
        ({"not": STRING}, {"not": STRING}),
    ],
)
def test_keyword_that_strict_compilers_refuse_is_rewritten(given: Schema, adapted: Schema) -> None:
    assert of_a(given) == adapted


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"pattern": "^a"}},
        {"if": {"pattern": "^a"}, "then": False},
        {"oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]},
        {"prefixItems": [{"type": "integer"}], "items": False},
        {"items": {"type": "integer"}, "minItems": 1},
        {"patternProperties": {"^x": {}}, "additionalProperties": False},
        {"contains": {"type": "integer"}, "minContains": 0},
    ],
)
def test_what_lost_a_part_forbids_nothing_that_was_allowed(schema: Schema) -> None:
    for value in ("ab", "a", "b", "c", [1], ["x"], {"x": 1}, {}, 5):
        if usable_schema(json.dumps(schema), Budget()).problem(value, Budget()) is None:  # type: ignore[arg-type]
            assert Draft7Validator(of_a(schema)).is_valid(value), value


def test_the_exclusive_bounds_of_draft_4_are_bounds() -> None:
    given = {"type": "number", "minimum": 1, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": False}
    assert of_a(given, **{"$schema": DRAFT_4}) == {"type": "number", "exclusiveMinimum": 1, "maximum": 5}


def test_until_draft_7_nothing_counts_beside_a_reference() -> None:
    given = {"$ref": "#/definitions/N", "minLength": 5}
    adapted = read({"$schema": DRAFT_7, "properties": {"a": given}, "definitions": {"N": STRING}}).for_claude()
    assert adapted["properties"]["a"] == {"$ref": "#/$defs/N"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "without end"),
        (
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"allOf": [{"$ref": "#/$defs/b"}]}}},
            "without end",
        ),
        ({"properties": {"a": {"$ref": "#/x"}}, "x": 5}, "not lead to a schema"),
        ({"properties": {"a": {"$ref": "#/x"}}, "x": {"$ref": "#/y"}}, "does not exist"),
        ({"properties": {"a": {"$ref": "#/x"}}, "x": {"type": "text"}}, "not valid under any"),
        ({"properties": {"a": {"minimum": 10**400}}}, "too large"),
        ({"properties": {"a": {"enum": list(range(100_001))}}}, "too large"),
    ],
)
def test_inexpressible_schema_is_refused_before_any_call(schema: Schema, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as raised:
        read(schema)
    assert (raised.value.code, raised.value.param) == ("invalid_json_schema", "response_format.json_schema.schema")


def test_many_places_of_one_name_take_no_long_time() -> None:
    count = 3000
    places = {f"p{number}": {"N": {**STRING, "title": str(number)}} for number in range(count)}
    properties = {f"a{number}": {"$ref": f"#/x/p{number}/N"} for number in range(count)}
    began = time.process_time()
    document = Document({"properties": properties, "x": places}, Budget())
    adapted = json.loads(to_claude_schema("", document, Budget()))
    assert len(adapted["$defs"]) == count
    assert time.process_time() - began < 20.0


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Each keyword of a schema and of those in it, with the schema that it stands in."""
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        yield keyword, schema
        if keyword in ("properties", "$defs"):
            inner = value.values()
        elif keyword in ("anyOf", "oneOf", "allOf"):
            inner = value
        else:
            inner = [value] if keyword not in ("enum", "const", "default", "examples") else ()
        for each in inner:
            yield from keywords(each)


STRICT = set(Draft7Validator.VALIDATORS) - {"format", "pattern", "patternProperties", "additionalItems", "dependencies"}


@given(object_schemas(), st.lists(objects(), max_size=4))
def test_any_schema_that_is_taken_is_one_for_strict_compilers_and_forbids_nothing_more(
    schema: Schema, values: list[dict[str, Any]]
) -> None:
    try:
        form = read(schema)
    except BadRequest:
        return
    adapted = form.for_claude()
    assert adapted["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & adapted.keys()
    for draft in (Draft7Validator, Draft202012Validator):
        draft.check_schema(adapted)
    for keyword, holder in keywords(adapted):
        assert keyword in STRICT | {"then", "else", "$defs", "description"}
        if keyword == "$ref":
            assert holder["$ref"] == "#" or holder["$ref"].removeprefix("#/$defs/") in adapted["$defs"]
        if keyword in ("then", "else"):
            assert "if" in holder
    for value in values:
        if form.validator.problem(value, Budget()) is None:
            assert Draft7Validator(adapted).is_valid(value), (value, adapted)
