"""The status line waits for Claude's first word, so that a turn that cannot start has its true status code."""

import pytest
import trio

from claude_openai.errors import (
    ApiError,
    ContextTooLong,
    InternalError,
    QuotaExhausted,
    RateLimited,
    TurnTimeout,
    UpstreamAuth,
    UpstreamError,
)
from claude_openai.protocol.turn.events import ReasoningDelta, TextDelta, TurnFailed, TurnStarted
from claude_openai.testing import Hang, Pause, TurnStep, full_turn
from tests.http_client import texts
from tests.memory.harness import chat, serving

FAILURES = [
    (ContextTooLong("too long", param="messages"), 400, {}),
    (UpstreamAuth("not logged in", may_retry=False), 403, {"x-should-retry": "false"}),
    (RateLimited("slow down", retry_after_s=7), 429, {"retry-after": "7"}),
    (QuotaExhausted("all used", retry_after_s=900, may_retry=False), 429,
     {"retry-after": "900", "x-should-retry": "false"}),
    (InternalError("a bug"), 500, {}),
    (UpstreamError("it died"), 502, {}),
    (TurnTimeout("too slow", may_retry=False), 504, {"x-should-retry": "false"}),
]  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("error", "status", "headers"), FAILURES)
async def test_a_turn_that_fails_first_gives_its_own_status_and_headers(
    error: ApiError, status: int, headers: dict[str, str], stream: bool
) -> None:
    async with serving((Pause(5), TurnFailed(error))) as server:
        answer = await server.post(chat(stream=stream))
        assert answer.status == status
        assert {"error": answer.error()} == error.body()
        steering = ("retry-after", "x-should-retry")
        assert {name: answer.headers[name] for name in steering if name in answer.headers} == headers


@pytest.mark.parametrize("first", [TurnStarted("claude"), TextDelta("Hi"), ReasoningDelta("Hm")])
async def test_the_status_is_200_as_soon_as_the_turn_says_anything(first: TurnStep) -> None:
    async with serving((Pause(4), first, Hang())) as server:
        client = server.connect()
        await client.post(chat(stream=True))
        assert (await client.head())[0] == 200
        assert trio.current_time() == 4


async def test_after_the_hold_the_status_is_200_and_comments_keep_the_stream_alive() -> None:
    script = full_turn("at last")
    async with serving((Pause(100), *script), hold_status_ms=10_000, comment_interval_ms=15_000) as server:
        client = await server.streaming()
        assert trio.current_time() == 10
        await client.event()
        assert trio.current_time() == 100
        assert client.comments == ["keep-alive"] * 6  # at 25, 40, 55, 70, 85 and 100 s less the last one's tie
        await client.until_text("at last")


async def test_comments_come_in_the_middle_of_an_answer_as_well() -> None:
    async with serving(full_turn("one", Pause(50), "two"), comment_interval_ms=15_000) as server:
        client = await server.streaming()
        await client.until_text("two")
        assert trio.current_time() == 50
        assert client.comments == ["keep-alive"] * 3


async def test_a_talking_turn_needs_no_comments() -> None:
    said = [step for number in range(20) for step in (f"{number} ", Pause(14))]
    async with serving(full_turn(*said), process_timeout_ms=1_000_000, comment_interval_ms=15_000) as server:
        client = await server.streaming()
        await client.until_text("19 ")
        assert client.comments == []


@pytest.mark.parametrize("said", [(), (TextDelta("Hel"), TextDelta("lo"))])
async def test_a_failure_after_the_status_line_is_one_error_event_and_done(said: tuple[TurnStep, ...]) -> None:
    error = UpstreamError("it died")
    async with serving((TurnStarted("claude"), *said, Pause(1), TurnFailed(error))) as server:
        answer = await server.post(chat(stream=True))
        assert answer.status == 200
        *chunks, last = answer.events()
        assert last == error.body()
        assert texts(chunks) == [step.text for step in said if isinstance(step, TextDelta)]
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks if isinstance(chunk, dict))


async def test_a_failure_after_a_silent_hold_is_an_error_event_too() -> None:
    error = RateLimited("slow down", retry_after_s=7)
    async with serving((Pause(11), TurnFailed(error)), hold_status_ms=10_000) as server:
        answer = await server.post(chat(stream=True))
        assert answer.status == 200
        assert "retry-after" not in answer.headers
        assert answer.events() == [error.body()]


async def test_a_failure_in_the_middle_has_its_own_status_when_nothing_is_streamed() -> None:
    async with serving((TurnStarted("claude"), TextDelta("Hel"), TurnFailed(UpstreamError("it died")))) as server:
        answer = await server.post(chat())
        assert answer.status == 502
        assert answer.error()["message"] == "it died"
