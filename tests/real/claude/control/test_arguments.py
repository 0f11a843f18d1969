"""Arguments of calls on the real Claude Code, which rewrites some before it makes a call: "5" for a number becomes 5.

A call is either the client's, as Claude wrote it, and waits for the client's result, or Claude
gets the error and corrects it within the turn. No call waits for a result that never comes.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, serving

pytestmark = needs_claude

ASKED = [{"role": "user", "content": "Measure it."}]


def tool(schema: dict[str, Any], *required: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"v": schema}, "required": list(required)}
    return {"type": "function", "function": {"name": "measure", "parameters": parameters}}


def use(number: int, *text: str) -> ToolUse:
    return ToolUse("mcp__openai__measure", id=f"toolu_{number}", fragments=text)


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, spares=0, max_idle_sessions=4, process_timeout_ms=20_000) as served:
        yield served


async def ask(served: Served, messages: list[dict[str, Any]], offered: dict[str, Any]) -> tuple[dict[str, Any], str]:
    async with Call.open(served.url, chat(messages, tools=[offered])) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return answer["choices"][0]["message"], call.headers["x-claude-openai-conversation"]


def with_results(message: dict[str, Any]) -> list[dict[str, Any]]:
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in message["tool_calls"]]
    return [*ASKED, {"role": "assistant", "content": None, "tool_calls": message["tool_calls"]}, *results]


def received(request: RecordedRequest) -> list[tuple[str, bool]]:
    """The results of tools that Claude was sent last: for which call, and whether it is an error."""
    content = request.messages[-1]["content"] if request.messages[-1]["role"] == "user" else []
    return [(b["tool_use_id"], bool(b.get("is_error"))) for b in content if b["type"] == "tool_result"]


INTEGER, NUMBER, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
STRING, ARRAY, OBJECT = {"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "object"}
EITHER = {"anyOf": [INTEGER, {"type": "null"}]}


@pytest.mark.long
@pytest.mark.parametrize(
    ("schema", "wrong", "right"),
    [
        (INTEGER, '"5"', "5"),
        (INTEGER, "5.5", "5"),
        (INTEGER, "null", "5"),
        (NUMBER, '"5.5"', "5.5"),
        (NUMBER, "1e400", "1e40"),
        (BOOLEAN, '"true"', "true"),
        (BOOLEAN, "1", "true"),
        (STRING, "5", '"5"'),
        (STRING, '["5"]', '"5"'),
        (ARRAY, '"[\\"x\\"]"', '["x"]'),
        (ARRAY, '"x"', '["x"]'),
        (OBJECT, '"{\\"k\\":1}"', '{"k":1}'),
        (OBJECT, "[]", "{}"),
        (EITHER, '"5"', "5"),
        (EITHER, '"x"', "null"),
    ],
)
async def test_invalid_value_is_corrected_and_valid_one_is_the_clients(
    kept: Served, schema: dict[str, Any], wrong: str, right: str
) -> None:
    offered = tool(schema, "v")
    kept.api.enqueue(Reply(use(1, f'{{"v":{wrong}}}')), Reply(use(2, f'{{"v":{right}}}')), Reply("Done."))
    message, _ = await ask(kept, ASKED, offered)
    (call,) = message["tool_calls"]
    assert (call["id"], call["function"]["arguments"]) == ("toolu_2", f'{{"v":{right}}}')
    assert received(kept.api.requests[1]) == [("toolu_1", True)]
    answer, way = await ask(kept, with_results(message), offered)
    assert (answer["content"], way) == ("Done.", "parked")
    assert received(kept.api.requests[2]) == [("toolu_2", False)]
    assert len(kept.api.requests) == 3


@pytest.mark.long
@pytest.mark.parametrize("arguments", ["null", "{", '{"v":1'])
async def test_arguments_that_are_no_object_are_corrected_though_nothing_is_required(
    kept: Served, arguments: str
) -> None:
    kept.api.enqueue(Reply(use(1, arguments)), Reply(use(2, "{}")), Reply("Done."))
    message, _ = await ask(kept, ASKED, tool(INTEGER))
    assert [call["id"] for call in message["tool_calls"]] == ["toolu_2"]
    answer, way = await ask(kept, with_results(message), tool(INTEGER))
    assert (answer["content"], way, len(kept.api.requests)) == ("Done.", "parked", 3)


@pytest.mark.long
@pytest.mark.parametrize("arguments", ["[]", '""', "0", "false", '"x"'])
async def test_a_call_that_claudes_api_would_not_take_back_is_an_error_and_no_wait(
    tmp_path: Path, arguments: str
) -> None:
    async with serving(tmp_path, Reply(use(1, arguments)), may_refuse=True) as served:
        async with Call.open(served.url, chat(ASKED, tools=[tool(INTEGER)])) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


async def test_valid_calls_reach_the_client_and_claude_corrects_the_others(kept: Served) -> None:
    offered = tool(INTEGER, "v")
    calls = [use(1, '{"v":"1"}'), use(2, '{"v":2}'), use(3, '{"v":"3"}'), use(4, '{"v":4}')]
    kept.api.enqueue(Reply(*calls), Reply("Done."))
    message, _ = await ask(kept, ASKED, offered)
    assert [json.loads(call["function"]["arguments"])["v"] for call in message["tool_calls"]] == [2, 4]
    answer, way = await ask(kept, with_results(message), offered)
    assert (answer["content"], way, len(kept.api.requests)) == ("Done.", "parked", 2)
    assert sorted(received(kept.api.requests[1])) == [
        ("toolu_1", True),
        ("toolu_2", False),
        ("toolu_3", True),
        ("toolu_4", False),
    ]
