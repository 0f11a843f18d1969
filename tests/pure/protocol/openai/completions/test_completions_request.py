"""The body of a completion of a text: each field has its answer, and the prompt is the one message."""

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming

from claude_openai.errors import BadRequest, ModelNotFound
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.openai.completions.fields import COMPLETIONS_FIELDS
from claude_openai.protocol.openai.completions.request import parse_completions_request
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.field_types import Use
from claude_openai.protocol.wire.models import ModelCatalog
from tests.pure.requests import JSON

CATALOG = ModelCatalog("sonnet", ("fake-model",))

# What is taken of each field that is refused, and what is not.
REFUSED: dict[str, tuple[list[Any], list[Any]]] = {
    "n": ([1, None], [2]),
    "best_of": ([1, None], [2]),
    "echo": ([False, None], [True]),
    "suffix": (["", None], ["end"]),
    "logprobs": ([None], [0, 5]),
}
IGNORED = {
    "temperature": 1,
    "top_p": 0.5,
    "frequency_penalty": 1,
    "presence_penalty": -1,
    "seed": 7,
    "logit_bias": {"50256": -100},
}


def encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps({"model": "claude-opus", "prompt": "hi", **fields}).encode()


def parse(**fields: Any) -> TurnRequest:
    return parse_completions_request(encoded(fields), CATALOG)


def refusal_of(**fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse(**fields)
    return raised.value.code, raised.value.param


@pytest.mark.parametrize("prompt", ["  Once upon\n a time ", ["  Once upon\n a time "]])
def test_a_prompt_is_the_request_of_a_chat_with_this_one_message(prompt: Any) -> None:
    message = {"role": "user", "content": "  Once upon\n a time "}
    chat = parse_chat_request(json.dumps({"model": "claude-opus", "messages": [message]}).encode(), CATALOG)
    request = parse(prompt=prompt)
    assert request == chat
    assert (request.system, request.turns, request.tools, request.stream) == ("", (), (), False)


def test_fields_have_the_effect_that_they_have_in_a_chat() -> None:
    request = parse(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=16,
        stop=["\n", ""],
        user="ann",
        claude={"effort": "low"},
    )
    assert (request.stream, request.include_usage, request.max_tokens) == (True, True, 16)
    assert (request.stop, request.user, request.reasoning_effort) == (("\n",), "ann", "low")
    assert parse(max_tokens=-1).max_tokens is None
    assert parse(stop="END").stop == ("END",)


def test_every_field_of_the_openai_package_is_in_the_table() -> None:
    official = get_type_hints(CompletionCreateParamsNonStreaming).keys()
    assert COMPLETIONS_FIELDS.keys() - official == {"claude"}
    assert official - COMPLETIONS_FIELDS.keys() == set()


def test_what_has_no_effect_changes_nothing() -> None:
    assert {name for name, field in COMPLETIONS_FIELDS.items() if field.use is Use.IGNORED} == IGNORED.keys()
    of_chat = {"messages": [], "tools": [{"type": "function", "function": {"name": "read"}}], "system": "Be brief."}
    assert parse(**IGNORED, **of_chat, their_own=1) == parse()


def test_refused_fields_are_taken_with_their_defaults_and_refused_by_name_with_other_values() -> None:
    assert {name for name, field in COMPLETIONS_FIELDS.items() if field.use is Use.REFUSED} == REFUSED.keys()
    for name, (harmless, harmful) in REFUSED.items():
        for value in harmless:
            assert parse(**{name: value}) == parse()
        for value in harmful:
            with pytest.raises(BadRequest, match=name) as raised:
                parse(**{name: value})
            assert raised.value.param == name
            assert raised.value.code in ("unsupported_parameter", "unsupported_value")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"prompt": None}, "missing_required_parameter", "prompt"),
        ({"prompt": ""}, "invalid_value", "prompt"),
        ({"prompt": " \n"}, "invalid_value", "prompt"),
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": [" "]}, "invalid_value", "prompt"),
        ({"prompt": 7}, "invalid_type", "prompt"),
        ({"prompt": {"text": "hi"}}, "invalid_type", "prompt"),
        ({"prompt": [{"text": "hi"}]}, "invalid_type", "prompt[0]"),
        ({"prompt": [None]}, "invalid_type", "prompt[0]"),
        ({"prompt": ["one", "two"]}, "unsupported_value", "prompt"),
        ({"prompt": [1212, 318]}, "unsupported_value", "prompt"),
        ({"prompt": [[1212, 318]]}, "unsupported_value", "prompt"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_tokens": "many"}, "invalid_type", "max_tokens"),
        ({"stop": ["a"] * 5}, "invalid_value", "stop"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream_options": {"include_usage": 1}}, "invalid_type", "stream_options.include_usage"),
        ({"user": 7}, "invalid_type", "user"),
        ({"temperature": 3}, "invalid_value", "temperature"),
        ({"top_p": 2}, "invalid_value", "top_p"),
        ({"frequency_penalty": 3}, "invalid_value", "frequency_penalty"),
        ({"presence_penalty": "a"}, "invalid_type", "presence_penalty"),
        ({"seed": 0.5}, "invalid_type", "seed"),
        ({"logit_bias": {"1": 101}}, "invalid_value", "logit_bias.1"),
        ({"logprobs": 6}, "invalid_value", "logprobs"),
        ({"echo": "yes"}, "invalid_type", "echo"),
        ({"suffix": 1}, "invalid_type", "suffix"),
        ({"best_of": 0}, "invalid_value", "best_of"),
        ({"claude": {"effort": "much"}}, "invalid_value", "claude.effort"),
        ({"model": None}, None, "model"),
    ],
)
def test_what_is_malformed_or_unsupported_is_refused_at_its_place(
    fields: dict[str, Any], code: str | None, param: str
) -> None:
    assert refusal_of(**fields) == (code, param)


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        parse(model="gpt-3.5-turbo-instruct")


def has_json_form(value: Any) -> bool:
    """Whether a value is none that JSON lacks, such as infinity, with which the body is refused and no field."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(st.dictionaries(st.sampled_from(sorted(COMPLETIONS_FIELDS)), JSON.filter(has_json_form), max_size=3))
def test_any_value_of_a_field_is_taken_or_refused_by_the_name_of_one(fields: dict[str, Any]) -> None:
    try:
        parse(**fields)
    except (BadRequest, ModelNotFound) as error:
        refused = error.param or ""
    else:
        return
    assert refused.partition(".")[0].partition("[")[0] in fields
