"""Backends with bugs: each still gives its client an end, its slot back, and a line in the log.

A turn that raises, or returns without an end, is a failed turn. What it says after its end is dropped.
"""

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from claude_openai.claude.backend import Emit
from claude_openai.errors import ApiError, BadRequest, RateLimited, UpstreamError
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import Crash, Hang, ScriptedBackend, full_turn
from tests.http_client import texts
from tests.memory.client import Answer
from tests.memory.harness import chat, run_in_memory, serving

BUG = ValueError("a bug with sk-ant-abcdefghij in its words")
CRASHES = [BUG, trio.BrokenResourceError(), trio.EndOfChannel(), ExceptionGroup("in a nursery", [BUG])]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("bug", CRASHES, ids=repr)
async def test_a_turn_that_raises_first_is_500_and_says_nothing_of_the_bug(bug: Exception, stream: bool) -> None:
    async with serving((Crash(bug),), expected_errors=["run.crashed"]) as server:
        answer = await server.post(chat(stream=stream))
        assert (answer.status, answer.error()["code"]) == (500, "internal_error")
        assert "a bug with" not in answer.error()["message"]
        (record,) = server.logged("run.crashed")
        assert "sk-ant" not in str(record)
        assert record["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("bug", CRASHES, ids=repr)
async def test_a_turn_that_raises_in_the_middle_ends_in_an_error_event(bug: Exception) -> None:
    async with serving(
        (TurnStarted("claude"), TextDelta("Hel"), Crash(bug)), expected_errors=["run.crashed"]
    ) as server:
        *chunks, last = (await server.post(chat(stream=True))).events()
        assert texts(chunks) == ["Hel"]
        assert isinstance(last, dict)
        # No type that clients repeat: what Claude has begun to answer is paid for.
        assert (last["error"]["type"], last["error"]["code"]) == ("upstream_error", "internal_error")


@pytest.mark.parametrize("began", [True, False])
async def test_only_what_claude_has_not_begun_to_answer_may_be_repeated(began: bool) -> None:
    failed = TurnFailed(RateLimited("Slow down.", retry_after_s=1))
    async with serving((TurnStarted("claude"), failed) if began else (failed,)) as server:
        answer = await server.post(chat())
        assert answer.status == 429
        assert answer.headers.get("x-should-retry") == ("false" if began else None)


async def test_a_bug_before_claude_began_may_be_tried_again_and_one_after_it_never() -> None:
    # A `server_error` is repeated by OpenCode and others, in a stream too; what Claude has begun is paid for.
    async with serving((Crash(BUG),), expected_errors=["run.crashed"]) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.error()["type"]) == (500, "server_error")
        assert "x-should-retry" not in answer.headers
    async with serving((TurnStarted("claude"), Crash(BUG)), expected_errors=["run.crashed"]) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.error()["type"]) == (502, "upstream_error")
        assert answer.headers["x-should-retry"] == "false"
        *_, last = (await server.post(chat(stream=True))).events()
        assert isinstance(last, dict)
        assert last["error"]["type"] == "upstream_error"


async def test_an_error_may_be_tried_again_only_if_claude_had_not_begun() -> None:
    failed = TurnFailed(RateLimited("slow down", retry_after_s=3))
    async with serving((failed,)) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.headers["retry-after"]) == (429, "3")
        assert "x-should-retry" not in answer.headers
    async with serving((TurnStarted("claude"), TurnFailed(RateLimited("slow down", retry_after_s=3)))) as server:
        answer = await server.post(chat())
        assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    async with serving((TurnFailed(RateLimited("slow down", may_retry=False)),)) as server:
        assert (await server.post(chat())).headers["x-should-retry"] == "false"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_turn_without_an_end_is_a_failed_turn(stream: bool) -> None:
    async with serving(()) as server:
        answer = await server.post(chat(stream=stream))
        assert answer.status == 500
        assert answer.error()["message"] == "The backend stopped without a final event."


async def test_a_stream_without_an_end_ends_in_an_error_event() -> None:
    async with serving((TurnStarted("claude"), TextDelta("Hel"))) as server:
        *_, last = (await server.post(chat(stream=True))).events()
        assert isinstance(last, dict)
        assert last["error"]["message"] == "The backend stopped without a final event."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("late", [TextDelta("late"), TurnCompleted("length", Usage()), TurnFailed(BadRequest("late"))])
async def test_what_is_said_after_the_end_is_dropped_and_logged(late: Event, stream: bool) -> None:
    async with serving((*full_turn("Hi"), late), expected_errors=["run.event_after_end"]) as server:
        answer = await server.post(chat(stream=stream))
        assert answer.status == 200
        assert b"late" not in answer.body
        assert b'"finish_reason":"stop"' in answer.body
        await server.admission.wait_idle()
        assert [record["state"] for record in server.logged("run.end")] == ["completed"]


async def test_a_turn_that_raises_after_its_end_has_completed_all_the_same() -> None:
    async with serving((*full_turn("Hi"), Crash(BUG)), expected_errors=["run.crashed"]) as server:
        assert texts((await server.post(chat(stream=True))).events()) == ["Hi"]


class FailsInCleanup(ScriptedBackend):
    """Raises when it is cancelled, beside a task that is cancelled too: the group that leaves holds both."""

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().turn, request, emit, log)
            try:
                await trio.sleep_forever()
            finally:
                raise BUG


async def test_a_cleanup_that_fails_when_the_client_leaves_is_logged_and_harms_nobody() -> None:
    backend = FailsInCleanup((TurnStarted("claude"), Hang()))
    async with serving(backend, max_concurrency=1, expected_errors=["run.crashed"]) as server:
        client = await server.streaming()
        client.leave()
        await wait_all_tasks_blocked()
        server.assert_free()
        assert "a bug with" in server.logged("run.crashed")[0]["error"]
        assert server.logged("run.end")[0]["state"] == "cancelled"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_cleanup_that_fails_after_the_timeout_does_not_hide_the_timeout(stream: bool) -> None:
    settings: dict[str, Any] = {"process_timeout_ms": 8_000, "expected_errors": ["run.crashed"]}
    async with serving(FailsInCleanup((Hang(),)), **settings) as server:
        answer = await server.post(chat(stream=stream))
        assert (answer.status, answer.error()["code"]) == (504, "timeout")


short_text = st.text(max_size=4)
errors = st.sampled_from([UpstreamError("it died"), RateLimited("slow down", retry_after_s=3), BadRequest("no")])
reasons: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length", "content_filter", "tool_calls"])
any_event: st.SearchStrategy[Event] = st.one_of(
    st.just(TurnStarted("claude")),
    st.builds(TextDelta, short_text),
    st.builds(ReasoningDelta, short_text),
    st.builds(ToolCall, st.text("ab", min_size=1, max_size=3), st.just("read"), st.just('{"path": "/a"}')),
    st.builds(TurnCompleted, reasons, st.builds(Usage, st.integers(0, 9), st.integers(0, 9))),
    st.builds(TurnFailed, errors),
)


def folded(answer: Answer) -> dict[str, Any]:
    """What a client makes of an answer, streamed or not, in one shape."""
    if answer.headers["content-type"] == "application/json":
        if answer.status != 200:
            return {"error": answer.error()}
        body = answer.json()
        message, reason = body["choices"][0]["message"], body["choices"][0]["finish_reason"]
        said, thought = message["content"] or "", message.get("reasoning_content", "")
        calls = message.get("tool_calls", [])
        return {"said": said, "thought": thought, "calls": calls, "reason": reason, "usage": body["usage"]}
    events = [event for event in answer.events() if isinstance(event, dict)]
    if "error" in events[-1]:
        return {"error": events[-1]["error"]}
    said, thought = "".join(texts(events)), "".join(texts(events, "reasoning_content"))
    reason = events[-2]["choices"][0]["finish_reason"]
    calls = called(events)
    return {"said": said, "thought": thought, "calls": calls, "reason": reason, "usage": events[-1]["usage"]}


def called(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls as a client adds them up, by their index."""
    calls: list[dict[str, Any]] = []
    for delta in (choice["delta"] for event in events for choice in event["choices"]):
        for piece in delta.get("tool_calls", ()):
            if piece["index"] == len(calls):
                calls.append({**piece, "function": {**piece["function"], "arguments": ""}})
                del calls[-1]["index"]
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return calls


def refusal(error: ApiError) -> dict[str, Any]:
    return {"error": error.body()["error"]}


@settings(max_examples=60)
@given(st.lists(any_event, max_size=8))
def test_any_turn_says_the_same_streamed_or_not(events: list[Event]) -> None:
    async def main() -> None:
        ends = [event for event in events if isinstance(event, TurnCompleted | TurnFailed)]
        expected = ["run.event_after_end"] if ends and events[-1] is not ends[0] else []
        async with serving(tuple(events), expected_errors=expected) as server:
            whole = folded(await server.post(chat()))
            streamed = await server.post(chat(stream=True, stream_options={"include_usage": True}))
            assert folded(streamed) == whole
            if ends and isinstance(ends[0], TurnFailed):
                assert whole == refusal(ends[0].error)
            await server.admission.wait_idle()

    run_in_memory(main)
