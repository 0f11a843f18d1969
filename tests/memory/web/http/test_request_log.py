"""The one line a request leaves at level info."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import UpstreamAuth
from claude_openai.protocol.turn.events import ToolCall, TurnFailed, Usage
from claude_openai.testing import Hang, Pause
from claude_openai.web.http import probes
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, full_turn

# The fields of each `http.request`.
ALWAYS = ("time", "level", "event", "request_id", "method", "path", "status", "duration_ms")


def lines(server: Server) -> list[dict[str, Any]]:
    return [record for record in server.records if record["level"] == "info"]


async def test_each_request_is_one_line_with_method_path_status_time_and_id() -> None:
    async with serving() as server:
        answers = [
            await server.post(chat()),
            await server.post(chat(stream=True)),
            await server.get("/nope"),
            await server.get("/v1/models?x=secret", "HEAD"),
        ]
        await wait_all_tasks_blocked()
        for line, answer in zip(lines(server), answers, strict=True):
            assert line["event"] == "http.request"
            assert line["request_id"] == answer.headers["x-request-id"]
            assert line["status"] == answer.status
            assert line["duration_ms"] >= 0
            assert line.get("run_id") == answer.headers.get("x-claude-openai-run")
        asked = [(line["method"], line["path"]) for line in lines(server)]
        chats = [("POST", "/v1/chat/completions")] * 2
        assert asked == [*chats, ("GET", "/nope"), ("HEAD", "/v1/models")]
        assert set(lines(server)[-1]) == {*ALWAYS}


@pytest.mark.parametrize("stream", [True, False])
async def test_line_of_turn_has_model_run_route_waits_and_tokens(stream: bool) -> None:
    usage = Usage(input_tokens=10, cache_read_tokens=5, cache_write_tokens=1, output_tokens=7)
    async with serving((Pause(2), *full_turn("Hel", Pause(1), "lo", usage=usage))) as server:
        answer = await server.post(chat(stream=stream))
        await wait_all_tasks_blocked()
        (line,) = lines(server)
        assert {name: value for name, value in line.items() if name not in ALWAYS} == {
            "model": "claude-sonnet",
            "run_id": answer.headers["x-claude-openai-run"],
            "conversation": "new",
            "waited_ms": 0,
            "ttft_ms": 2000,
            "prompt_tokens": 16,
            "completion_tokens": 7,
        }
        assert line["duration_ms"] == 3000


async def test_line_of_queued_turn_has_its_time_in_the_queue() -> None:
    async with serving(full_turn("a", Pause(2)), max_concurrency=1) as server:
        first, second, third = server.connect(), server.connect(), server.connect()
        for client in (first, second, third):
            await client.post(chat())
            await wait_all_tasks_blocked()
        await trio.sleep(1)
        third.leave()
        await second.answer()
        await wait_all_tasks_blocked()
        ended = [line for line in lines(server) if line["event"] == "http.request"]
        seen = [(line["status"], line["waited_ms"], line.get("ttft_ms")) for line in ended]
        assert sorted(seen, key=str) == [(200, 0, 0), (200, 2000, 2000), (499, 1000, None)]


async def test_line_of_failed_turn_has_code_and_message_with_the_hint() -> None:
    error = UpstreamAuth("Claude Code is not logged in", hint="Run `claude auth login`.")
    async with serving((TurnFailed(error),)) as server:
        assert (await server.post(chat())).status == 403
        (line,) = lines(server)
        assert line["code"] == "upstream_authentication_error"
        assert line["message"] == "Claude Code is not logged in. Run `claude auth login`."
        assert line["run_id"].startswith("run_")


async def test_line_of_stream_that_failed_later_has_200_and_the_code() -> None:
    async with serving(full_turn("Hel", Hang()), process_timeout_ms=1_000) as server:
        await server.post(chat(stream=True))
        (line,) = lines(server)
        assert (line["status"], line["code"]) == (200, "timeout")
        assert "message" in line


async def test_line_of_refused_request_has_code_and_field_and_no_value_of_the_request() -> None:
    async with serving() as server:
        assert (await server.post(chat(tool_choice="my secret question"))).status == 400
        (line,) = lines(server)
        assert (line["code"], line["param"]) == ("invalid_value", "tool_choice")
        assert "secret" not in str(line)
        assert "secret" in server.logged("http.error")[0]["message"]


async def test_line_of_request_without_key_or_place_in_the_queue_has_the_code() -> None:
    async with serving(full_turn(Hang()), max_concurrency=1, max_queue_size=0, api_key="a-key-of-the-test") as server:
        assert (await server.post(chat())).status == 401
        client = server.connect()
        await client.post(chat(), authorization="Bearer a-key-of-the-test")
        await wait_all_tasks_blocked()
        assert (await server.post(chat(), authorization="Bearer a-key-of-the-test")).status == 429
        refused = [(line["status"], line.get("model"), line["code"]) for line in lines(server)]
        assert refused == [(401, None, "invalid_api_key"), (429, "claude-sonnet", "queue_full")]


async def test_very_long_name_of_a_model_is_cut_in_the_line() -> None:
    async with serving(full_turn("a")) as server:
        name = "claude-" + "x" * 400
        await server.post({**chat(), "model": name})
        assert [line.get("model", "")[:10] for line in lines(server)] in (["claude-xxx"], [""])
        assert all(len(line.get("model", "")) <= 256 for line in lines(server))


# Probes


async def test_probes_are_counted_and_reported_once_a_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "REPORT_EVERY_S", 60.0)
    async with serving() as server:
        for path in ("/health", "/ready", "/metrics", "/health"):
            assert (await server.get(path)).status == 200
        assert lines(server) == []
        assert {record["level"] for record in server.logged("http.request")} == {"trace"}
        await trio.sleep(60)
        await server.get("/health")
        (report,) = server.logged("http.probes")
        assert (report["level"], report["counts"]) == ("info", {"/health": 3, "/ready": 1, "/metrics": 1})
        await server.get("/health")
        assert len(lines(server)) == 1


async def test_probe_that_failed_has_a_line_and_one_that_found_no_readiness_has_none() -> None:
    async with serving(api_key="a-key-of-the-test") as server:
        assert (await server.get("/metrics")).status == 401
        assert [(line["path"], line["code"]) for line in lines(server)] == [("/metrics", "invalid_api_key")]
        server.admission.draining = True
        assert (await server.get("/ready")).status == 503
        assert len(lines(server)) == 1
        server.probes.report()
        assert server.logged("http.probes")[0]["counts"] == {"/ready 503": 1}


async def test_disconnect_is_logged_as_499_after_any_status() -> None:
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
async def test_tool_calls_are_logged_by_name_and_size_arguments_at_trace_only(stream: bool) -> None:
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


async def test_streamed_answer_without_tool_calls_logs_none() -> None:
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


async def test_line_of_turn_has_the_first_key_of_affinity_and_no_turn_is_matched_by_it() -> None:
    async with serving() as server:
        sent = [
            {"x_litellm_session_id": "l", "session_id": "s", "authorization": "Bearer secret"},
            {"x_session_affinity": "a" * 500, "x_opencode_session": "o"},
            {"authorization": "Bearer secret"},
            {"x_api_key": "secret"},
            {"x_session_id": "", "authorization": "Basic"},
            {},
        ]
        for headers in sent:
            assert (await server.post(chat(), **headers)).headers["x-claude-openai-conversation"] == "new"
        await server.get("/v1/models", x_session_id="s")
        await wait_all_tasks_blocked()
        found = [line.get("affinity") for line in lines(server)]
        of_key = ["key: 2bb80d53"] * 2
        assert found == ["session-id: s", f"x-session-affinity: {'a' * 128}", *of_key, None, None, None]


async def test_replica_is_named_in_each_answer_only_if_it_has_a_name() -> None:
    async with serving(replica="r-1") as server:
        for answer in (await server.post(chat()), await server.get("/nope"), await server.get("/health")):
            assert answer.headers["x-claude-openai-replica"] == "r-1"
    async with serving() as server:
        assert "x-claude-openai-replica" not in (await server.get("/health")).headers


async def test_line_has_the_address_of_the_client_only_behind_a_trusted_proxy() -> None:
    for trusted, expected in ((("127.0.0.0/8",), "192.0.2.1"), ((), None)):
        async with serving(trusted_proxies=trusted) as server:
            await server.get("/v1/models", x_forwarded_for="192.0.2.1")
            (line,) = lines(server)
            assert line.get("client_address") == expected
