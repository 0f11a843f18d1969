"""Not run: type-checked like a program that uses all public names, by pyright, and by mypy with and without stubs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from claude_openai import Config, ConfigError, StartError, __version__, serve
from claude_openai.testing import (
    API_ERROR,
    AUTHENTICATION_ERROR,
    NOT_FOUND_ERROR,
    OVERLOADED_ERROR,
    PERMISSION_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    REQUEST_TOO_LARGE,
    Answer,
    AnswerLike,
    Cut,
    Die,
    FakeClaude,
    FakeRequest,
    Garbage,
    Hang,
    HttpError,
    Json,
    MessagesApi,
    Outcome,
    Pause,
    RecordedRequest,
    Reply,
    RunningFakeClaude,
    Script,
    ScriptError,
    ScriptLike,
    Step,
    StopReason,
    Text,
    Thinking,
    ToolUse,
    Usage,
    fake_claude,
    running_fake_claude,
)

if TYPE_CHECKING:
    # Misspelt names are found: an ignored error that does not occur is reported.
    from claude_openai import sevre  # type: ignore[attr-defined]  # noqa: F401
    from claude_openai.testing import fake_cluade  # type: ignore[attr-defined]  # noqa: F401

ERRORS: list[HttpError] = [
    API_ERROR,
    AUTHENTICATION_ERROR,
    NOT_FOUND_ERROR,
    OVERLOADED_ERROR,
    PERMISSION_ERROR,
    PROMPT_TOO_LONG,
    REQUEST_TOO_LARGE,
    HttpError(418, "teapot", "no"),
]
STEPS: list[Step] = ["a", Pause(60), Hang(), Cut(), Die(), Garbage(b"{"), Text("a", "b"), Thinking("c")]


async def main() -> list[str]:
    try:
        async with trio.open_nursery() as nursery:
            urls: list[str] = await nursery.start(serve, Config(port=0))
            nursery.cancel_scope.cancel()
        return [*urls, __version__]
    except (ConfigError, StartError) as error:
        return [str(error)]


def echo(request: FakeRequest) -> AnswerLike:
    return request.prompt or RATE_LIMIT_ERROR.with_headers(retry_after="7")


async def test_trio() -> None:
    stop: StopReason = "end_turn"
    reply: Answer = Reply("Hel", *STEPS, usage=Usage(output_tokens=1), stop_reason=stop)
    script: list[ScriptLike] = ["Hello", reply, ToolUse("get", {"q": 1}), Json({"a": 1}), echo, *ERRORS]
    async with fake_claude(*script, max_concurrency=1) as claude:
        answer = await claude.openai(max_retries=0).chat.completions.create(model="claude", messages=[])
        text: str | None = answer.choices[0].message.content
        response = await claude.http(timeout=1).get("/models")
        outcome: Outcome = claude.last.outcome
        assert (text, outcome, claude.last.body["temperature"]) == ("Hello", "completed", response.json())
        await claude.last.ended.wait()
        assert [each.to_json() for each in claude.runs] == [each["event"] for each in claude.log]
        faults: list[str] = [fault.place async for fault in claude.faults("Hello", reply, kinds=[Die()])]
        assert faults == []


async def what_a_request_has(claude: FakeClaude) -> list[Any]:
    claude.answer("Hello", echo)
    request = await claude.wait_for_request(2)
    numbers: list[int | None] = [request.number, request.status]
    texts: list[str] = [claude.url, claude.api_key, request.path, request.system, request.prompt, request.received]
    messages: list[dict[str, Any]] = request.messages
    return [numbers, texts, messages, request.headers["host"].lower(), request.tools, request.stream]


def test_plain(claude_server: RunningFakeClaude) -> None:
    claude_server.answer("Hello", echo)
    with running_fake_claude("Hello", 1) as claude:  # type: ignore[arg-type]
        url: str = claude.url
        request = claude.wait_for_request(timeout_s=1)
        results: dict[str, str] = request.tool_results
        claude.wait_for_end(request)
        text: str = claude.openai().responses.create(model="claude", input="Hi").output_text
        status: int = claude.http().get("/models").status_code
        faults: list[int] = [fault.answer for fault in claude.faults("Hello")]
    assert (url, results, text, status, faults) == ("", {}, "", 200, [])
    with pytest.raises(ScriptError), running_fake_claude(cassette=Path("a.jsonl"), strict=False, real=True):
        pass


async def stand_in() -> AsyncIterator[RecordedRequest]:
    script: Script = lambda request: Reply(request.last_user_text)  # noqa: E731
    async with MessagesApi.serving(script) as api:
        url: str = api.base_url
        for request in api.requests:
            assert url in request.last_user_text
            yield request
