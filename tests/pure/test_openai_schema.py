"""The judges refuse what is not OpenAI's, and say where."""

from typing import Any

import pytest

from tests.openai_schema import validate

ERROR = {"message": "m", "type": "t", "param": None, "code": None}


def chunk(**delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def test_what_has_the_form_is_taken() -> None:
    validate("ErrorResponse", {"error": ERROR})
    validate("CreateChatCompletionStreamResponse", chunk(content="x", reasoning_content="an extension"))


@pytest.mark.parametrize(
    ("name", "instance", "words"),
    [
        ("ErrorResponse", {"error": {**ERROR, "foo": 1}}, ["$.error: ", "'foo'"]),
        ("ErrorResponse", {"error": {"message": "m"}}, ["$.error: ", '"type"', '"param"', '"code"']),
        ("CreateChatCompletionStreamResponse", {**chunk(), "foo": 1}, ["$: ", "'foo'"]),
        (
            "CreateChatCompletionStreamResponse",
            chunk(tool_calls=[{"index": "0"}]),
            ["$.choices[0].delta.tool_calls[0]"],
        ),
        ("CreateChatCompletionStreamResponse", chunk(content=7), ['7 is not of type "string"', '"null"']),
    ],
)
def test_what_has_not_is_refused_with_its_place(name: str, instance: Any, words: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        validate(name, instance)
    said = str(caught.value).rpartition("\n")[0]
    assert [each for each in words if each not in said] == []


def test_a_schema_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        validate("Nothing", {})
