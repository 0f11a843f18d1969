"""Which schemas are valid: the same as by jsonschema, whose check takes too long, in every draft."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.json_schema.drafts import draft_of
from claude_openai.protocol.json_schema.metaschema import InvalidSchema, check_schema
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from tests.schemas import NAMES, VALUES, object_schemas

VALIDATORS = [
    jsonschema.Draft3Validator,
    jsonschema.Draft4Validator,
    jsonschema.Draft6Validator,
    jsonschema.Draft7Validator,
    jsonschema.Draft201909Validator,
    jsonschema.Draft202012Validator,
]
KEYWORDS = sorted(
    {keyword for validator in VALIDATORS for keyword in validator.VALIDATORS}
    | {"$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment", "$defs"}
    | {"definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "contentSchema"}
)
WORDS = st.sampled_from(["string", "object", "any", "null", "integer", "#", "#a", "^a", "text"])
LISTS = st.sampled_from(
    [["string", "null"], ["a", "a"], [1, 1.0], [1, True], [{"a": 1}, {"a": 1.0}], [[1], [True]], []]
)
ALMOST: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-2, 2) | st.just(0.5) | WORDS | LISTS | VALUES,
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=2)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


def is_valid(schema: Any, validator: Any) -> bool:
    try:
        check_schema(schema, draft_of({"$schema": validator.META_SCHEMA["$schema"]}), Budget())
    except InvalidSchema:
        return False
    return True


@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), ALMOST, max_size=4) | object_schemas())
def test_a_schema_is_valid_when_jsonschema_says_so(schema: Any) -> None:
    for validator in VALIDATORS:
        try:
            validator.check_schema(schema, format_checker=jsonschema.FormatChecker(formats=()))
        except jsonschema.SchemaError:
            assert not is_valid(schema, validator), validator
        else:
            assert is_valid(schema, validator), validator


@pytest.mark.parametrize("validator", VALIDATORS, ids=lambda validator: str(validator.__name__))
def test_metaschema_is_valid_against_itself(validator: Any) -> None:
    assert is_valid(validator.META_SCHEMA, validator)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"a": {"minLength": -1}}}, "-1 is less than 0 (at $.properties.a.minLength)"),
        ({"required": ["a", "a"]}, "an array has non-unique elements (at $.required)"),
        ({"anyOf": []}, "an array has too few items (at $.anyOf)"),
        ({"allOf": [{}, 7]}, "7 is not of type 'object', 'boolean' (at $.allOf[1])"),
        ({"type": "text"}, "'text' is not valid under any of the given schemas (at $.type)"),
        ({"$id": "a#b"}, "'a#b' does not match '^[^#]*#?$' (at $.$id)"),
    ],
)
def test_problem_is_reported_with_its_place(schema: Any, said: str) -> None:
    with pytest.raises(InvalidSchema) as raised:
        check_schema(schema, draft_of({}), Budget())
    assert str(raised.value) == said


def test_schema_beyond_the_budget_is_abandoned() -> None:
    with pytest.raises(TooMuchWork):
        check_schema({"properties": {str(number): {} for number in range(100)}}, draft_of({}), Budget(100))
