"""Tests of a program on trio: everything in memory, and time passes only when all tasks wait."""

from typing import Any

import openai
import pytest
import trio
from trio.testing import MockClock

from claude_openai.testing import RATE_LIMIT_ERROR, Hang, Pause, Reply, ToolUse, fake_claude

# The openai package does not close the generators of its streams (3.57), which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


async def agent(client: openai.AsyncOpenAI) -> str | None:
    """Answer with the help of a tool."""
    messages: list[Any] = list(CHAT["messages"])
    while True:
        answer = await client.chat.completions.create(model="claude-sonnet", messages=messages, tools=[WEATHER])
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message.to_dict())
        messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls]


async def test_agent_calls_the_tool_and_answers(autojump_clock: MockClock) -> None:
    async with fake_claude(ToolUse("weather", {"city": "Oslo"}, "call_1"), "It is sunny.") as claude:
        assert await agent(claude.openai()) == "It is sunny."
        assert claude.last.tool_results == {"call_1": "sunny"}


async def test_agent_waits_as_long_as_it_is_told(autojump_clock: MockClock) -> None:
    limits = [RATE_LIMIT_ERROR.with_headers(retry_after="60")] * 3
    async with fake_claude(*limits, "Hello") as claude:
        assert await agent(claude.openai(max_retries=3)) == "Hello"
    assert trio.current_time() == 180


async def test_words_arrive_when_they_are_sent(autojump_clock: MockClock) -> None:
    async with fake_claude(Reply("a", Pause(60), "b")) as claude:
        chunks = await claude.openai().chat.completions.create(**CHAT, stream=True)
        times = [trio.current_time() async for chunk in chunks if chunk.choices[0].delta.content]
    assert times[1] - times[0] == 60


async def test_leaving_cancels_the_turn(autojump_clock: MockClock) -> None:
    async with fake_claude(Reply("Hel", Hang())) as claude:
        async with await claude.openai().chat.completions.create(**CHAT, stream=True) as chunks:
            async for chunk in chunks:
                if chunk.choices[0].delta.content:
                    break
        await claude.last.ended.wait()
        assert (claude.last.outcome, claude.last.received) == ("cancelled", "Hel")
