"""The route of OpenAI's older completions: it shares everything but the shape of what it says with chat completions."""

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import QueueFull, RateLimited, UpstreamError
from claude_openai.protocol.turn.events import ReasoningDelta, TextDelta, TurnFailed, TurnStarted
from claude_openai.testing import Hang
from tests.memory.harness import serving
from tests.openai_schema import strict_openai_text_completion
from tests.scripted_backend import full_turn

PATH = "/v1/completions"


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet", "prompt": "Hi", **fields}


async def test_an_answer_that_is_not_streamed_is_one_text_completion() -> None:
    async with serving(full_turn(ReasoningDelta("Hm"), "Hel", "lo", finish_reason="length")) as server:
        answer = await server.post(body(max_tokens=5), PATH)
        completion = strict_openai_text_completion(answer.json())
        (choice,) = completion.choices
        assert (choice.text, choice.finish_reason, choice.logprobs) == ("Hello", "length", None)
        assert completion.id.startswith("cmpl-")
        assert completion.usage is not None
        assert completion.usage.completion_tokens == 5
        assert answer.headers["x-claude-openai-run"]
        assert answer.headers["x-claude-openai-conversation"] == "new"
        (turn,) = server.backend.turns
        assert (turn.request.prompt.text, turn.request.max_tokens) == ("Hi", 5)


async def test_a_stream_has_its_texts_the_reason_of_its_end_and_the_usage() -> None:
    async with serving(full_turn(ReasoningDelta("Hm"), "Hel", "lo")) as server:
        answer = await server.post(body(stream=True, stream_options={"include_usage": True}), PATH)
        *chunks, last = [strict_openai_text_completion(event) for event in answer.events() if isinstance(event, dict)]
        assert [chunk.choices[0].text for chunk in chunks] == ["Hel", "lo", ""]
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert (last.choices, last.usage is not None) == ([], True)
        assert len({chunk.id for chunk in (*chunks, last)}) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_answer_has_its_status(stream: bool) -> None:
    async with serving((TurnFailed(RateLimited("Later.", retry_after_s=7)),)) as server:
        answer = await server.post(body(stream=stream), PATH)
        assert (answer.status, answer.error()["message"], answer.headers["retry-after"]) == (429, "Later.", "7")


async def test_a_failure_in_a_stream_is_an_error_at_its_end_and_no_finish_reason() -> None:
    script = (TurnStarted("claude"), TextDelta("Hel"), TurnFailed(UpstreamError("It broke off.")))
    async with serving(script) as server:
        answer = await server.post(body(stream=True), PATH)
        first, error = answer.events()
        assert isinstance(first, dict)
        assert isinstance(error, dict)
        assert (first["choices"][0]["text"], first["choices"][0]["finish_reason"]) == ("Hel", None)
        assert error["error"]["message"] == "It broke off."


async def test_a_stream_without_an_event_or_a_text_gets_comments() -> None:
    async with serving((TurnStarted("claude"), ReasoningDelta("Hm"), Hang())) as server:
        client = server.connect()
        await client.post(body(stream=True), PATH)
        assert (await client.head())[0] == 200
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


async def test_the_key_is_asked_for() -> None:
    async with serving(api_key="k") as server:
        assert (await server.post(body(), PATH)).error()["code"] == "invalid_api_key"
        assert (await server.post(body(), PATH, authorization="Bearer no")).status == 401
        assert server.backend.turns == []
        assert (await server.post(body(), PATH, authorization="Bearer k")).status == 200


async def test_stop_sequences_cut_the_text() -> None:
    async with serving(full_turn("one E", "ND two")) as server:
        (choice,) = (await server.post(body(stop="END"), PATH)).json()["choices"]
        assert (choice["text"], choice["finish_reason"]) == ("one ", "stop")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"prompt": ["a", "b"]}, 400, "prompt"),
        ({"suffix": "end"}, 400, "suffix"),
        ({"claude": {"toolmode": "all"}}, 400, "claude.toolmode"),
        ({"model": "gpt-3.5-turbo-instruct"}, 404, "model"),
    ],
)
async def test_a_request_that_cannot_be_done_is_refused_by_name(
    fields: dict[str, Any], status: int, param: str
) -> None:
    async with serving() as server:
        answer = await server.post(body(**fields), PATH)
        assert (answer.status, answer.error()["param"]) == (status, param)
        assert server.backend.turns == []


async def test_a_body_that_is_no_json_and_a_wrong_method_are_refused() -> None:
    async with serving() as server:
        answer = await server.ask("POST", PATH, b"{", headers={"content-type": "application/json"})
        assert answer.error()["code"] == "invalid_json"
        assert (await server.get(PATH)).error()["code"] == "method_not_allowed"


async def test_a_full_queue_refuses() -> None:
    async with serving((Hang(),), max_concurrency=1, max_queue_size=0) as server:
        client = server.connect()
        await client.post(body(stream=True), PATH)
        await server.backend.wait_for_turn()
        assert (await server.post(body(), PATH)).status == QueueFull.status


async def test_requests_are_counted_by_their_path() -> None:
    async with serving() as server:
        await server.post(body(), PATH)
        assert f'route="{PATH}",status="200"' in (await server.get("/metrics")).body.decode()
