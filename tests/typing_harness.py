"""Not run: type-checked with and without trio-typing's stubs, as a harness's own code would be."""

from typing import TYPE_CHECKING

import trio

from claude_openai import Config, serve
from claude_openai.testing import (
    RATE_LIMIT_ERROR,
    AnswerLike,
    FakeRequest,
    Hang,
    Outcome,
    Pause,
    Reply,
    RunningFakeClaude,
    ToolUse,
    Usage,
    fake_claude,
    running_fake_claude,
)

if TYPE_CHECKING:
    # Misspelt names are found: mypy reports an ignored error that does not occur.
    from claude_openai import sevre  # type: ignore[attr-defined]
    from claude_openai.testing import fake_cluade  # type: ignore[attr-defined]

    sevre, fake_cluade  # noqa: B018


async def main() -> list[str]:
    async with trio.open_nursery() as nursery:
        urls: list[str] = await nursery.start(serve, Config(port=0))
        nursery.cancel_scope.cancel()
    return urls


def echo(request: FakeRequest) -> AnswerLike:
    return request.prompt or RATE_LIMIT_ERROR.with_headers(retry_after="7")


async def test_trio() -> None:
    reply = Reply("Hel", Pause(60), "lo", Hang(), usage=Usage(output_tokens=1))
    async with fake_claude("Hello", reply, ToolUse("get", {"q": 1}), echo, max_concurrency=1) as claude:
        answer = await claude.openai().chat.completions.create(model="claude", messages=[])
        text: str | None = answer.choices[0].message.content
        outcome: Outcome = claude.last.outcome
        assert (text, outcome, claude.last.body["temperature"]) == ("Hello", "completed", 0)
        await claude.last.ended.wait()


def test_plain(claude_server: RunningFakeClaude) -> None:
    claude_server.answer("Hello", echo)
    with running_fake_claude("Hello", 1) as claude:  # type: ignore[arg-type]
        url: str = claude.url
        results: dict[str, str] = claude.wait_for_request().tool_results
    assert (url, results) == ("", {})
