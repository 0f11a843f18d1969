"""What a stranger wished to write as tests of a program: one import, one context manager, one vocabulary."""

import json
from typing import Any

import openai
import pytest

from claude_openai.testing import (
    OVERLOADED_ERROR,
    RATE_LIMIT_ERROR,
    Hang,
    Json,
    Reply,
    ToolUse,
    fake_claude,
    running_fake_claude,
)

CHAT: Any = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
K = {"type": "object", "properties": {"k": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "get", "parameters": K}}
FORM = {"type": "object", "properties": {"a": {"type": "integer"}}}


async def my_agent(client: openai.AsyncOpenAI) -> str | None:
    messages = [*CHAT["messages"]]
    while True:
        answer = await client.chat.completions.create(model="claude-sonnet", messages=messages, tools=[TOOL])  # type: ignore[list-item]
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message.to_dict())
        for call in message.tool_calls:
            result = "R" + json.loads(call.function.arguments)["k"]  # type: ignore[union-attr]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


async def ask_for_object(client: openai.AsyncOpenAI) -> object:
    response_format: Any = {"type": "json_schema", "json_schema": {"name": "form", "schema": FORM}}
    answer = await client.chat.completions.create(**CHAT, response_format=response_format)
    return json.loads(answer.choices[0].message.content or "")


async def leave_after_first_word(client: openai.AsyncOpenAI) -> None:
    async with await client.chat.completions.create(**CHAT, stream=True) as chunks:
        async for chunk in chunks:
            if chunk.choices[0].delta.content:
                return


async def test_text_and_what_was_sent(autojump_clock: object) -> None:
    async with fake_claude("Hello") as claude:
        answer = await claude.openai().chat.completions.create(**CHAT, temperature=0)
        assert answer.choices[0].message.content == "Hello"
        assert claude.last.prompt == "Hi"
        assert claude.last.system == ""
        assert claude.last.body["temperature"] == 0


async def test_tool_loop(autojump_clock: object) -> None:
    async with fake_claude(Reply(ToolUse("get", {"k": "a"}), ToolUse("get", {"k": "b"})), "done") as claude:
        assert await my_agent(claude.openai()) == "done"
        assert list(claude.last.tool_results.values()) == ["Ra", "Rb"]


async def test_structured(autojump_clock: object) -> None:
    async with fake_claude(Json({"a": 1})) as claude:
        assert await ask_for_object(claude.openai()) == {"a": 1}


async def test_rate_limit_then_answer(autojump_clock: object) -> None:
    async with fake_claude(RATE_LIMIT_ERROR.with_headers(retry_after="7"), "ok") as claude:
        assert await my_agent(claude.openai()) == "ok"


async def test_overloaded_in_the_middle(autojump_clock: object) -> None:
    async with fake_claude(Reply("Hel", OVERLOADED_ERROR)) as claude:
        with pytest.raises(openai.APIError, match="too busy"):
            await my_agent(claude.openai(max_retries=0))


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the openai package's own (3.57)
async def test_disconnect_stops_the_turn(autojump_clock: object) -> None:
    async with fake_claude(Reply("Hel", Hang())) as claude:
        await leave_after_first_word(claude.openai())
        await claude.last.ended.wait()
        assert claude.last.outcome == "cancelled"


def test_sync() -> None:
    with running_fake_claude("Hello") as claude:
        assert openai.OpenAI(base_url=claude.url, api_key=claude.api_key).chat.completions.create(**CHAT)
