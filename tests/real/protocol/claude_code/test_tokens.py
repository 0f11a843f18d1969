"""Claude's answer arrives unchanged: each delta a chunk of its own, thinking apart, the counts right.

Through the bundled CLI and the Agent SDK, read over raw sockets and with the real openai client.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from claude_openai.testing import Pause, Reply, Text, Thinking, Usage
from tests.http_client import texts
from tests.openai_schema import strict_openai_chunk, strict_openai_completion, validate
from tests.real.call import MODEL, Call, chat
from tests.real.harness import LIMIT_S, Served, needs_claude, on_both_backends, serving
from tests.sse_reader import Message

pytestmark = needs_claude

THOUGHTS = ("Let me", " think.\n", "\N{THINKING FACE}")
WORDS = ("Hel", "lo ", "\N{WAVING HAND SIGN}", "\r\n\n", "data: [DONE]\n\n", "\u2028", "  ", "ok")
USAGE = Usage(11, 7, cache_read_input_tokens=3, cache_creation_input_tokens=2, thinking_tokens=4)
REPLY = Reply(Thinking(*THOUGHTS), Text(*WORDS), usage=USAGE)
COUNTS = {
    "prompt_tokens": 16,
    "completion_tokens": 7,
    "total_tokens": 23,
    "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 4,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def without_cost(usage: dict[str, Any]) -> dict[str, Any]:
    """The counts of an answer, which also has dollars."""
    assert usage["cost_usd"] > 0
    return {name: value for name, value in usage.items() if name != "cost_usd"}


def a_thousand_pieces() -> list[str]:
    """Pieces that are easily joined, cut or lost: repeats, line ends, characters of one to four bytes."""
    alphabet = (
        "a",
        "a",
        "\n",
        "\n\n",
        "\r",
        " ",
        "\t",
        '"',
        "\\",
        "é",
        "\u2028",
        "漢字",
        "👩‍👩‍👧",
        "\ufeff",
        "\x1b[0m",
    )
    chooser = random.Random(1)  # noqa: S311 - the same pieces on every run
    return [chooser.choice(alphabet) for _ in range(1000)]


async def stream_of(served: Served, **fields: Any) -> list[Message]:
    async with Call.open(served.url, chat("Hi", stream=True, **fields)) as call:
        assert await call.status() == 200
        return await call.events()


def chunks_of(events: list[Message]) -> list[dict[str, Any]]:
    """The chunks of a whole stream, each checked against OpenAI's schema and types."""
    *chunks, last = events
    assert last == "[DONE]"
    found = [chunk for chunk in chunks if isinstance(chunk, dict)]
    assert len(found) == len(chunks)
    for chunk in found:
        validate("CreateChatCompletionStreamResponse", chunk)
        strict_openai_chunk(chunk)
    return found


@pytest.mark.long
@on_both_backends
async def test_a_thousand_deltas_are_a_thousand_chunks_in_their_order(tmp_path: Path, backend: str) -> None:
    pieces = a_thousand_pieces()
    async with serving(tmp_path, Reply(Text(*pieces)), backend=backend) as served:
        chunks = chunks_of(await stream_of(served))
        assert texts(chunks) == pieces
        assert len(chunks) == len(pieces) + 2
        assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
        assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
        assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


@on_both_backends
async def test_each_delta_is_sent_before_the_next_one_comes(tmp_path: Path, backend: str) -> None:
    said = [trio.Event() for _ in range(5)]
    pieces = [piece for number, event in enumerate(said) for piece in (f"{number} ", Pause(event))]
    reply = Reply(Text(*pieces))
    async with (
        serving(tmp_path, reply, backend=backend) as served,
        Call.open(served.url, chat("Hi", stream=True)) as call,
    ):
        assert await call.status() == 200
        for number, event in enumerate(said):
            await call.until_text(f"{number} ")
            event.set()
        assert (await call.events())[-1] == "[DONE]"


@pytest.mark.long
@on_both_backends
async def test_thinking_and_the_counts_arrive_in_a_stream(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, REPLY, backend=backend) as served:
        *chunks, last = chunks_of(await stream_of(served, stream_options={"include_usage": True}))
        assert texts(chunks, "reasoning_content") == list(THOUGHTS)
        assert texts(chunks, "reasoning") == list(THOUGHTS)
        assert texts(chunks) == list(WORDS)
        kinds = ["reasoning_content" in chunk["choices"][0]["delta"] for chunk in chunks]
        assert kinds == [False, *[True] * len(THOUGHTS), *[False] * len(WORDS), False]
        assert (last["choices"], without_cost(last["usage"])) == ([], COUNTS)
        assert all(chunk["usage"] is None for chunk in chunks)


@pytest.mark.long
async def test_no_usage_is_sent_unasked(tmp_path: Path) -> None:
    async with serving(tmp_path, REPLY) as served:
        assert not any("usage" in chunk for chunk in chunks_of(await stream_of(served)))


async def test_an_answer_that_is_not_streamed_is_the_sum_of_the_chunks(tmp_path: Path) -> None:
    async with serving(tmp_path, REPLY) as served, Call.open(served.url, chat("Hi")) as call:
        status, completion = await call.answer()
        assert status == 200
        validate("CreateChatCompletionResponse", completion)
        strict_openai_completion(completion)
        (choice,) = completion["choices"]
        assert choice["message"]["content"] == "".join(WORDS)
        assert choice["message"]["reasoning_content"] == choice["message"]["reasoning"] == "".join(THOUGHTS)
        assert (choice["finish_reason"], without_cost(completion["usage"])) == ("stop", COUNTS)


@pytest.mark.long
@on_both_backends
async def test_the_model_is_called_what_the_client_called_it(tmp_path: Path, backend: str) -> None:
    asked = {"claude": "claude-haiku", "claude-opus": "claude-opus", "claude-sonnet-4-5": "claude-sonnet-4-5"}
    async with serving(tmp_path, default_model="haiku", backend=backend) as served:
        for model, family in asked.items():
            async with Call.open(served.url, {**chat("Hi"), "model": model}) as call:
                _, completion = await call.answer()
            assert completion["model"] == model
            assert served.api.requests[-1].model.startswith(family)


STRICT: dict[str, Any] = {
    "api_key": "any",
    "max_retries": 0,
    "timeout": LIMIT_S / 2,
    "_strict_response_validation": True,
}
ASKED: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
STREAMED: dict[str, Any] = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}


def told_by_the_sync_client(url: str) -> tuple[Any, list[Any]]:
    with openai.OpenAI(base_url=f"{url}/v1", **STRICT) as client:
        return client.chat.completions.create(**ASKED), list(client.chat.completions.create(**STREAMED))


def told_by_the_async_client(url: str) -> tuple[Any, list[Any]]:
    # On asyncio: on trio the client leaves generators of its own to the garbage collector.
    async def ask() -> tuple[Any, list[Any]]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", **STRICT) as client:
            stream = await client.chat.completions.create(**STREAMED)
            return await client.chat.completions.create(**ASKED), [chunk async for chunk in stream]

    return asyncio.run(ask())


@pytest.mark.long
@pytest.mark.parametrize("told", [told_by_the_sync_client, told_by_the_async_client])
async def test_openai_package_parses_every_answer(tmp_path: Path, told: Callable[[str], tuple[Any, list[Any]]]) -> None:
    async with serving(tmp_path, REPLY) as served:
        completion, chunks = await trio.to_thread.run_sync(told, served.url)
        message = completion.choices[0].message
        assert (message.content, message.reasoning_content) == ("".join(WORDS), "".join(THOUGHTS))
        assert without_cost(completion.usage.to_dict()) == without_cost(chunks[-1].usage.to_dict()) == COUNTS
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        assert [delta.content for delta in deltas if delta.content] == list(WORDS)
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert completion._request_id.startswith("req_")
