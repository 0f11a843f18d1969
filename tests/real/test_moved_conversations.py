"""What a conversation loses on a server that does not have it: all that a store shared by replicas could save."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.testing import MessagesApi, RecordedRequest, Reply, Thinking, ToolUse
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.harness import needs_claude
from tests.real.tool_turns import READ, results

pytestmark = [needs_claude, pytest.mark.long]

FLAGS: Final = ("--spares", "0")


def answers(request: RecordedRequest) -> list[dict[str, Any]]:
    return [message for message in request.messages if message["role"] == "assistant"]


def looping() -> Callable[[RecordedRequest], Reply]:
    """Two calls, then an answer; no id comes twice."""
    ids = itertools.count()

    def loop(request: RecordedRequest) -> Reply:
        number = len(answers(request))
        call = ToolUse("mcp__openai__read", {"path": f"/{number}"}, f"toolu_{next(ids)}")
        return Reply("done") if number == 2 else Reply(Thinking("So."), call)

    return loop


def plain(value: Any, kind: str = "") -> Any:
    """Without marks of the cache, ids, and blocks of a kind."""
    if isinstance(value, dict):
        return {
            key: plain(each, kind) for key, each in value.items() if key not in ("cache_control", "id", "tool_use_id")
        }
    if isinstance(value, list):
        kept = (each for each in value if not isinstance(each, dict) or each.get("type") != kind)
        return [plain(each, kind) for each in kept]
    return value


async def converse(*servers: Command) -> list[str]:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Find it."}]
    ways = []
    for server in servers:
        async with Call.open(server.url, chat(messages, tools=[READ])) as call:
            status, answer = await call.answer()
            assert status == 200, answer
            ways.append(call.headers["x-claude-openai-conversation"])
        if answer["choices"][0]["finish_reason"] == "tool_calls":
            messages += results(answer, "content")
    return ways


async def test_a_moved_tool_loop_loses_its_thinking_and_nothing_else(tmp_path: Path) -> None:
    async with (
        MessagesApi.serving(looping()) as api,
        running(tmp_path / "a", *FLAGS, api=api) as a,
        running(tmp_path / "b", *FLAGS, api=api) as b,
    ):
        # What each server sends first, it has to learn.
        await converse(a, a, b)
        del api.requests[:]
        assert await converse(a, a, a) == ["new", "parked", "parked"]
        live = api.requests[-1]
        assert await converse(a, a, b) == ["new", "parked", "replayed"]
        moved = api.requests[-1]
        for field in ("system", "tools"):
            assert plain(moved.body[field]) == plain(live.body[field])
        assert plain(answers(moved)) == plain(answers(live), "thinking") != plain(answers(live))
        assert plain(moved.messages) == plain(live.messages, "thinking")


async def test_a_moved_stored_response_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", *FLAGS) as a,
        running(tmp_path / "b", *FLAGS) as b,
    ):
        body: dict[str, Any] = {"model": "claude-sonnet", "input": "Hi"}
        async with Call.open(a.url, body, "/v1/responses") as call:
            _, first = await call.answer()
        said = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "And?"}]
        for more, right in (
            ({"previous_response_id": first["id"]}, (404, "previous_response_not_found")),
            ({"input": said}, (400, "invalid_value")),
        ):
            async with Call.open(b.url, {**body, **more}, "/v1/responses") as call:
                status, answer = await call.answer()
                assert (status, answer["error"]["code"]) == right
                assert call.headers["x-claude-openai-started"] == "no"
