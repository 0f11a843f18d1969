"""Turns through the whole stack are recorded when they end, fail or are cancelled, and no turn fails because of it."""

import errno
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Answer, Call, Cancelled, Completed, Entry, Failed, Passage
from claude_openai.cassettes.file import read_cassette
from claude_openai.cassettes.masking import make_mask
from claude_openai.cassettes.matching import next_answer
from claude_openai.cassettes.recorder import Recorder
from claude_openai.errors import RateLimited, RunCancelled
from claude_openai.logs.redaction import MASK
from claude_openai.protocol.turn.events import ReasoningDelta, ReasoningEnd, ToolCall, TurnFailed, TurnStarted, Usage
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import Hang, Pause
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import TurnStep, full_turn

COMPLETIONS = "/v1/completions"
RESPONSES = "/v1/responses"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    COMPLETIONS: {"prompt": "Hi"},
    RESPONSES: {"input": "Hi"},
}
USAGE = Usage(input_tokens=10, output_tokens=5)
GET = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}


@asynccontextmanager
async def recording(
    path: Path, script: Any, *, keep_times: bool = False, secrets: Iterable[str] = (), **settings: Any
) -> AsyncIterator[Server]:
    """A server that records; the cassette is complete after the block."""
    recorder = partial(Recorder, path, keep_times=keep_times, secrets=secrets)
    async with serving(script, recorder=lambda log: recorder(log=log), **settings) as server:
        yield server
    assert server.recorder is not None
    server.recorder.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "turns.jsonl"


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def entries(path: Path) -> tuple[Entry, ...]:
    return read_cassette(path).entries


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", BODIES)
async def test_turn_is_recorded_with_its_request_and_answer(path: Path, stream: bool, target: str) -> None:
    script = full_turn(ReasoningDelta("Hm"), "Hel", "lo")
    body = {"model": "claude-sonnet", **BODIES[target], **({"stream": True} if stream else {})}
    async with recording(path, script) as server:
        assert (await server.post({**body, "user": "me"}, target, authorization="Bearer sk-mine")).status == 200
    (entry,) = entries(path)
    assert (entry.request.path, entry.request.body) == (target, body)
    content = (Passage("thinking", "Hm"), Passage("text", "Hello"))
    assert entry.answer == Answer(content, Completed("stop", USAGE), "claude-scripted")
    assert "sk-mine" not in text_of(path)


async def test_tool_loop_is_recorded_with_named_ids_and_answers_a_program_with_other_ids(path: Path) -> None:
    def script(request: TurnRequest) -> tuple[TurnStep, ...]:
        if request.prompt.has_results:
            return full_turn("It is 42.")
        return full_turn(ToolCall("toolu_01XyZ", "get", '{"q": 1}'), finish_reason="tool_calls")

    first = chat("Get it", tools=[GET])
    async with recording(path, script) as server:
        message = (await server.post(first)).json()["choices"][0]["message"]
        call = message["tool_calls"][0]
        result = {"role": "tool", "tool_call_id": call["id"], "content": "42"}
        second = {**first, "messages": [*first["messages"], message, result]}
        assert (await server.post(second)).status == 200
    one, two = entries(path)
    assert one.answer.content == (Call("toolu_1", "get", {"q": 1}),)
    assert two.request.body["messages"][1]["tool_calls"][0]["id"] == "toolu_1"
    assert two.request.body["messages"][2]["tool_call_id"] == "toolu_1"
    assert "XyZ" not in text_of(path)
    call["id"] = result["tool_call_id"] = "another"
    entry, left = next_answer(read_cassette(path), ClientRequest.of("/v1/chat/completions", second, make_mask()))
    assert (entry, left.entries) == (two, (one,))


async def test_second_recording_continues_the_file_with_new_names(path: Path) -> None:
    for call_id in ("toolu_a", "toolu_b"):
        async with recording(path, full_turn(ToolCall(call_id, "get", "{}"), finish_reason="tool_calls")) as server:
            await server.post(chat("Hi", tools=[GET]))
    calls = [entry.answer.content[0] for entry in entries(path)]
    assert calls == [Call("toolu_1", "get", {}), Call("toolu_2", "get", {})]


@pytest.mark.parametrize("answering", [False, True])
async def test_turn_that_failed_is_recorded_with_its_error(path: Path, answering: bool) -> None:
    error = RateLimited("Wait.", retry_after_s=7)
    begun = (TurnStarted("m"), ReasoningDelta("Hm")) if answering else ()
    async with recording(path, (*begun, TurnFailed(error))) as server:
        assert (await server.post(chat())).status == 429
    (entry,) = entries(path)
    assert entry.answer.content == ((Passage("thinking", "Hm"),) if answering else ())
    expected = Failed(429, "rate_limit_error", "rate_limit_exceeded", "Wait.", None, 7, may_retry=not answering)
    assert entry.answer.end == expected


async def test_turn_whose_client_left_is_recorded_as_far_as_it_came(path: Path) -> None:
    async with recording(path, full_turn("Hel", Hang())) as server:
        client = await server.streaming()
        await client.until_text("Hel")
        client.leave()
        (turn,) = server.backend.turns
        await turn.ended.wait()
    (entry,) = entries(path)
    assert entry.answer == Answer((Passage("text", "Hel"),), Cancelled(), "claude-scripted")


async def test_turn_over_the_messages_api_is_recorded_without_signatures(path: Path) -> None:
    thought: list[TurnStep] = [
        ReasoningDelta("H"),
        ReasoningDelta("m"),
        ReasoningEnd("sig"),
        ReasoningEnd(redacted="x"),
    ]
    async with recording(path, full_turn(*thought, "Hi")) as server:
        assert (await server.post(chat(system="Be brief."), "/v1/messages")).status == 200
    (entry,) = entries(path)
    assert (entry.request.path, entry.request.body["system"]) == ("/v1/messages", "Be brief.")
    assert entry.answer.content == (Passage("thinking", "Hm"), Passage("text", "Hi"))


async def test_turn_that_was_cancelled_on_the_server_is_recorded_with_its_error(path: Path) -> None:
    async with recording(path, full_turn("Hel", Hang())) as server:
        client = await server.streaming()
        await client.until_text("Hel")
        (run,) = server.runs.all()
        await server.runs.cancel(run, RunCancelled("Cancelled."))
    (entry,) = entries(path)
    assert entry.answer.content == (Passage("text", "Hel"),)
    assert isinstance(entry.answer.end, Failed)
    assert entry.answer.end.code == "run_cancelled"


async def test_turn_with_a_stop_sequence_is_recorded_as_the_client_got_it(path: Path) -> None:
    async with recording(path, full_turn("one STOP two", Hang())) as server:
        await server.post(chat(stop=["STOP"]))
    (entry,) = entries(path)
    assert entry.answer.content == (Passage("text", "one "),)
    assert isinstance(entry.answer.end, Completed)


async def test_request_that_was_refused_is_not_recorded(path: Path) -> None:
    async with recording(path, full_turn("ok"), max_concurrency=1, max_queue_size=0) as server:
        assert (await server.post({"model": "claude-sonnet"})).status == 400
        assert (await server.get("/v1/models")).status == 200
    assert entries(path) == ()


async def test_times_are_ms_since_the_request(path: Path) -> None:
    script = full_turn(Pause(2), "Hel", Pause(0.5), "lo", Pause(0.25))
    async with recording(path, script, keep_times=True) as server:
        await server.post(chat())
    (entry,) = entries(path)
    assert entry.answer.content == (Passage("text", "Hello", ((2000, 3), (2500, 2))),)
    assert entry.answer.ms == 2750


async def test_secrets_of_the_server_and_of_the_conversation_are_masked(path: Path) -> None:
    async with recording(path, full_turn("use my-", "own-key, token=abc"), secrets=["my-own-key"]) as server:
        await server.post(chat("my-own-key or sk-ant-abcdef123456"))
    (entry,) = entries(path)
    assert entry.request.body["messages"][0]["content"] == f"{MASK} or {MASK}"
    assert entry.answer.content == (Passage("text", f"use {MASK}, token={MASK}"),)


async def test_parallel_turns_are_recorded_in_the_order_of_their_ends(path: Path) -> None:
    def script(request: TurnRequest) -> tuple[TurnStep, ...]:
        return full_turn(Pause(float(request.prompt.text)), "ok")

    async with recording(path, script) as server, trio.open_nursery() as nursery:
        for seconds in ("3", "1"):
            nursery.start_soon(server.post, chat(seconds))
    assert [entry.request.body["messages"][0]["content"] for entry in entries(path)] == ["1", "3"]


async def test_full_disk_stops_the_recording_with_whole_lines_and_no_turn_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with recording(path, full_turn("ok")) as server:
        await server.post(chat("first"))
    written = text_of(path)
    really_write = os.write
    async with recording(path, full_turn("ok"), expected_errors=["cassette.stopped"]) as server:
        recorder = server.recorder
        assert recorder is not None

        def write(fd: int, data: bytes) -> int:
            if fd == recorder._file.fd and len(data) < 100:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return really_write(fd, data[:-50] if fd == recorder._file.fd else data)

        monkeypatch.setattr(os, "write", write)
        assert (await server.post(chat("second"))).status == 200
        assert recorder._thread.close(60)
        assert (await server.post(chat("third"))).status == 200
        (record,) = server.logged("cassette.stopped")
        assert (record["file"], record["reason"]) == (str(path), "No space left on device")
    assert text_of(path) == written


async def test_turns_beyond_the_queue_stop_the_recording_and_none_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_openai.cassettes.recorder.QUEUE_BYTES", 1000)
    async with recording(path, full_turn("ok"), expected_errors=["cassette.stopped"]) as server:
        assert (await server.post(chat("x" * 2000))).status == 200
        assert (await server.post(chat("Hi"))).status == 200
        assert len(server.logged("cassette.stopped")) == 1
    assert entries(path) == ()


async def test_ended_run_does_not_keep_the_body_of_its_request(path: Path) -> None:
    async with recording(path, full_turn("ok")) as server:
        await server.post(chat())
        (run,) = server.runs.all()
        assert run.recording is None


async def test_server_without_a_recorder_records_no_run() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        client = await server.streaming()
        await client.until_text("Hel")
        (run,) = server.runs.all()
        assert run.recording is None
