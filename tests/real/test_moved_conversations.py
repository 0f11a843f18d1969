"""What a conversation loses on a server that does not have it, without a shared store and with one."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.testing import MessagesApi, RecordedRequest, Reply, Thinking, ToolUse
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.harness import needs_claude
from tests.real.redis_server import needs_redis, redis_serving
from tests.real.replica_traffic import UNREACHED
from tests.real.tool_turns import READ, results, upstream

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


BODY: Final[dict[str, Any]] = {"model": "claude-sonnet", "input": "Hi"}


async def ask(server: Command, **more: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, the answer and the headers of a request to /v1/responses."""
    while True:
        async with Call.open(server.url, {**BODY, **more}, "/v1/responses") as call:
            status, answer = await call.answer()
            # On a busy machine a read may take longer than a request waits.
            if UNREACHED not in str(answer):
                return status, answer, call.headers


def continued(first: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields that continue a response by its id, and by the id of its item."""
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    by_item = [{"role": "user", "content": "Hi"}, reference, {"role": "user", "content": "And?"}]
    return [{"previous_response_id": first["id"], "input": "And?"}, {"input": by_item}]


async def test_a_moved_stored_response_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "a", *FLAGS) as a,
        running(tmp_path / "b", *FLAGS) as b,
    ):
        _, first, _ = await ask(a)
        for more, right in zip(
            continued(first), ((404, "previous_response_not_found"), (400, "invalid_value")), strict=True
        ):
            status, answer, headers = await ask(b, **more)
            assert (status, answer["error"]["code"]) == right
            assert headers["x-claude-openai-started"] == "no"


@needs_redis
async def test_a_moved_stored_response_is_continued_from_a_shared_store_after_the_end_of_its_server(
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text("k" * 32)
    async with redis_serving(tmp_path) as redis, MessagesApi.serving(Reply("Hello.")) as api:
        flags = (*FLAGS, "--state-url", redis.url, "--state-key-file", str(tmp_path / "key"))
        async with running(tmp_path / "a", *flags, api=api) as a, running(tmp_path / "b", *flags, api=api) as b:
            _, first, _ = await ask(a)
            a.send(signal.SIGKILL)
            await a.process.wait()
            for more in continued(first):
                status, answer, _ = await ask(b, **more)
                assert status == 200, answer
                assert upstream(api.requests[-1]) == [("user", ["Hi"]), ("assistant", ["Hello."]), ("user", ["And?"])]
