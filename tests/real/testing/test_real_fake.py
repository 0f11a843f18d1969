"""`fake_claude(real=True)`: real Claude Code plays the same scripts, and finds nothing of the user's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from trio.testing import MockClock

from claude_openai.testing import (
    RATE_LIMIT_ERROR,
    Cut,
    Die,
    FakeClaude,
    HttpError,
    Json,
    Outcome,
    Reply,
    ScriptError,
    ToolUse,
    fake_claude,
    running_fake_claude,
)
from tests.real.harness import needs_claude

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
GET: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get", "parameters": {"type": "object", "properties": {"q": {"type": "integer"}}}},
}
FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "form", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user with a login, a proxy and another provider; none of it may be used, and nothing written."""
    for name, value in {
        "HOME": str(tmp_path),
        "ANTHROPIC_AUTH_TOKEN": "sk-ant-REAL-SECRET",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "XDG_CONFIG_HOME": str(tmp_path),
        "CLAUDE_CONFIG_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


async def ask(claude: FakeClaude, **fields: Any) -> Any:
    answer = await claude.openai(max_retries=0).chat.completions.create(**{**CHAT, **fields})
    return answer.choices[0].message


@needs_claude
async def test_text_is_answered_without_anything_of_the_user() -> None:
    async with fake_claude("Hello", real=True) as claude:
        assert (await ask(claude)).content == "Hello"
        assert (claude.last.prompt, claude.last.outcome, claude.last.received) == ("Hi", "completed", "Hello")


@pytest.mark.long
@needs_claude
async def test_tool_loop_and_structured_output() -> None:
    async with fake_claude(ToolUse("get", {"q": 1}), "done", Json({"a": 1}), real=True) as claude:
        message = await ask(claude, tools=[GET])
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "42"}
        messages = [*CHAT["messages"], message.to_dict(), result]
        assert (await ask(claude, tools=[GET], messages=messages)).content == "done"
        assert list(claude.last.tool_results.values()) == ["42"]
        assert json.loads((await ask(claude, response_format=FORM)).content) == {"a": 1}


@pytest.mark.long
@needs_claude
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (HttpError(500, "api_error", "no"), 502),
        (RATE_LIMIT_ERROR.with_headers(retry_after="7"), 429),
        (Die(), 502),
        (Reply("Hel", Die()), 502),
    ],
)
async def test_fault_fails_the_turn_and_uses_one_answer(answer: Any, status: int) -> None:
    async with fake_claude(answer, "after it", real=True) as claude:
        with pytest.raises(openai.APIStatusError) as raised:
            await ask(claude)
        assert raised.value.status_code == status
        assert (await ask(claude)).content == "after it"


@pytest.mark.long
@needs_claude
async def test_script_that_was_not_followed_fails() -> None:
    async def main() -> None:
        async with fake_claude(ToolUse("get", {}), real=True) as claude:
            with pytest.raises(openai.APIStatusError):
                await ask(claude)

    with pytest.raises(ScriptError, match="the tool 'get' was not offered"):
        await main()


@pytest.mark.long
@needs_claude
def test_thread_runs_it_too() -> None:
    with running_fake_claude("Hello", real=True) as claude:
        assert claude.openai().chat.completions.create(**CHAT).choices[0].message.content == "Hello"


def test_mock_clock_is_refused_with_the_reason() -> None:
    async def main() -> None:
        async with fake_claude("Hello", real=True):
            pass

    with pytest.raises(RuntimeError, match="real=True needs a real clock"):
        trio.run(main, clock=MockClock(autojump_threshold=0))


async def after_cuts(*, real: bool) -> dict[str, tuple[Outcome, str]]:
    """Return what a client gets at each cut: the outcome and the text of its request."""
    found = {}
    async with fake_claude(real=real) as claude:
        async for fault in claude.faults(Reply("Hel", "lo"), kinds=[Cut()]):
            await claude.http(timeout=60).post("chat/completions", json={**CHAT, "stream": True})
            found[fault.place] = (claude.last.outcome, claude.last.received)
    return found


@pytest.mark.long
async def test_cuts_are_played_as_the_real_claude_code_takes_them() -> None:
    played = await after_cuts(real=False)
    assert len(played) == 6
    real = await after_cuts(real=True)
    # Claude Code asks Claude to go on after a whole text, and each of these answers is cut, too.
    assert played.pop("after the last step") == ("failed", "Hello")
    outcome, text = real.pop("after the last step")
    assert (outcome, text.replace("Hello", "")) == ("failed", "")
    assert real == played
