"""The one line a request leaves at level info."""

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from claude_openai.protocol.turn.events import ToolCall
from claude_openai.testing import Hang, Pause, ScriptedBackend, full_turn
from tests.memory.harness import Server, chat, serving


def lines(server: Server) -> list[dict[str, Any]]:
    return [record for record in server.records if record["level"] == "info"]


async def test_each_request_is_one_line_with_method_path_status_time_and_id() -> None:
    async with serving() as server:
        answers = [
            await server.get("/health?x=secret"),
            await server.post(chat()),
            await server.post(chat(stream=True)),
            await server.get("/nope"),
            await server.get("/v1/models", "HEAD"),
        ]
        await wait_all_tasks_blocked()
        for line, answer in zip(lines(server), answers, strict=True):
            assert set(line) == {"time", "level", "event", "request_id", "method", "path", "status", "duration_ms"}
            assert line["event"] == "http.request"
            assert line["request_id"] == answer.headers["x-request-id"]
            assert line["status"] == answer.status
            assert line["duration_ms"] >= 0
        asked = [(line["method"], line["path"]) for line in lines(server)]
        chats = [("POST", "/v1/chat/completions")] * 2
        assert asked == [("GET", "/health"), *chats, ("GET", "/nope"), ("HEAD", "/v1/models")]


async def test_a_client_that_left_is_499_whatever_status_it_had_been_told() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        streaming = await server.streaming()
        await streaming.until_text("Hel")
        waiting = server.connect()
        await waiting.post(chat())
        await wait_all_tasks_blocked()
        assert lines(server) == []
        streaming.leave()
        waiting.leave()
        await wait_all_tasks_blocked()
        assert [line["status"] for line in lines(server)] == [499, 499]


async def test_the_line_comes_with_the_last_byte_and_not_with_the_end_of_the_process() -> None:
    async with serving(ScriptedBackend(cleanup_s=3)) as server:
        assert (await server.post(chat())).status == 200
        await wait_all_tasks_blocked()
        assert len(lines(server)) == 1
        assert server.admission.running == 1


async def test_a_stream_that_failed_in_the_middle_is_200_and_its_failure_a_warning() -> None:
    async with serving(full_turn("Hel", Hang()), process_timeout_ms=1_000) as server:
        answer = await server.post(chat(stream=True))
        assert answer.status == 200
        assert [line["status"] for line in lines(server)] == [200]
        (warning,) = [record for record in server.records if record["level"] == "warning"]
        assert (warning["event"], warning["code"], warning["status"]) == ("run.failed", "timeout", 504)
        assert warning["request_id"] == answer.headers["x-request-id"]


async def test_the_words_of_a_request_are_logged_at_trace_only() -> None:
    async with serving(full_turn("The answer.", Pause(1))) as server:
        await server.post(chat("The question."))
        told = [record for record in server.records if "The question." in str(record) or "The answer." in str(record)]
        assert [record["level"] for record in told] == ["trace"]


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_told_by_name_and_size_and_their_arguments_at_trace_only(stream: bool) -> None:
    calls = (ToolCall("toolu_1", "read", '{"path":"/\u00e9"}'), ToolCall("toolu_2", "list", "\ud800"))
    async with serving(full_turn("Hm.", *calls, finish_reason="tool_calls")) as server:
        answer = await server.post(chat(stream=stream))
        await wait_all_tasks_blocked()
        told = server.logged("sdk.structured_tool_call")
        assert [(r["level"], r["id"], r["name"], r["argument_bytes"]) for r in told] == [
            ("debug", "toolu_1", "read", 14),
            ("debug", "toolu_2", "list", 3),
        ]
        arguments = server.logged("sdk.tool_arguments")
        assert [(r["level"], r["id"], r["arguments"]) for r in arguments] == [
            ("trace", call.id, call.arguments) for call in calls
        ]
        streamed = server.logged("openai.stream_tool_calls")
        assert [(r["level"], r["count"], r["names"]) for r in streamed] == [("debug", 2, ["read", "list"])] * stream
        assert {r["request_id"] for r in [*told, *arguments, *streamed]} == {answer.headers["x-request-id"]}


async def test_a_streamed_answer_without_tool_calls_tells_of_none() -> None:
    async with serving() as server:
        await server.post(chat(stream=True))
        await wait_all_tasks_blocked()
        assert server.logged("openai.stream_tool_calls") == []


@pytest.mark.parametrize(
    ("given", "logged"), [("my-id 7", "my-id 7"), ("x" * 512, "x" * 512), ("x" * 513, None), ("\xe9", None), ("", None)]
)
async def test_the_clients_own_id_of_a_request_is_in_its_log_and_not_taken_for_ours(
    given: str, logged: str | None
) -> None:
    async with serving() as server:
        answer = await server.post(chat(), x_client_request_id=given)
        assert answer.headers["x-request-id"] != given
        assert {record.get("client_request_id") for record in server.records} == {logged}


@pytest.mark.parametrize(
    ("target", "asked"),
    [("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}), ("/v1/responses", {"input": "Hi"})],
)
async def test_the_clients_names_for_its_user_and_its_cache_are_logged(target: str, asked: dict[str, Any]) -> None:
    async with serving(full_turn("Hello")) as server:
        body = {"model": "claude", **asked, "safety_identifier": "ann", "prompt_cache_key": "k"}
        assert (await server.post(body, target)).status == 200
        (record,) = server.logged("openai.request")
        assert (record["user"], record["prompt_cache_key"]) == ("ann", "k")
