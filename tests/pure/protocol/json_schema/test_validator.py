"""Which values fit a schema: the same as by jsonschema, but for what that one cannot check or does wrong."""

import json
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from referencing import Registry

from claude_openai.protocol.json_schema.validation import UnusableSchema, usable_schema
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from tests.schemas import Schema, object_schemas, objects

DRAFTS = [
    "http://json-schema.org/draft-03/schema#",
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
]


def problem(schema: Schema, arguments: dict[str, Any]) -> str | None:
    return usable_schema(json.dumps(schema), Budget()).problem(arguments, Budget())


def without_formats(value: Any) -> Any:
    if isinstance(value, list):
        return [without_formats(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: without_formats(each) for name, each in value.items() if name != "format"}


@given(object_schemas(), st.sampled_from(DRAFTS), st.lists(objects(), max_size=4))
def test_a_value_fits_when_jsonschema_says_so(schema: Schema, uri: str, values: list[dict[str, Any]]) -> None:
    schema = {**without_formats(schema), "$schema": uri}
    try:
        ours = usable_schema(json.dumps(schema), Budget())
    except (UnusableSchema, TooMuchWork):
        assume(False)
    theirs: Any = jsonschema.validators.validator_for(schema)(schema, registry=Registry())
    for value in values:
        found = ours.problem(value, Budget())
        # TypeError: it looks for the id of a boolean, which is no schema in the older drafts, behind a `$ref`.
        with suppress(RecursionError, TypeError):
            assert (found is None) is theirs.is_valid(value)


@pytest.mark.parametrize("uri", DRAFTS)
def test_a_schema_in_a_schema_may_name_another_draft_and_is_checked_as_carefully(uri: str) -> None:
    inner = {"$schema": uri, "pattern": "^(a|aa)+$"}
    unreadable = {"$schema": uri, "pattern": "["}
    schema = {"properties": {"a": inner, "b": unreadable}}
    assert problem(schema, {"a": "a" * 60, "b": "x"}) is None
    assert "does not match" in (problem(schema, {"a": "b"}) or "")
    assert problem(schema, {"a": "a" * 60 + "b"}) is None  # not decidable in that time


def test_a_schema_in_a_schema_must_be_valid_by_the_draft_that_it_names() -> None:
    with pytest.raises(UnusableSchema, match="True is not of type 'object'"):
        problem({"properties": {"a": {"$schema": DRAFTS[0], "properties": {"b": True}}}}, {})


@pytest.mark.parametrize("uri", DRAFTS[4:])
def test_pattern_properties_count_as_evaluated_if_matched_in_time(uri: str) -> None:
    schema = {"$schema": uri, "patternProperties": {"^x": {}}, "unevaluatedProperties": False}
    assert problem(schema, {"x": 1}) is None
    assert "'y' was unexpected" in (problem(schema, {"y": 1}) or "")
    for pattern in ("^(a|aa)+$", "(?P<1>x", "["):
        assert problem({**schema, "patternProperties": {pattern: {}}}, {"a" * 60 + "b": 1}) is None


def test_in_draft_2019_additional_properties_are_evaluated() -> None:
    # jsonschema takes the keywords of their schema for names.
    schema = {"additionalProperties": {"type": "string"}, "unevaluatedProperties": False, "$schema": DRAFTS[4]}
    assert problem(schema, {"a": "x"}) is None
    assert problem(schema, {"a": 1}) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/allOf/x", "allOf": [{}]},
        {"$ref": "#/allOf/-1", "allOf": [{}, 7]},
        {"$ref": "#/title/0", "title": "a"},
        {"$ref": "#/minimum/x", "minimum": 3},
        {"$ref": "http://["},
        {"$ref": "#" + "/a" * 2000},
        {"$id": "http://["},
        {"$dynamicRef": "#nowhere"},
        {"$ref": "#/x"},
        {"$ref": "#/x", "x": []},
        {"$ref": "#/x/y", "x": {"y": {"pattern": 7}}},
        {"$ref": "#/x/y", "x": {"y": {"$ref": "#/z"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_a_reference_to_what_is_no_schema_is_refused_before_any_value_comes(schema: Schema) -> None:
    with pytest.raises(UnusableSchema):
        problem({"properties": {"a": schema}, **schema}, {})


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://["},
        {"properties": {"a": {"$schema": "http://["}}},
        {"$schema": "x" * 100_000},
        {"$schema": DRAFTS[3], "dependencies": {"a": {}, "b": ["c"], "$id": {"type": "object"}}},
        {
            "$schema": DRAFTS[3],
            "dependencies": {"a": ["b"], "$id": {}},
            "properties": {"c": {"$ref": "#/dependencies/$id"}},
        },
        {"$schema": DRAFTS[0], "properties": {"a": {"type": "of my own"}}},
        {"$schema": DRAFTS[0], "properties": {"a": {"divisibleBy": 0.1}}},
        {"properties": {"$ref": {"type": "integer"}, "$id": {}, "$schema": {}}},
    ],
)
def test_an_odd_schema_is_one_all_the_same(schema: Schema) -> None:
    assert problem(schema, {}) is None
    assert problem(schema, {"a": 10**400, "b": 1, "c": 2}) in (
        None,
        "$: 'c' is a dependency of 'b'",
        "$: 'b' is a dependency of 'a'",
    )


def test_what_a_reference_meets_at_a_place_that_no_keyword_knows_is_checked_too() -> None:
    schema = {"properties": {"a": {"$ref": "#/x/y"}}, "x": {"y": {"$ref": "#/x/z"}, "z": {"type": "string"}}}
    assert problem(schema, {"a": "x"}) is None
    assert problem(schema, {"a": 1}) is not None
