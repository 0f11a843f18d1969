"""Functions as they were before tools: read as tools, answered as functions."""

import json
from typing import Any

import pytest

from claude_openai.errors import BadRequest
from claude_openai.protocol.openai.chat.chunks import ChunkStream
from claude_openai.protocol.openai.chat.completion import ResponseHead
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import ToolUseBlock
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.tools import ToolChoice
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.tools import MAX_TOOLS
from tests.blocks import result_block
from tests.folding import fold
from tests.openai_schema import validate
from tests.sse_reader import parse_sse

CATALOG = ModelCatalog("sonnet")
READ = {"name": "read", "description": "Read", "parameters": {"type": "object", "properties": {}}}
ASKED = {"role": "user", "content": "Read it."}
CALLED = {"role": "assistant", "content": None, "function_call": {"name": "read", "arguments": '{"a": 1}'}}
RESULT = {"role": "function", "name": "read", "content": "words"}
CALL = ToolCall("toolu_1", "read", '{"a": 1}')
EVENTS: list[Event] = [
    TurnStarted("m"),
    ReasoningDelta("hm"),
    TextDelta("So:"),
    CALL,
    TurnCompleted("tool_calls", Usage()),
]
HEAD = ResponseHead("chatcmpl-1", 1, "claude")


def parse(*messages: dict[str, Any], **fields: Any) -> TurnRequest:
    body = {"model": "sonnet", "messages": messages or (ASKED,), **fields}
    return parse_chat_request(json.dumps(body).encode(), CATALOG)


def refused(*messages: dict[str, Any], **fields: Any) -> tuple[str | None, str | None]:
    with pytest.raises(BadRequest) as raised:
        parse(*messages, **fields)
    return raised.value.code, raised.value.param


def test_functions_are_tools_of_which_one_is_called_at_a_time() -> None:
    request = parse(functions=[READ])
    assert request.tools == parse(tools=[{"type": "function", "function": READ}]).tools
    assert (request.functions, request.parallel_tool_calls) == (True, False)


def test_there_may_be_as_many_functions_as_tools() -> None:
    functions = [{**READ, "name": f"read_{number}"} for number in range(MAX_TOOLS + 1)]
    assert len(parse(functions=functions[1:]).tools) == MAX_TOOLS
    assert refused(functions=functions) == ("invalid_value", "functions")


@pytest.mark.parametrize(
    ("call", "choice"),
    [("auto", ToolChoice("auto")), ("none", ToolChoice("none")), ({"name": "read"}, ToolChoice("required", "read"))],
)
def test_the_choice_is_that_of_tools(call: Any, choice: ToolChoice) -> None:
    assert parse(functions=[READ], function_call=call).tool_choice == choice


def test_a_call_and_its_result_are_blocks_of_one_id() -> None:
    request = parse(ASKED, CALLED, RESULT, functions=[READ])
    assert request.turns[1].blocks == (ToolUseBlock("function_1", "read", '{"a":1}'),)
    assert request.prompt.blocks == (result_block("function_1", "words"),)


@pytest.mark.parametrize(
    ("messages", "fields", "code", "param"),
    [
        ([], {"functions": [{"name": "a b"}]}, "invalid_value", "functions[0].name"),
        ([], {"functions": [READ, {**READ, "description": "x"}]}, "invalid_value", "functions[1].name"),
        ([], {"functions": [7]}, "invalid_type", "functions[0]"),
        ([], {"functions": [READ], "tools": [{"type": "function", "function": READ}]}, "invalid_value", "functions"),
        ([], {"functions": [READ], "function_call": "required"}, "invalid_value", "function_call"),
        ([], {"functions": [READ], "function_call": {}}, "missing_required_parameter", "function_call.name"),
        ([], {"functions": [READ], "function_call": {"name": "no"}}, "invalid_value", "function_call"),
        ([ASKED, RESULT], {}, "invalid_value", "messages[1].role"),
        ([ASKED, CALLED, {**RESULT, "name": "x"}], {}, "invalid_value", "messages[2].name"),
        ([ASKED, CALLED, RESULT, RESULT], {}, "invalid_value", "messages[3].role"),
        ([ASKED, {**CALLED, "function_call": "read"}], {}, "invalid_type", "messages[1].function_call"),
        ([ASKED, {**CALLED, "function_call": {"name": 7}}], {}, "invalid_type", "messages[1].function_call.name"),
        (
            [ASKED, {**CALLED, "function_call": {"name": "read", "arguments": {}}}],
            {},
            "invalid_type",
            "messages[1].function_call.arguments",
        ),
        ([ASKED, CALLED], {}, "invalid_value", "messages[1]"),
    ],
)
def test_what_is_malformed_is_refused_at_its_exact_place(
    messages: list[dict[str, Any]], fields: dict[str, Any], code: str, param: str
) -> None:
    if param.endswith("arguments"):  # an empty object asks for nothing
        messages[1]["function_call"]["arguments"] = {"a": 1}
    assert refused(*messages, **fields) == (code, param)


def test_the_answer_is_a_function_call() -> None:
    whole = fold(HEAD, EVENTS, functions=True)
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"]["function_call"] == {"name": "read", "arguments": '{"a": 1}'}
    assert "tool_calls" not in choice["message"]
    validate("CreateChatCompletionResponse", whole)
    assert fold(HEAD, EVENTS)["choices"][0]["finish_reason"] == "tool_calls"


def test_streamed_it_is_the_same_call() -> None:
    stream = ChunkStream(HEAD, include_usage=False, functions=True)
    chunks = [chunk for chunk in parse_sse(b"".join(map(stream.feed, EVENTS))) if isinstance(chunk, dict)]
    deltas = [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks]
    assert [delta for delta in deltas if delta] == [{"name": "read", "arguments": ""}, {"arguments": '{"a": 1}'}]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"
    for chunk in chunks:
        validate("CreateChatCompletionStreamResponse", chunk)
