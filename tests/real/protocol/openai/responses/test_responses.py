"""The Responses API on the real Claude Code: the cases of Open Responses, tool loops, and the openai package itself."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from pydantic import BaseModel

from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import Pause, Reply, Text, Thinking, ToolUse
from tests.media_files import PICTURE, sent
from tests.open_responses import validate_open_event, validate_open_response
from tests.openai_schema import strict_openai_event, strict_openai_response, validate_event, validate_response
from tests.real.call import MODEL, Call
from tests.real.harness import OK, Served, needs_claude, serving
from tests.real.heard import system_prompt
from tests.real.openai_package import with_the_package
from tests.real.tool_turns import KEPT, upstream
from tests.sse_reader import parse_typed_sse

pytestmark = needs_claude

PATH = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "weather", "description": "The weather", "parameters": SCHEMA, "strict": False}
SEE = "What is the weather in Oslo and Rome?"
CALLED = Reply(
    Thinking("Two calls.", signature="c2lnbmVk"),
    Text("Let me see."),
    ToolUse("mcp__openai__weather", {"city": "Oslo"}, "toolu_1"),
    ToolUse("mcp__openai__weather", {"city": "Rome"}, "toolu_2"),
)


async def ask(served: Served, given: Any, **fields: Any) -> tuple[dict[str, Any], str]:
    """The whole response, checked by every judge, and the way its turn took."""
    async with Call.open(served.url, {"model": MODEL, "input": given, **fields}, PATH) as call:
        if fields.get("stream"):
            assert await call.status() == 200
            events = parse_typed_sse(await call.body())
            for event in events:
                validate_event(event)
                validate_open_event(event)
                strict_openai_event(event)
            response = events[-1]["response"]
        else:
            status, response = await call.answer()
            assert status == 200, response
        validate_response(response)
        validate_open_response(response)
        strict_openai_response(response)
        return response, call.headers.get("x-claude-openai-conversation", "")


def said(response: dict[str, Any]) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


def outputs(response: dict[str, Any], *texts: str) -> list[dict[str, Any]]:
    """The client's next items: all of our answer, and an output for each of its calls."""
    calls = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
    pairs = zip(calls, texts, strict=True)
    return [*response["output"], *({"type": "function_call_output", "call_id": c, "output": t} for c, t in pairs)]


def user(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content}


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, OK, **KEPT) as served:
        yield served


@pytest.mark.parametrize("stream", [False, True])
async def test_a_plain_request_is_answered_in_either_shape(kept: Served, stream: bool) -> None:
    response, way = await ask(kept, [user("Say ok.")], stream=stream)
    assert (said(response), response["status"], way) == ("ok", "completed", "new")


async def test_system_prompts_are_claudes_real_system_prompt(kept: Served) -> None:
    items = [{"type": "message", "role": "system", "content": "Be a pirate."}, user("Say hello.")]
    await ask(kept, items, instructions="Be brief.")
    assert "Be brief.\n\nBe a pirate." in "".join(system_prompt(kept.api.requests[0]))


@pytest.mark.long
async def test_a_picture_arrives_as_a_picture(kept: Served) -> None:
    parts = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": PICTURE["image_url"]["url"], "detail": "auto"},  # type: ignore[index]
    ]
    await ask(kept, [user(parts)])
    assert sent(kept.api.requests[0], 0) == [("text", "What is this?"), ("image", "image/png")]


@pytest.mark.long
async def test_several_turns_go_on_in_the_same_conversation(kept: Served) -> None:
    items = [user("My name is Alice.")]
    first, _ = await ask(kept, items)
    items += [*first["output"], user("What is my name?")]
    _, way = await ask(kept, items)
    assert way == "continued"
    expected = [("user", ["My name is Alice."]), ("assistant", ["ok"]), ("user", ["What is my name?"])]
    assert upstream(kept.api.requests[1]) == expected


@pytest.mark.long
async def test_text_on_both_sides_of_reasoning_goes_on_in_the_same_conversation(kept: Served) -> None:
    kept.api.enqueue(Reply("One.", Thinking("so", signature="c2lnbmVk"), "Two."))
    items = [user("Count.")]
    first, _ = await ask(kept, items)
    assert [item["type"] for item in first["output"]] == ["message", "reasoning", "message"]
    _, way = await ask(kept, [*items, *first["output"], user("And?")])
    assert way == "continued"


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_the_outputs_of_parallel_calls_go_to_the_turn_that_waits_and_the_next_message_continues_it(
    kept: Served, stream: bool
) -> None:
    kept.api.enqueue(CALLED, Reply("Cold and warm."))
    fields: dict[str, Any] = {"tools": [WEATHER], "stream": stream, "store": False}
    items = [user(SEE)]
    first, way = await ask(kept, items, **fields)
    assert [item["type"] for item in first["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert (way, json.loads(first["output"][3]["arguments"])) == ("new", {"city": "Rome"})
    items += outputs(first, "3 degrees", "20 degrees")
    second, way = await ask(kept, items, **fields)
    assert (said(second), way) == ("Cold and warm.", "parked")
    items += [*second["output"], user("Thanks.")]
    _, way = await ask(kept, items, **fields)
    assert way == "continued"
    assert len(kept.api.requests) == 3


@pytest.mark.long
async def test_namespaced_calls_are_distinguished_from_equal_names(kept: Served) -> None:
    namespace = {"type": "namespace", "name": "sky", "description": "The sky", "tools": [WEATHER]}
    kept.api.enqueue(Reply(ToolUse("mcp__openai__sky__weather", {"city": "Oslo"}, "toolu_1")))
    # The document's own form of such a tool allows no schema in it, so that its answer is not held against it.
    body = {"model": MODEL, "input": [user(SEE)], "tools": [WEATHER, namespace]}
    async with Call.open(kept.url, body, PATH) as call:
        _, first = await call.answer(validated=False)
    (item,) = first["output"]
    assert (item["namespace"], item["name"]) == ("sky", "weather")
    async with Call.open(kept.url, {**body, "input": [user(SEE), *outputs(first, "Grey")]}, PATH) as call:
        _, second = await call.answer(validated=False)
        assert (said(second), call.headers["x-claude-openai-conversation"]) == ("ok", "parked")


@pytest.mark.long
async def test_both_apis_share_a_conversation_since_the_history_is_the_same(kept: Served) -> None:
    first, _ = await ask(kept, "Hi")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": said(first)}, user("And?")]
    async with Call.open(kept.url, {"model": MODEL, "messages": messages}) as call:
        assert await call.status() == 200
        assert call.headers["x-claude-openai-conversation"] == "continued"
        await call.body()


@pytest.mark.long
async def test_a_failure_of_claude_in_the_middle_is_a_failed_response(tmp_path: Path) -> None:
    heard = trio.Event()
    reply = Reply(Text("Hel", Pause(heard), UpstreamErrorEvent("api_error", "broken")))
    body = {"model": MODEL, "input": "Hi", "stream": True}
    async with serving(tmp_path, reply) as served, Call.open(served.url, body, PATH) as call:
        assert await call.status() == 200
        events = []
        while isinstance(event := await call.event(), dict):
            validate_event(event)
            validate_open_event(event)
            events.append(event)
            if event.get("delta") == "Hel":
                heard.set()
        error, last = events[-2:]
        assert (error["type"], error["code"], "broken" in error["message"]) == ("error", "upstream_error", True)
        assert (last["response"]["status"], said(last["response"])) == ("failed", "Hel")


async def test_the_openai_package_creates_and_streams(kept: Served) -> None:
    kept.api.enqueue(Reply(Thinking("Hm", signature="c2lnbmVk"), Text("Hel", "lo")))
    response = await with_the_package(kept, lambda client: client.responses.create(model=MODEL, input="Hi"))
    assert response.output_text == "Hello"
    assert response.output[0].summary[0].text == "Hm"

    def streamed(client: openai.OpenAI) -> tuple[list[str], Any]:
        with client.responses.stream(model=MODEL, input="Hi") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            return deltas, stream.get_final_response()

    deltas, final = await with_the_package(kept, streamed)
    assert ("".join(deltas), final.output_text, final.status) == ("ok", "ok", "completed")


@pytest.mark.long
async def test_openai_package_runs_a_tool_loop_with_the_answers(kept: Served) -> None:
    kept.api.enqueue(CALLED, Reply("Cold and warm."))

    def loop(client: openai.OpenAI) -> str:
        items: Any = [{"role": "user", "content": SEE}]
        tools: Any = [WEATHER]
        response = client.responses.create(model=MODEL, input=items, tools=tools)
        items += response.output
        calls = [item for item in response.output if item.type == "function_call"]
        items += [{"type": "function_call_output", "call_id": call.call_id, "output": "3"} for call in calls]
        return client.responses.create(model=MODEL, input=items, tools=tools).output_text

    assert await with_the_package(kept, loop) == "Cold and warm."
    assert [way for way in (await kept.whole_log()).split() if '"parked"' in way]


@pytest.mark.long
async def test_the_openai_package_gets_the_form_that_it_asks_for(kept: Served) -> None:
    class Weather(BaseModel):
        city: str
        degrees: int

    answer = {"city": "Oslo", "degrees": 3}
    kept.api.enqueue(Reply(ToolUse("StructuredOutput", answer, "toolu_1")))

    def parsed(client: openai.OpenAI) -> Any:
        return client.responses.parse(model=MODEL, input=SEE, text_format=Weather).output_parsed

    assert await with_the_package(kept, parsed) == Weather(city="Oslo", degrees=3)


@pytest.mark.long
async def test_openai_package_distinguishes_a_refusal_from_an_answer(kept: Served) -> None:
    class Weather(BaseModel):
        city: str

    refusal = Reply("I would rather", stop_reason="refusal")
    kept.api.enqueue(refusal, refusal, refusal)

    def parsed(client: openai.OpenAI) -> Any:
        return client.responses.parse(model=MODEL, input=SEE, text_format=Weather)

    response = await with_the_package(kept, parsed)
    assert (response.output_parsed, response.status) == (None, "completed")
    assert [part.type for part in response.output[-1].content] == ["refusal"]

    def streamed(client: openai.OpenAI) -> tuple[list[str], Any]:
        with client.responses.stream(model=MODEL, input=SEE, text_format=Weather) as stream:
            return [event.type for event in stream], stream.get_final_response()

    kinds, final = await with_the_package(kept, streamed)
    assert {"response.refusal.delta", "response.refusal.done"} <= set(kinds)
    assert final.output_parsed is None
    plain, _ = await ask(kept, "Hi", stream=True)
    assert [part["type"] for part in plain["output"][-1]["content"]] == ["output_text", "refusal"]


@pytest.mark.long
async def test_the_openai_package_raises_what_went_wrong(tmp_path: Path) -> None:
    heard = trio.Event()
    reply = Reply(Text("Hel", Pause(heard), UpstreamErrorEvent("api_error", "broken")))
    async with serving(tmp_path, reply) as served:

        def listen(client: openai.OpenAI) -> None:
            for event in client.responses.create(model=MODEL, input="Hi", stream=True):
                if event.type == "response.output_text.delta":
                    trio.from_thread.run_sync(heard.set)

        def streamed(client: openai.OpenAI) -> str | None:
            with pytest.raises(openai.APIError, match="broken") as raised:
                listen(client)
            return raised.value.type

        assert await with_the_package(served, streamed) == "upstream_error"

        def refused(client: openai.OpenAI) -> Any:
            with pytest.raises(openai.BadRequestError) as raised:
                client.responses.create(model=MODEL, input="Hi", conversation="conv_1")
            return raised.value.param

        assert await with_the_package(served, refused) == "conversation"
