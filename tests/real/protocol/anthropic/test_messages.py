"""The Messages API on the real Claude Code: the anthropic package itself, tool loops with thinking, changes of API."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import pytest
import trio
from pydantic import BaseModel

from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import Reply, Text, Thinking, ToolUse
from tests.real.call import MODEL, Call, chat
from tests.real.harness import OK, Served, needs_claude, serving
from tests.real.heard import system_prompt
from tests.real.messages_form import MESSAGES
from tests.real.responses_form import CHAT, RESPONSES
from tests.real.tool_turns import KEPT

pytestmark = needs_claude

T = TypeVar("T")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
SEE = "What is the weather in Oslo and Rome?"
CALLED = Reply(
    Thinking("Two ", "calls.", signature="c2lnbmVk"),
    Text("Let me see."),
    ToolUse("mcp__openai__weather", {"city": "Oslo"}, "toolu_1"),
    ToolUse("mcp__openai__weather", {"city": "Rome"}, "toolu_2"),
)
RESULTS: Any = [
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."},
    {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "Sun."}], "is_error": True},
]
ASKED: Any = {"role": "user", "content": SEE}


def package(served: Served, **options: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=served.url, api_key="none", max_retries=0, _strict_response_validation=True, **options
    )


async def with_package(served: Served, use: Callable[[anthropic.Anthropic], T]) -> T:
    """Run a function with a client of the package in a thread."""

    def run() -> T:
        with package(served) as client:
            return use(client)

    return await trio.to_thread.run_sync(run)


def thinking_of(served: Served) -> list[dict[str, Any]]:
    """The blocks of thinking in the last request to Claude."""
    messages = [message for message in served.api.requests[-1].messages if message["role"] == "assistant"]
    blocks = [block for message in messages for block in message["content"] if isinstance(block, dict)]
    return [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]


def brought(served: Served) -> list[tuple[str, str]]:
    """The results in the last request to Claude, each with the id of its call; their order is chance."""
    (*_, last) = [message for message in served.api.requests[-1].messages if message["role"] == "user"]
    parts = [(block["tool_use_id"], block["content"]) for block in last["content"]]
    return sorted((call, text if isinstance(text, str) else text[0]["text"]) for call, text in parts)


def streamed(client: anthropic.Anthropic, **fields: Any) -> anthropic.types.Message:
    with client.messages.stream(model=MODEL, max_tokens=1000, **fields) as stream:
        kinds = [event.type for event in stream]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        return stream.get_final_message()


def whole(client: anthropic.Anthropic, **fields: Any) -> anthropic.types.Message:
    message: anthropic.types.Message = client.messages.create(model=MODEL, max_tokens=1000, **fields)
    return message


both_ways = pytest.mark.parametrize("ask", [whole, streamed])


@both_ways
async def test_a_tool_loop_of_the_package_has_thinking_with_its_signature(tmp_path: Path, ask: Any) -> None:
    async with serving(tmp_path, **KEPT) as served:
        served.api.enqueue(CALLED, Reply("Rain and sun."))

        def loop(client: anthropic.Anthropic) -> tuple[anthropic.types.Message, anthropic.types.Message]:
            fields: Any = {"tools": [WEATHER], "system": "Be brief.", "thinking": {"type": "adaptive"}}
            first = ask(client, messages=[ASKED], **fields)
            answer: Any = {"role": "assistant", "content": [block.model_dump() for block in first.content]}
            more = [ASKED, answer, {"role": "user", "content": RESULTS}]
            return first, ask(client, messages=more, **fields)

        called, done = await with_package(served, loop)
        assert [block.type for block in called.content] == ["thinking", "text", "tool_use", "tool_use"]
        thought, text, *calls = called.content
        assert isinstance(thought, anthropic.types.ThinkingBlock)
        assert (thought.thinking, thought.signature) == ("Two calls.", "c2lnbmVk")
        assert isinstance(text, anthropic.types.TextBlock)
        assert text.text == "Let me see."
        assert [(call.name, call.input) for call in calls if isinstance(call, anthropic.types.ToolUseBlock)] == [
            ("weather", {"city": "Oslo"}),
            ("weather", {"city": "Rome"}),
        ]
        assert (called.stop_reason, done.stop_reason) == ("tool_use", "end_turn")
        assert called.usage.input_tokens > 0
        assert called.usage.output_tokens > 0
        assert system_prompt(served.api.requests[-1]) == ["Be brief."]
        assert brought(served) == [("toolu_1", "Rain."), ("toolu_2", "Sun.")]
        assert thinking_of(served) == [{"type": "thinking", "thinking": "Two calls.", "signature": "c2lnbmVk"}]
        runs = await served.logged("run.answering")
        assert [run["conversation"] for run in runs] == ["new", "parked"]


async def test_thinking_of_a_client_is_replayed_with_its_signature(tmp_path: Path) -> None:
    thought = {"type": "thinking", "thinking": "Which one?", "signature": "dHJ1ZQ=="}
    secret = {"type": "redacted_thinking", "data": "c2VjcmV0"}
    call = {"type": "tool_use", "id": "toolu_9", "name": "weather", "input": {"city": "Oslo"}}
    answer = {"role": "assistant", "content": [thought, secret, {"type": "text", "text": "So."}, call]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_9", "content": "Rain."}]}
    body = {"model": MODEL, "max_tokens": 100, "tools": [WEATHER], "messages": [ASKED, answer, result]}
    async with serving(tmp_path) as served, Call.open(served.url, body, MESSAGES) as call_:
        status, message = await call_.answer()
        assert status == 200, message
        assert thinking_of(served) == [thought, secret]
        assert brought(served) == [("toolu_9", "Rain.")]


def chat_tool() -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}


async def test_a_session_that_began_with_a_chat_goes_on_over_messages_and_responses(tmp_path: Path) -> None:
    async with serving(tmp_path, **KEPT) as served:
        served.api.enqueue(CALLED, Reply("Rain and sun."), Reply("Bye."))
        async with Call.open(served.url, chat([ASKED], tools=[chat_tool()]), CHAT) as call:
            status, answer = await call.answer()
            assert status == 200, answer
        made = [
            {
                "type": "tool_use",
                "id": each["id"],
                "name": each["function"]["name"],
                "input": json.loads(each["function"]["arguments"]),
            }
            for each in answer["choices"][0]["message"]["tool_calls"]
        ]
        called = {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}, *made]}
        body = {
            "model": MODEL,
            "tools": [WEATHER],
            "messages": [ASKED, called, {"role": "user", "content": [RESULTS[0], {**RESULTS[1], "is_error": False}]}],
        }
        async with Call.open(served.url, body, MESSAGES) as call:
            status, answer = await call.answer()
            assert (status, answer["content"]) == (200, [{"type": "text", "text": "Rain and sun."}])
            assert call.headers["x-claude-openai-conversation"] == "parked"
        assert thinking_of(served) == [{"type": "thinking", "thinking": "Two calls.", "signature": "c2lnbmVk"}]
        items = [
            {"role": "user", "content": SEE},
            {"role": "assistant", "content": "Let me see."},
            *(
                {
                    "type": "function_call",
                    "call_id": each["id"],
                    "name": "weather",
                    "arguments": json.dumps(each["input"]),
                }
                for each in made
            ),
            {"type": "function_call_output", "call_id": "toolu_1", "output": "Rain."},
            {"type": "function_call_output", "call_id": "toolu_2", "output": "Sun."},
            {"role": "assistant", "content": "Rain and sun."},
            {"role": "user", "content": "Thanks."},
        ]
        tool = {"type": "function", "strict": False, **chat_tool()["function"]}
        async with Call.open(served.url, {"model": MODEL, "input": items, "tools": [tool]}, RESPONSES) as call:
            status, answer = await call.answer()
            assert status == 200, answer
            assert call.headers["x-claude-openai-conversation"] == "continued"


class City(BaseModel):
    name: str


async def test_structured_output_of_the_package_is_parsed(tmp_path: Path) -> None:
    form = Reply(ToolUse("StructuredOutput", {"name": "Oslo"}))
    async with serving(tmp_path, form) as served:

        def parsed(client: anthropic.Anthropic) -> City | None:
            return client.messages.parse(
                model=MODEL, max_tokens=1000, messages=[{"role": "user", "content": "Where?"}], output_format=City
            ).parsed_output

        assert await with_package(served, parsed) == City(name="Oslo")


@both_ways
async def test_a_stop_sequence_is_reported(tmp_path: Path, ask: Any) -> None:
    async with serving(tmp_path, Reply(Text("one ", "END", " two"))) as served:
        asked = partial(ask, messages=[{"role": "user", "content": "Count."}], stop_sequences=["END"])
        message = await with_package(served, asked)
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
        assert [block.text for block in message.content if isinstance(block, anthropic.types.TextBlock)] == ["one "]


async def test_errors_are_those_of_the_package(tmp_path: Path) -> None:
    async with serving(tmp_path, OK, api_key="a-key") as served:

        def errors(client: anthropic.Anthropic) -> None:
            hello: Any = [{"role": "user", "content": "Hi"}]
            with pytest.raises(anthropic.AuthenticationError):
                client.messages.create(model=MODEL, max_tokens=10, messages=hello)
            known = client.with_options(api_key="a-key")
            with pytest.raises(anthropic.NotFoundError, match="gpt-4o") as raised:
                known.messages.create(model="gpt-4o", max_tokens=10, messages=hello)
            assert raised.value.request_id is not None
            with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
                known.messages.create(model=MODEL, max_tokens=0, messages=hello)
            with pytest.raises(anthropic.NotFoundError, match="Counting"):
                known.messages.count_tokens(model=MODEL, messages=hello)
            assert known.models.retrieve(MODEL).id == MODEL
            assert MODEL in [model.id for model in known.models.list()]

        await with_package(served, errors)


async def test_a_failure_in_a_stream_raises(tmp_path: Path) -> None:
    broken = Reply(Text("Hel"), UpstreamErrorEvent("api_error", "It broke."))
    async with serving(tmp_path, broken, may_refuse=True) as served:

        def read(client: anthropic.Anthropic) -> None:
            hello: Any = [{"role": "user", "content": "Hi"}]
            with client.messages.stream(model=MODEL, max_tokens=10, messages=hello) as stream:
                stream.until_done()

        with pytest.raises(anthropic.APIStatusError) as raised:
            await with_package(served, read)
        assert isinstance(raised.value.body, dict)
        assert raised.value.body["error"]["type"] == "api_error"
