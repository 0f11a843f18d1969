"""What the server reports of its processes and conversations is true."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from claude_openai.claude.process import program
from claude_openai.testing import AUTHENTICATION_ERROR, Answer, RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, OK, needs_claude, on_both_backends, serving, until
from tests.real.tool_turns import READ, results

pytestmark = needs_claude


async def told(url: str) -> Mapping[tuple[str, ...], float]:
    """The samples of /metrics, by name and the values of their labels, these in the order of their names."""
    async with Call.open(url, None, "/metrics") as call:
        assert await call.status() == 200
        text = (await call.body()).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (s.name.removeprefix("claude_openai_"), *(value for _, value in sorted(s.labels.items()))): s.value
        for s in samples
    }


async def tells(url: str, expected: Mapping[tuple[str, ...], float]) -> Mapping[tuple[str, ...], float]:
    """Wait until it reports this: an answer is complete a little before its process is put away."""
    with trio.fail_after(LIMIT_S):
        while not expected.items() <= (now := await told(url)).items():  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.05)
        return now


async def ready(url: str) -> tuple[int, list[str]]:
    async with Call.open(url, None, "/ready") as call:
        status, answer = await call.answer()
    return status, [each["reason"] for each in answer["reasons"]]


async def ask(url: str, messages: Any, **fields: Any) -> dict[str, Any]:
    async with Call.open(url, chat(messages, **fields)) as call:
        return (await call.answer())[1]


@pytest.mark.long
async def test_conversations_and_processes_are_counted_as_they_are(tmp_path: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        return (
            Reply(ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1")) if request.last_user_text == "call" else OK
        )

    async with serving(tmp_path, reply, spares=1, max_idle_sessions=4) as served:
        await until(lambda: len(served.processes.marked()) == 1, "a spare")
        kept = {
            ("spares",): 1,
            ("processes",): 1,
            ("conversations_kept", "idle"): 0,
            ("conversations_kept", "parked"): 0,
        }
        await tells(served.url, kept)
        said = [{"role": "user", "content": "call"}]
        called = await ask(served.url, said, tools=[READ])
        await tells(served.url, {("conversations_kept", "parked"): 1, ("conversations_kept", "idle"): 0})
        await ask(served.url, [*said, *results(called, "the file")], tools=[READ])
        now = await tells(served.url, {("conversations_kept", "parked"): 0, ("conversations_kept", "idle"): 1})
        assert (now["conversations_total", "new"], now["conversations_total", "parked"]) == (1, 1)
        await tells(served.url, {("spares",): 1, ("processes",): 2})
        await until(lambda: len(served.processes.marked()) == 2, "two processes run")
        assert now["time_to_first_token_seconds_count", "sdk", "parked"] == 1


@pytest.mark.long
@on_both_backends
async def test_a_refused_login_makes_the_server_unready_until_a_turn_is_answered(tmp_path: Path, backend: str) -> None:
    answers: list[Answer] = [AUTHENTICATION_ERROR, OK]
    async with serving(tmp_path, lambda _: answers.pop(0), backend=backend) as served:
        assert await ready(served.url) == (200, [])
        assert (await ask(served.url, "Hi"))["error"]["code"] == "upstream_authentication_error"
        assert await ready(served.url) == (503, ["not_logged_in"])
        assert (await ask(served.url, "Hi"))["choices"]
        assert await ready(served.url) == (200, [])
        await tells(served.url, {("processes",): 0})


@on_both_backends
async def test_a_server_without_claude_is_not_ready(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "_bundled_claude", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with serving(tmp_path, backend=backend) as served:
        assert await ready(served.url) == (503, ["no_cli"])
