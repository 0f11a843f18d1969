"""The route of Claude's Messages API: it shares everything but the shape of what it says with chat completions."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import QueueFull, RateLimited, UpstreamError
from claude_openai.protocol.turn.events import (
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolCall,
    TurnFailed,
    TurnStarted,
)
from claude_openai.testing import Hang
from tests.anthropic_package import strict_anthropic_event, strict_anthropic_message
from tests.memory.client import Answer
from tests.memory.harness import Server, serving
from tests.scripted_backend import full_turn
from tests.sse_reader import parse_typed_sse

PATH = "/v1/messages"
VERSION = {"anthropic_version": "2023-06-01"}
UNKNOWN_BETA = {"anthropic_beta": "unknown-2030-01-01"}
READ = {"name": "read", "input_schema": {"type": "object"}}
ADAPTIVE = {"type": "adaptive"}
CALL = ToolCall("toolu_1", "read", '{"a":1}')


def body(text: str = "Hi", **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "claude-sonnet", "max_tokens": 100, "messages": messages, **fields}


async def events_of(server: Server, **fields: Any) -> list[dict[str, Any]]:
    answer = await server.post(body(stream=True, **fields), PATH, **VERSION)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    events = parse_typed_sse(answer.body)
    for event in events:
        if event["type"] != "error":
            strict_anthropic_event(event)
    return events


def refused(answer: Answer, status: int, kind: str) -> str:
    """Check a refusal in Claude's form and return its message."""
    error = answer.json()
    assert (answer.status, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error.keys() == {"type", "error", "request_id"}
    assert error["error"].keys() == {"type", "message"}
    assert error["request_id"] == answer.headers["request-id"] == answer.headers["x-request-id"]
    message: str = error["error"]["message"]
    assert message
    return message


async def test_an_answer_that_is_not_streamed_is_one_message() -> None:
    thought = (ReasoningDelta("Hm"), ReasoningEnd("sig"))
    async with serving(full_turn(*thought, "Hel", "lo", CALL, finish_reason="tool_calls")) as server:
        answer = await server.post(body(tools=[READ], thinking=ADAPTIVE), PATH, **VERSION, **UNKNOWN_BETA)
        message = strict_anthropic_message(answer.json())
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
        assert (message.stop_reason, message.usage.output_tokens, message.model) == ("tool_use", 5, "claude-sonnet")
        assert answer.headers["x-claude-openai-run"]


async def test_a_stream_has_all_events_in_their_order() -> None:
    thought = (ReasoningDelta("Hm"), ReasoningEnd("sig"))
    async with serving(full_turn(*thought, "Hel", "lo", CALL, finish_reason="tool_calls")) as server:
        names = [event["type"] for event in await events_of(server, tools=[READ], thinking=ADAPTIVE)]
        start, delta, stop = "content_block_start", "content_block_delta", "content_block_stop"
        blocks = [start, delta, delta, stop, start, delta, delta, stop, start, delta, stop]
        assert names == ["message_start", *blocks, "message_delta", "message_stop"]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_stop_sequence_that_was_found_is_named(stream: bool) -> None:
    async with serving(full_turn("one E", "ND two")) as server:
        fields: dict[str, Any] = {"stop_sequences": ["END", "x"]}
        if stream:
            found = (await events_of(server, **fields))[-2]["delta"]
        else:
            found = (await server.post(body(**fields), PATH)).json()
            assert found["content"] == [{"type": "text", "text": "one "}]
        assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_answer_has_its_status(stream: bool) -> None:
    failure = (TurnFailed(RateLimited("Later.", retry_after_s=7)),)
    async with serving(failure) as server:
        answer = await server.post(body(stream=stream), PATH)
        assert refused(answer, 429, "rate_limit_error") == "Later."
        assert answer.headers["retry-after"] == "7"


async def test_a_failure_in_a_stream_is_an_error_event_at_its_end() -> None:
    script = (TurnStarted("claude"), TextDelta("Hel"), TurnFailed(UpstreamError("It broke off.")))
    async with serving(script) as server:
        *_, delta, error = await events_of(server)
        assert delta["type"] == "content_block_delta"
        assert error["error"] == {"type": "api_error", "message": "It broke off."}
        assert error["request_id"] == server.request_ids[-1]


async def test_a_stream_that_waits_for_its_first_event_gets_comments() -> None:
    async with serving((Hang(),)) as server:
        client = server.connect()
        await client.post(body(stream=True), PATH)
        await client.head()
        await client.comment()
        await client.comment()


async def test_a_client_that_leaves_cancels_its_turn() -> None:
    async with serving((TurnStarted("claude"), TextDelta("Hel"), Hang())) as server:
        client = server.connect()
        await client.post(body(stream=True), PATH)
        await client.head()
        await client.event()
        client.leave()
        await wait_all_tasks_blocked()
        assert server.backend.turns[0].outcome == "cancelled"
        await server.admission.wait_idle()
        server.assert_free()


@pytest.mark.parametrize("headers", [{"x_api_key": "k"}, {"authorization": "Bearer k"}])
async def test_the_key_may_be_in_either_header(headers: dict[str, str]) -> None:
    async with serving(api_key="k") as server:
        for path in (PATH, "/v1/chat/completions"):
            assert (await server.post(body(), path, **headers)).status == 200
        both = {"x_api_key": "wrong", "authorization": "Bearer wrong", **headers}
        assert (await server.post(body(), PATH, **both)).status == 200


async def test_guards_refuse_in_claudes_form() -> None:
    async with serving(api_key="k", max_request_bytes=1000) as server:
        assert "missing" in refused(await server.post(body(), PATH), 401, "authentication_error")
        assert "wrong" in refused(await server.post(body(), PATH, x_api_key="no"), 401, "authentication_error")
        key = {"x_api_key": "k"}
        refused(await server.post(body(), PATH, host="evil.example", **key), 403, "permission_error")
        refused(await server.post(body(), PATH, origin="http://evil.example", **key), 403, "permission_error")
        refused(await server.post(body(), PATH, content_type="text/plain", **key), 415, "invalid_request_error")
        refused(await server.post(body("x" * 1000), PATH, **key), 413, "request_too_large")
        refused(await server.post(body(), f"{PATH}/batches", **key), 404, "not_found_error")
        refused(await server.get(PATH, **key), 405, "invalid_request_error")
        assert server.backend.turns == []


@pytest.mark.parametrize(
    ("fields", "status", "kind", "named"),
    [
        ({"max_tokens": "many"}, 400, "invalid_request_error", "max_tokens"),
        ({"model": "gpt-4o"}, 404, "not_found_error", "gpt-4o"),
        ({"tools": [{"type": "web_search_20250305"}]}, 400, "invalid_request_error", "web_search_20250305"),
    ],
)
async def test_a_request_that_cannot_be_done_is_refused_by_name(
    fields: dict[str, Any], status: int, kind: str, named: str
) -> None:
    async with serving() as server:
        assert named in refused(await server.post(body(**fields), PATH), status, kind)
        assert server.backend.turns == []


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with serving() as server:
        answer = await server.ask("POST", PATH, b"{", headers={"content-type": "application/json"})
        assert "JSON" in refused(answer, 400, "invalid_request_error")


async def test_a_full_queue_refuses() -> None:
    async with serving((Hang(),), max_concurrency=1, max_queue_size=0) as server:
        client = server.connect()
        await client.post(body(stream=True), PATH)
        await server.backend.wait_for_turn()
        answer = await server.post(body(), PATH)
        refused(answer, QueueFull.status, "rate_limit_error")
        assert int(answer.headers["retry-after"]) > 0


async def test_counting_tokens_is_refused() -> None:
    async with serving() as server:
        answer = await server.post(body(), f"{PATH}/count_tokens")
        assert "not supported" in refused(answer, 404, "not_found_error")


async def test_models_have_claudes_form_for_its_clients_and_openais_for_others() -> None:
    async with serving() as server:
        page = (await server.get("/v1/models", **VERSION)).json()
        ids = [model["id"] for model in page["data"]]
        assert (page["has_more"], page["first_id"], page["last_id"]) == (False, ids[0], ids[-1])
        assert {model["type"] for model in page["data"]} == {"model"}
        model = (await server.get(f"/v1/models/{ids[0]}", **VERSION)).json()
        assert model == page["data"][0]
        assert model.keys() >= {"id", "display_name", "created_at", "lifecycle"}
        refused(await server.get("/v1/models/gpt-4o", **VERSION), 404, "not_found_error")
        of_openai = (await server.get("/v1/models")).json()
        assert [each["id"] for each in of_openai["data"]] == ids
        assert (await server.get("/v1/models/gpt-4o")).error()["code"] == "model_not_found"


async def test_the_same_turn_over_each_api_is_the_same_request() -> None:
    async with serving() as server:
        await server.post(body(), PATH)
        await server.post({**body(), "max_tokens": 100}, "/v1/chat/completions")
        await server.post({"model": "claude-sonnet", "prompt": "Hi", "max_tokens": 100}, "/v1/completions")
        await server.post({"model": "claude-sonnet", "input": "Hi", "max_output_tokens": 100}, "/v1/responses")
        first, *others = [turn.request for turn in server.backend.turns]
        for other in others:
            for name in ("claude_model", "system", "turns", "prompt", "tools", "tool_choice", "max_tokens", "user"):
                assert getattr(other, name) == getattr(first, name)
        await trio.lowlevel.checkpoint()
