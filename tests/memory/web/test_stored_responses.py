"""Stored responses: continued by their ids, retrieved, listed and deleted, each by its own caller alone."""

import json
from typing import Any

import pytest
import trio

from claude_openai.errors import UpstreamError
from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall, TurnFailed, TurnStarted
from claude_openai.testing import Hang, Pause
from tests.memory.client import Answer
from tests.memory.harness import Server, serving
from tests.openai_schema import strict_openai_response, validate_response
from tests.scripted_backend import TurnScript, full_turn
from tests.sse_reader import parse_typed_sse

PATH = "/v1/responses"
READ = {"type": "function", "name": "read", "strict": False, "parameters": {"type": "object"}}
CALL = ToolCall("toolu_1", "read", "{}")
RESULT = {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"}
HOUR_S = 3600


async def ask(server: Server, given: Any = "Hi", key: str = "", **fields: Any) -> Answer:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await server.post({"model": "claude-sonnet", "input": given, **fields}, PATH, **headers)


async def response_of(server: Server, given: Any = "Hi", **fields: Any) -> dict[str, Any]:
    answer = await ask(server, given, **fields)
    assert answer.status == 200, answer.body
    response: dict[str, Any] = parse_typed_sse(answer.body)[-1]["response"] if fields.get("stream") else answer.json()
    validate_response(response)
    strict_openai_response(response)
    return response


def refused(answer: Answer) -> tuple[int, str, str]:
    error = answer.error()
    return answer.status, error["code"], error["param"]


NOT_CONTINUED = (404, "previous_response_not_found", "previous_response_id")
NOT_FOUND = (404, "response_not_found", "response_id")


def calling_once() -> TurnScript:
    """Thinks, says something and calls a tool, until there is a result."""

    def script(request: Any) -> Any:
        if request.prompt.text:
            return full_turn(ReasoningDelta("Hm"), "Let me see.", CALL, finish_reason="tool_calls")
        return full_turn("Done.")

    return script


@pytest.mark.parametrize("stream", [False, True])
async def test_a_continued_response_is_the_turn_of_its_whole_conversation(stream: bool) -> None:
    async with serving(calling_once()) as server:
        fields = {"tools": [READ], "stream": stream}
        first = await response_of(server, instructions="Only here.", **fields)
        assert (first["store"], first["previous_response_id"]) == (True, None)
        second = await response_of(server, [RESULT], previous_response_id=first["id"], **fields)
        assert (second["output"][0]["content"][0]["text"], second["previous_response_id"]) == ("Done.", first["id"])
        await response_of(server, "Thanks.", previous_response_id=second["id"], **fields)
        user = {"role": "user", "content": "Hi"}
        whole = [user, *first["output"], RESULT, *second["output"], {"role": "user", "content": "Thanks."}]
        await response_of(server, whole, **fields)
        *_, continued, whole_request = (turn.request for turn in server.backend.turns)
        assert continued == whole_request
        assert continued.system == ""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stored_response_is_retrieved_as_it_was_answered(stream: bool) -> None:
    async with serving(full_turn("Hello")) as server:
        response = await response_of(server, stream=stream, metadata={"a": "b"})
        answer = await server.get(f"{PATH}/{response['id']}")
        assert (answer.status, answer.json()) == (200, response)


async def test_input_items_are_the_conversation_before_the_output() -> None:
    async with serving() as server:
        first = await response_of(server, "One")
        second = await response_of(server, "Two", previous_response_id=first["id"])
        answer = await server.get(f"{PATH}/{second['id']}/input_items?order=asc&limit=2")
        page = answer.json()
        texts = [item["content"][0]["text"] for item in page["data"]]
        assert (texts, page["has_more"]) == (["One", first["output"][0]["content"][0]["text"]], True)
        answer = await server.get(f"{PATH}/{second['id']}/input_items?order=asc&after={page['last_id']}")
        assert [item["content"][0]["text"] for item in answer.json()["data"]] == ["Two"]
        assert refused(await server.get(f"{PATH}/{first['id']}/input_items?limit=0")) == (400, "invalid_value", "limit")
        assert refused(await server.get(f"{PATH}/resp_9/input_items")) == NOT_FOUND


async def test_a_deleted_response_and_its_items_are_gone() -> None:
    async with serving() as server:
        response = await response_of(server)
        path = f"{PATH}/{response['id']}"
        answer = await server.get(path, "DELETE")
        deleted = {"id": response["id"], "object": "response", "deleted": True}
        assert (answer.status, json.loads(answer.body)) == (200, deleted)
        assert refused(await server.get(path)) == refused(await server.get(path, "DELETE")) == NOT_FOUND
        assert refused(await ask(server, previous_response_id=response["id"])) == NOT_CONTINUED
        reference = {"type": "item_reference", "id": response["output"][0]["id"]}
        answer = await ask(server, [{"role": "user", "content": "Hi"}, reference])
        assert refused(answer) == (400, "invalid_value", "input[1]")
        assert len(server.backend.turns) == 1


async def test_an_unknown_response_is_404_and_starts_no_turn() -> None:
    async with serving() as server:
        answer = await ask(server, previous_response_id="resp_1")
        assert refused(answer) == NOT_CONTINUED
        assert answer.error()["message"].startswith("Previous response with id 'resp_1' not found. ")
        assert server.backend.turns == []


async def test_an_hour_after_its_last_use_a_response_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.memory.harness.LIMIT_S", 4 * HOUR_S)
    async with serving() as server:
        first = await response_of(server)
        await trio.sleep(HOUR_S - 1)
        second = await response_of(server, previous_response_id=first["id"])
        await trio.sleep(HOUR_S - 1)
        await response_of(server, previous_response_id=second["id"], store=False)
        await trio.sleep(HOUR_S + 1)
        assert refused(await ask(server, previous_response_id=second["id"])) == NOT_CONTINUED
        assert refused(await server.get(f"{PATH}/{first['id']}")) == NOT_FOUND


async def test_a_response_is_that_of_the_key_that_asked_for_it() -> None:
    async with serving() as server:
        mine = (await response_of(server, key="mine"))["id"]
        for headers in ({}, {"authorization": "Bearer other"}, {"x_api_key": "other"}):
            for target, method in ((mine, "GET"), (mine, "DELETE"), (f"{mine}/input_items", "GET")):
                assert refused(await server.get(f"{PATH}/{target}", method, **headers)) == NOT_FOUND
        for key in ("", "other"):
            assert refused(await ask(server, previous_response_id=mine, key=key)) == NOT_CONTINUED
        for headers in ({"authorization": "bearer mine"}, {"x_api_key": "mine"}):
            assert (await server.get(f"{PATH}/{mine}", **headers)).status == 200
        await response_of(server, previous_response_id=mine, key="mine")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("setting", "asked"), [(False, True), (False, None), (True, False)])
async def test_a_response_that_is_not_stored_says_so_and_is_not_found(
    setting: bool, asked: bool | None, stream: bool
) -> None:
    async with serving(store=setting) as server:
        response = await response_of(server, store=asked, stream=stream)
        assert response["store"] is False
        assert refused(await server.get(f"{PATH}/{response['id']}")) == NOT_FOUND
        assert refused(await ask(server, previous_response_id=response["id"])) == NOT_CONTINUED


async def test_a_response_that_failed_in_its_stream_is_stored_and_not_continued() -> None:
    async with serving((*full_turn("Hel")[:-1], Pause(1), TurnFailed(UpstreamError("It died.")))) as server:
        response = await response_of(server, stream=True)
        stored = (await server.get(f"{PATH}/{response['id']}")).json()
        assert (stored["status"], stored["output"][0]["content"][0]["text"]) == ("failed", "Hel")
        answer = await ask(server, previous_response_id=response["id"])
        assert refused(answer) == (400, "invalid_value", "previous_response_id")


async def test_a_response_whose_client_left_is_not_stored() -> None:
    async with serving((TurnStarted("claude"), Pause(11), Hang())) as server:
        client = server.connect()
        await client.post({"model": "claude-sonnet", "input": "Hi", "stream": True}, PATH)
        assert (await client.head())[0] == 200
        event = await client.event()
        assert isinstance(event, dict)
        begun = event["response"]["id"]
        assert refused(await server.get(f"{PATH}/{begun}")) == NOT_FOUND
        client.leave()
        await server.backend.turns[0].ended.wait()
        assert refused(await ask(server, previous_response_id=begun)) == NOT_CONTINUED


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("stream=true", (400, "unsupported_parameter", "stream")),
        ("stream=1", (400, "invalid_value", "stream")),
        ("stream=true&starting_after=-1", (400, "invalid_value", "starting_after")),
        ("stream=true&starting_after=1e3", (400, "invalid_value", "starting_after")),
    ],
)
async def test_a_response_that_was_not_in_the_background_is_not_streamed(
    query: str, refusal: tuple[int, str, str]
) -> None:
    async with serving() as server:
        response = await response_of(server)
        assert refused(await server.get(f"{PATH}/{response['id']}?{query}")) == refusal
        for of_no_stream in ("stream=false", "starting_after=3"):
            assert (await server.get(f"{PATH}/{response['id']}?{of_no_stream}")).json() == response
