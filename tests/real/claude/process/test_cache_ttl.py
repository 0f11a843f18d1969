"""How long a prompt stays in Claude's cache: Claude's API is sent what a turn asks for, on the bundled CLI."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conditions import needs
from tests.real.call import MODEL, Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving
from tests.real.messages_form import MESSAGES
from tests.real.responses_form import RESPONSES

pytestmark = [needs_claude, needs("cached-claude")]

SYSTEM = "You are Bob."
OPERATORS = "CLAUDE_CODE_PROMPT_CACHE_TTL"
HOUR = {"type": "ephemeral", "ttl": "1h"}


def turns(count: int) -> list[dict[str, Any]]:
    """The messages of the turn of this number, from 0."""
    past = [({"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "ok"}) for n in range(count)]
    return [*(message for pair in past for message in pair), {"role": "user", "content": f"{count}?"}]


async def asked_for(served: Served, count: int, api: str, **fields: Any) -> str | None:
    """The lifetime in the request of a turn, which all marks have; None if they have none."""
    if api == MESSAGES:
        body = {"model": MODEL, "max_tokens": 100, "system": SYSTEM, "messages": turns(count), **fields}
    elif api == RESPONSES:
        body = {"model": MODEL, "instructions": SYSTEM, "input": turns(count), **fields}
    else:
        body = chat([{"role": "system", "content": SYSTEM}, *turns(count)], **fields)
    async with Call.open(served.url, body, api) as call:
        status, answer = await call.answer(validated=api != MESSAGES)
        assert status == 200, answer
    sent = served.api.requests[-1].body
    content: Sequence[Any] = [message["content"] for message in sent["messages"]]
    marked = [
        block["cache_control"] for part in (sent["system"], *content) for block in part if "cache_control" in block
    ]
    assert len(marked) > 1
    (lifetime,) = {mark.get("ttl") for mark in marked}
    return None if lifetime is None else str(lifetime)


@on_both_backends
async def test_each_turn_of_a_conversation_has_the_lifetime_that_it_asks_for(tmp_path: Path, backend: str) -> None:
    chats = "/v1/chat/completions"
    async with serving(tmp_path, backend=backend, max_idle_sessions=1) as served:
        assert await asked_for(served, 0, chats) is None
        assert await asked_for(served, 1, chats, prompt_cache_retention="24h") == "1h"
        assert await asked_for(served, 2, chats) is None
        if backend == "cli":  # which starts a process for each turn of any API
            return
        assert await asked_for(served, 3, RESPONSES, prompt_cache_options={"ttl": "30m"}) == "1h"
        assert await asked_for(served, 4, RESPONSES, prompt_cache_retention="in_memory") is None
        assert await asked_for(served, 5, MESSAGES, cache_control=HOUR) == "1h"
        ways = [record["way"] for record in await served.logged("conversation.taken")]
        assert ways == ["new", *["continued"] * 5]


@pytest.mark.long
@on_both_backends
async def test_the_operators_variable_has_precedence(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, extra_env={OPERATORS: "1h"}, backend=backend, max_idle_sessions=1) as served:
        for count, asked in enumerate(({}, {"prompt_cache_retention": "in_memory"}, {})):
            assert await asked_for(served, count, "/v1/chat/completions", **asked) == "1h"


async def test_five_minutes_are_asked_for_where_claude_code_would_take_an_hour(tmp_path: Path) -> None:
    async with serving(tmp_path, extra_env={"ENABLE_PROMPT_CACHING_1H": "1"}, max_idle_sessions=1) as served:
        assert await asked_for(served, 0, "/v1/chat/completions") == "1h"
        assert await asked_for(served, 1, "/v1/chat/completions", prompt_cache_retention="in_memory") is None
        assert await asked_for(served, 2, "/v1/chat/completions") == "1h"
