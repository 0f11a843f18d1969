"""Each field's schema takes what its check takes, and nothing else: `/openapi.json` says what the code does."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from claude_openai.errors import BadRequest
from claude_openai.protocol.anthropic.messages.fields import MESSAGES_FIELDS
from claude_openai.protocol.openai.chat.fields import FIELDS
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.responses.fields import RESPONSES_FIELDS
from claude_openai.protocol.wire.field_types import Field

ALL = {
    **{f"completions:{name}": field for name, field in COMPLETIONS_FIELDS.items()},
    **{f"responses:{name}": field for name, field in RESPONSES_FIELDS.items()},
    **{f"messages:{name}": field for name, field in MESSAGES_FIELDS.items()},
    **FIELDS,
}
VALIDATORS = {name: Draft202012Validator(field.check.schema) for name, field in ALL.items()}

# What a client might send, and the words and numbers that mean something to one field or another.
words = st.text(max_size=3) | st.sampled_from(
    [
        "auto",
        "low",
        "text",
        "audio",
        "24h",
        "max",
        "x" * 64,
        "x" * 65,
        "x" * 513,
        "enabled",
        "any",
        "json_schema",
        "message.output_text.logprobs",
    ]
)
numbers = st.integers(-200, 200) | st.sampled_from([0, 1, 1.0, 1.5, 2, 20, 21, 10**19, -(10**19)]) | st.floats(-3, 3)
keys = words | st.sampled_from(["include_usage", "effort", "verbosity", "format", "type", "budget_tokens", "user_id"])
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: value is not None)


def is_taken(field: Field, value: Any) -> bool:
    try:
        field.check("field", value)
    except BadRequest:
        return False
    return True


@given(values)
@example({str(number): "x" for number in range(17)})
@example(["x"] * 5)
@example({})
@example([])
@example("")
@example(False)
@example(0)
def test_the_schema_of_each_field_takes_what_its_check_takes(value: Any) -> None:
    by_schema = {name for name, validator in VALIDATORS.items() if validator.is_valid(value)}
    assert by_schema == {name for name, field in ALL.items() if is_taken(field, value)}


@pytest.mark.parametrize("name", ALL)
def test_the_schema_of_a_field_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(ALL[name].check.schema)
