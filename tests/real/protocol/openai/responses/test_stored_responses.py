"""Conversations over `previous_response_id` on the real Claude Code, and the openai package with stored responses."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from claude_openai.testing import Reply, Text, Thinking, ToolUse
from tests.open_responses import validate_open_response
from tests.openai_schema import strict_openai_response, validate_response
from tests.real.call import MODEL, Call
from tests.real.harness import OK, Served, needs_claude, serving
from tests.real.heard import heard, system_prompt
from tests.real.openai_package import with_the_package
from tests.real.tool_turns import KEPT, upstream
from tests.sse_reader import parse_typed_sse

pytestmark = [needs_claude, pytest.mark.long]

PATH = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
SEE = "What is the weather in Oslo?"
NAME = "mcp__openai__weather"
CALLED = Reply(Text("Let me see."), ToolUse(NAME, {"city": "Oslo"}, "toolu_1"))
THOUGHT = Reply(Thinking("A call.", signature="c2lnbmVk"), *CALLED.steps)
RESULT: Any = {"type": "function_call_output", "call_id": "toolu_1", "output": "3 degrees"}
THINKING = {"type": "thinking", "thinking": "A call.", "signature": "c2lnbmVk"}


async def ask(served: Served, given: Any, **fields: Any) -> tuple[dict[str, Any], str]:
    """The whole response, and the way its turn took."""
    async with Call.open(served.url, {"model": MODEL, "input": given, **fields}, PATH) as call:
        if fields.get("stream"):
            assert await call.status() == 200
            response = parse_typed_sse(await call.body())[-1]["response"]
        else:
            status, response = await call.answer()
            assert status == 200, response
        for judge in (validate_response, validate_open_response, strict_openai_response):
            judge(response)
        return response, call.headers.get("x-claude-openai-conversation", "")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_over_previous_response_id_stays_in_its_conversation(tmp_path: Path, stream: bool) -> None:
    async with serving(tmp_path, OK, **KEPT) as served:
        served.api.enqueue(CALLED, Reply("Cold."))
        fields: dict[str, Any] = {"tools": [WEATHER], "stream": stream}
        first, way = await ask(served, SEE, **fields)
        assert way == "new"
        second, way = await ask(served, [RESULT], previous_response_id=first["id"], **fields)
        assert (second["output"][-1]["content"][0]["text"], way) == ("Cold.", "parked")
        third, way = await ask(served, "Thanks.", previous_response_id=second["id"], **fields)
        assert (third["previous_response_id"], way) == (second["id"], "continued")
        assert len(served.api.requests) == 3
        assert upstream(served.api.requests[-1]) == [
            ("user", [SEE]),
            ("assistant", ["Let me see.", ("toolu_1", NAME, {"city": "Oslo"})]),
            ("user", [("toolu_1", "3 degrees")]),
            ("assistant", ["Cold."]),
            ("user", ["Thanks."]),
        ]


async def test_a_continued_response_is_replayed_as_its_whole_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path, OK, spares=0, max_idle_sessions=0) as served:
        served.api.enqueue(THOUGHT, Reply("Cold."))
        fields: dict[str, Any] = {"tools": [WEATHER]}
        first, _ = await ask(served, SEE, instructions="Only in the first turn.", **fields)
        second, _ = await ask(served, [RESULT], previous_response_id=first["id"], **fields)
        system = {"instructions": "From now on."}
        _, way = await ask(served, "Thanks.", previous_response_id=second["id"], **system, **fields)
        assert way == "replayed"
        user = {"role": "user", "content": SEE}
        whole = [user, *first["output"], RESULT, *second["output"], {"role": "user", "content": "Thanks."}]
        await ask(served, whole, **system, **fields)
        continued, in_full = served.api.requests[-2:]
        assert heard(continued, bounds=()) == heard(in_full, bounds=())
        texts = "".join(system_prompt(continued))
        assert ("From now on." in texts, "Only in the first turn." in texts) == (True, False)
        assert THINKING in [block for message in continued.messages for block in message["content"]]


async def test_the_openai_package_continues_retrieves_lists_and_deletes(tmp_path: Path) -> None:
    def use(client: openai.OpenAI) -> tuple[str, str]:
        first = client.responses.create(model=MODEL, input="My name is Alice.")
        second = client.responses.create(model=MODEL, input="What is my name?", previous_response_id=first.id)
        assert second.previous_response_id == first.id
        assert client.responses.retrieve(second.id) == second
        listed = list(client.responses.input_items.list(second.id, order="asc", limit=2))
        texts = [part.text for item in listed if item.type == "message" for part in item.content]  # type: ignore[union-attr]
        assert texts == ["My name is Alice.", "ok", "What is my name?"]
        client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError) as raised:
            client.responses.create(model=MODEL, input="And?", previous_response_id=second.id)
        assert (raised.value.code, raised.value.param) == ("previous_response_not_found", "previous_response_id")
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(first.id)
        return second.id, client.responses.retrieve(second.id).output_text

    def foreign(client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(name)
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model=MODEL, input="And?", previous_response_id=name)

    async with serving(tmp_path, OK, **KEPT) as served:
        name, text = await with_the_package(served, use)
        assert text == "ok"
        await with_the_package(served, foreign, api_key="another")
        expected = [("user", ["My name is Alice."]), ("assistant", ["ok"]), ("user", ["What is my name?"])]
        assert [upstream(request) for request in served.api.requests] == [expected[:1], expected]


async def test_openai_package_runs_a_tool_loop_over_previous_response_id(tmp_path: Path) -> None:
    def loop(client: openai.OpenAI) -> str:
        with client.responses.stream(model=MODEL, input=SEE, tools=[WEATHER]) as stream:
            response: Any = stream.get_final_response()
        calls = [item for item in response.output if item.type == "function_call"]
        results: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "3"} for call in calls]
        raw = client.responses.with_raw_response.create(
            model=MODEL, input=results, tools=[WEATHER], previous_response_id=response.id
        )
        assert raw.headers["x-claude-openai-conversation"] == "parked"
        return raw.parse().output_text

    async with serving(tmp_path, OK, **KEPT) as served:
        served.api.enqueue(CALLED, Reply("Cold."))
        assert await with_the_package(served, loop) == "Cold."


async def test_a_response_for_no_store_is_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path, OK, store=False, **KEPT) as served:
        response, _ = await ask(served, "Hi")
        assert response["store"] is False
        body = {"model": MODEL, "input": "And?", "previous_response_id": response["id"]}
        async with Call.open(served.url, body, PATH) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["code"]) == (404, "previous_response_not_found")
        assert json.dumps(answer).count("--no-store") == 1
