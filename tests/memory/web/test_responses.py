"""The route of the Responses API: it shares everything but the shape of what it says with chat completions."""

from typing import Any

import pytest
import trio

from claude_openai.errors import ContextTooLong, UpstreamError
from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall, TurnFailed, TurnStarted
from claude_openai.testing import Hang, Pause
from tests.memory.client import Answer
from tests.memory.harness import Server, serving
from tests.openai_schema import strict_openai_event, strict_openai_response, validate_event, validate_response
from tests.scripted_backend import TurnScript, full_turn
from tests.sse_reader import parse_typed_sse

PATH = "/v1/responses"
READ = {"type": "function", "name": "read", "strict": False, "parameters": {"type": "object"}}
CALL = ToolCall("toolu_1", "read", "{}")


async def ask(server: Server, given: Any = "Hi", **fields: Any) -> Answer:
    return await server.post({"model": "claude-sonnet", "input": given, **fields}, PATH)


async def whole(server: Server, given: Any = "Hi", **fields: Any) -> dict[str, Any]:
    answer = await ask(server, given, **fields)
    assert answer.status == 200
    validate_response(answer.json())
    strict_openai_response(answer.json())
    return answer.json()


def events_of(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = parse_typed_sse(answer.body)
    for event in events:
        validate_event(event)
        strict_openai_event(event)
    return events


def calling_once(*said: str) -> TurnScript:
    """Says something and calls a tool, until there is a result."""

    def script(request: Any) -> Any:
        if request.prompt.text:
            return full_turn(ReasoningDelta("Hm"), *said, CALL, finish_reason="tool_calls")
        return full_turn("Done.")

    return script


async def test_an_answer_that_is_not_streamed_is_one_response() -> None:
    async with serving(full_turn("Hel", "lo")) as server:
        response = await whole(server, instructions="Be brief.", metadata={"a": "b"})
        (item,) = response["output"]
        assert item["content"][0]["text"] == "Hello"
        assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 15)
        assert (response["model"], response["metadata"]) == ("claude-sonnet", {"a": "b"})
        assert server.backend.turns[0].request.system == "Be brief."


async def test_a_streamed_answer_is_typed_events_without_done() -> None:
    async with serving(full_turn(ReasoningDelta("Hm"), "Hel", "lo", CALL)) as server:
        events = events_of(await ask(server, stream=True, tools=[READ]))
        assert [e["delta"] for e in events if e["type"].endswith(".delta")] == ["Hm", "Hel", "lo", "{}"]
        last = events[-1]
        assert last["type"] == "response.completed"
        assert [item["type"] for item in last["response"]["output"]] == ["reasoning", "message", "function_call"]


async def test_both_apis_name_the_route_in_a_header_and_ids_are_unique() -> None:
    async with serving() as server:
        first, second = await ask(server), await ask(server, stream=True)
        assert {a.headers["x-claude-openai-conversation"] for a in (first, second)} == {"new"}
        ids = [first.json()["id"], events_of(second)[0]["response"]["id"]]
        assert all(name.startswith("resp_") for name in ids)
        assert len(set(ids)) == 2


async def test_comments_keep_a_silent_stream_alive() -> None:
    async with serving(full_turn("one", Pause(100), "two"), comment_interval_ms=15_000) as server:
        answer = await ask(server, stream=True)
        assert events_of(answer)[-1]["type"] == "response.completed"
        assert answer.body.count(b": keep-alive\n\n") == 6


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_word_is_an_http_error(stream: bool) -> None:
    async with serving((TurnFailed(ContextTooLong("prompt is too long")),)) as server:
        answer = await ask(server, stream=stream)
        assert (answer.status, answer.error()["code"]) == (400, "context_length_exceeded")


async def test_a_failure_in_the_middle_is_an_error_event_and_a_failed_response() -> None:
    script = (*full_turn("Hel")[:-1], Pause(1), TurnFailed(UpstreamError("It died.")))
    async with serving(script) as server:
        *_, error, last = events_of(await ask(server, stream=True))
        assert (error["type"], error["error"]["type"]) == ("error", "upstream_error")
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
        answer = await ask(server)
        assert (answer.status, answer.error()["code"]) == (502, "upstream_error")


async def test_a_stream_that_opened_before_a_failure_is_a_response_that_failed() -> None:
    async with serving((Pause(11), TurnFailed(UpstreamError("x"))), hold_status_ms=10_000) as server:
        names = [event["type"] for event in events_of(await ask(server, stream=True))]
        assert names == ["response.created", "response.in_progress", "error", "response.failed"]


async def test_a_client_that_goes_away_ends_its_turn() -> None:
    async with serving((TurnStarted("claude"), Hang())) as server:
        client = server.connect()
        await client.post({"model": "claude-sonnet", "input": "Hi", "stream": True}, PATH)
        assert (await client.head())[0] == 200
        client.leave()
        await server.backend.turns[0].ended.wait()
        assert server.backend.turns[0].outcome == "cancelled"
        assert trio.current_time() == 0


async def test_a_bad_request_is_refused_in_openais_form_at_its_place() -> None:
    async with serving() as server:
        answer = await ask(server, [{"role": "user", "content": "Hi"}, {"type": "new_in_2027"}])
        assert (answer.status, answer.error()["param"]) == (400, "input[1].type")
        answer = await ask(server, conversation="conv_1")
        assert (answer.status, answer.error()["param"]) == (400, "conversation")
        answer = await ask(server, model="gpt-5")
        assert (answer.status, answer.error()["code"]) == (404, "model_not_found")
        answer = await server.get(PATH)
        assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"POST", "OPTIONS"})
        assert server.backend.turns == []


@pytest.mark.parametrize("stream", [False, True])
async def test_the_items_of_an_answer_go_back_whole_or_by_their_ids(stream: bool) -> None:
    async with serving(calling_once("Let me see.")) as server:
        answer = await ask(server, stream=stream, tools=[READ])
        output = (events_of(answer)[-1]["response"] if stream else answer.json())["output"]
        user = {"role": "user", "content": "Hi"}
        result = {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"}
        by_id = [{"type": "item_reference", "id": item["id"]} for item in output]
        for items in (output, by_id):
            response = await whole(server, [user, *items, result], tools=[READ])
            assert response["output"][0]["content"][0]["text"] == "Done."
        _, in_full, referred = (turn.request for turn in server.backend.turns)
        assert in_full == referred
        assert in_full.turns[1].text == "Let me see."


async def test_a_client_that_wants_nothing_stored_cannot_refer_to_anything() -> None:
    async with serving() as server:
        response = await whole(server, store=False)
        reference = {"type": "item_reference", "id": response["output"][0]["id"]}
        answer = await ask(server, [{"role": "user", "content": "Hi"}, reference])
        assert (answer.status, answer.error()["param"]) == (400, "input[1]")
        assert "store" in answer.error()["message"]
