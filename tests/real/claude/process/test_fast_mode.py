"""Fast mode of a request: what the bundled CLI sends to Claude with it, and that no other turn has it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from claude_openai.testing import MessagesApi
from tests.real.call import Call, asked_way, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving

pytestmark = needs_claude

BETA: Final = "fast-mode-2026-02-01"
GO: Final = {"role": "user", "content": "go"}
OK: Final = {"role": "assistant", "content": "ok"}
FAST: Final[dict[str, Any]] = {"claude": {"fastMode": True}}


def speed(api: MessagesApi) -> str | None:
    found: str | None = api.requests[-1].body.get("speed")
    return found


async def ask(served: Served, *messages: dict[str, Any], model: str = "claude-opus", **fields: Any) -> str:
    """How the request came to its conversation."""
    return await asked_way(served.url, chat([*messages], model=model, **fields))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, max_idle_sessions=4) as served:
        yield served


@on_both_backends
async def test_fast_mode_is_sent_and_changes_nothing_else(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, backend=backend) as served:
        await ask(served, GO)
        usual = served.api.requests[-1]
        await ask(served, GO, **FAST)
        fast = served.api.requests[-1]
        betas = fast.headers["anthropic-beta"].split(",")
        assert [beta for beta in betas if beta != BETA] == usual.headers["anthropic-beta"].split(",")
        assert BETA in betas
        own = ("speed", "metadata")  # the metadata contains the id of the session
        assert fast.body["speed"] == "fast"
        assert {k: v for k, v in fast.body.items() if k not in own} == {
            k: v for k, v in usual.body.items() if k not in own
        }


@pytest.mark.long
async def test_fast_mode_is_of_one_turn_in_a_live_conversation(served: Served) -> None:
    asked: list[dict[str, Any]] = [GO]
    for route, fields, expected in (
        ("new", {}, None),
        ("continued", FAST, "fast"),
        ("continued", {}, None),
        ("continued", FAST, "fast"),
    ):
        assert await ask(served, *asked, **fields) == route
        assert speed(served.api) == expected
        asked += [OK, GO]


@pytest.mark.long
async def test_fast_mode_is_used_in_a_replay(served: Served) -> None:
    assert await ask(served, GO, OK, GO, **FAST) == "replayed"
    assert speed(served.api) == "fast"


@pytest.mark.long
async def test_the_models_with_fast_mode_are_those_that_claude_code_lists(served: Served) -> None:
    await ask(served, GO)
    async with Call.open(served.url, None, "/v1/models") as call:
        _, listed = await call.answer()
    for model in listed["data"]:
        async with Call.open(served.url, chat([GO], model=model["id"], **FAST)) as call:
            status, answer = await call.answer()
        if model["fast_mode"]:
            assert (status, speed(served.api)) == (200, "fast")
        else:
            assert (status, answer["error"]["param"]) == (400, "claude.fastMode")
    assert {model["fast_mode"] for model in listed["data"]} == {True, False}
