"""What a client gets when all goes well, held against OpenAI's schema and its own Python models."""

from typing import Any

import pytest
import trio

from claude_openai.protocol.turn.events import ReasoningDelta, Usage
from claude_openai.testing import Pause, ScriptedBackend, deltas, full_turn
from tests.http_client import texts
from tests.memory.harness import chat, serving
from tests.openai_schema import strict_openai_chunk, strict_openai_completion, strict_openai_model, validate
from tests.sse_reader import Message

LISTED = ["claude-sonnet", "claude-opus", "claude-haiku"]


def checked_chunks(events: list[Message]) -> list[dict[str, Any]]:
    chunks = [event for event in events if isinstance(event, dict)]
    for chunk in chunks:
        validate("CreateChatCompletionStreamResponse", chunk)
        strict_openai_chunk(chunk)
    return chunks


async def test_an_answer_that_is_not_streamed_is_one_chat_completion() -> None:
    async with serving(full_turn("Hel", "lo", usage=Usage(3, 4, 5, 6, 2))) as server:
        answer = await server.post(chat())
        assert answer.status == 200
        body = answer.json()
        validate("CreateChatCompletionResponse", body)
        strict_openai_completion(body)
        assert body["model"] == "claude-sonnet"
        assert body["choices"][0]["message"]["content"] == "Hello"
        assert body["choices"][0]["finish_reason"] == "stop"
        assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (12, 6)


async def test_a_streamed_answer_is_chunks_of_one_completion_and_done() -> None:
    async with serving(full_turn("Hel", "lo")) as server:
        answer = await server.post(chat(stream=True))
        assert answer.status == 200
        assert answer.headers["x-accel-buffering"] == "no"
        chunks = checked_chunks(answer.events())
        assert texts(chunks) == ["Hel", "lo"]
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


async def test_the_usage_comes_as_the_last_chunk_when_it_was_asked_for() -> None:
    async with serving(full_turn("Hi")) as server:
        answer = await server.post(chat(stream=True, stream_options={"include_usage": True}))
        *chunks, last = checked_chunks(answer.events())
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == 15
        assert all(chunk["usage"] is None for chunk in chunks)


async def test_thinking_goes_under_keys_of_its_own_in_both_shapes() -> None:
    async with serving(full_turn(ReasoningDelta("Hm"), "Yes")) as server:
        streamed = await server.post(chat(stream=True))
        whole = await server.post(chat())
        assert texts(streamed.events(), "reasoning_content") == texts(streamed.events(), "reasoning") == ["Hm"]
        assert texts(streamed.events()) == ["Yes"]
        assert whole.json()["choices"][0]["message"]["reasoning_content"] == "Hm"
        assert whole.json()["choices"][0]["message"]["content"] == "Yes"


async def test_each_delta_leaves_as_soon_as_it_is_said() -> None:
    async with serving(full_turn("one", Pause(3), "two")) as server:
        client = await server.streaming()
        await client.until_text("one")
        assert trio.current_time() == 0
        await client.until_text("two")
        assert trio.current_time() == 3


async def test_no_delta_of_a_burst_is_joined_or_lost() -> None:
    async with serving(full_turn(*deltas(5000, "ab"))) as server:
        answer = await server.post(chat(stream=True))
        assert texts(answer.events()) == ["ab"] * 5000


async def test_the_backend_is_asked_what_the_client_asked() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as server:
        await server.post(chat("What?", user="me", reasoning_effort="low"))
        request = backend.turns[0].request
        assert request.prompt.text == "What?"
        assert (request.claude_model, request.user, request.reasoning_effort) == ("sonnet", "me", "low")


async def test_ids_are_never_given_twice() -> None:
    async with serving() as server:
        answers = [await server.post(chat()) for _ in range(10)]
        assert len({answer.json()["id"] for answer in answers}) == 10
        assert len({answer.headers["x-request-id"] for answer in answers}) == 10


async def test_health_answers_without_a_key_and_without_claude() -> None:
    async with serving(api_key="a-secret-key") as server:
        answer = await server.get("/health")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
        assert server.backend.turns == []


async def test_the_models_are_listed_in_openais_form() -> None:
    async with serving(models=("local/one",)) as server:
        answer = await server.get("/v1/models")
        validate("ListModelsResponse", answer.json())
        for model in answer.json()["data"]:
            strict_openai_model(model)
        assert [model["id"] for model in answer.json()["data"]] == ["local/one"]


@pytest.mark.parametrize("path", ["claude-opus", "local/one", "local%2Fone", "l%6Fcal/one"])
async def test_one_model_is_found_by_its_name_however_it_is_encoded(path: str) -> None:
    async with serving(models=("local/one",)) as server:
        answer = await server.get(f"/v1/models/{path}")
        validate("Model", answer.json())
        assert answer.json()["id"] in ("claude-opus", "local/one")


@pytest.mark.parametrize("name", ["claude", "sonnet", "claude-sonnet-4-5", "claude-opus-4-1@20250805"])
async def test_a_model_that_a_completion_takes_is_found_even_if_it_is_not_listed(name: str) -> None:
    async with serving() as server:
        answer = await server.get(f"/v1/models/{name}")
        validate("Model", answer.json())
        assert answer.json()["id"] == (await server.post(chat(model=name))).json()["model"] == name


async def test_head_gives_the_headers_of_get_and_no_body() -> None:
    async with serving() as server:
        got, headed = await server.get("/v1/models"), await server.get("/v1/models", "HEAD")
        assert (headed.status, headed.body) == (200, b"")
        for name in ("content-type", "content-length"):
            assert headed.headers[name] == got.headers[name]


async def test_options_says_which_methods_there_are() -> None:
    async with serving() as server:
        answer = await server.get("/v1/chat/completions", "OPTIONS")
        assert (answer.status, answer.body) == (200, b"")
        assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}
        assert "access-control-allow-origin" not in answer.headers
