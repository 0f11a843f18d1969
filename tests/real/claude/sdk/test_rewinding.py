"""A live conversation that is taken back to an earlier message: another answer is wanted, or a message was edited."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.testing import Reply
from tests.conditions import needs
from tests.real.harness import Served, needs_claude, serving
from tests.real.heard import sent
from tests.real.tool_turns import ask, results, use

pytestmark = [needs_claude, needs("rewinding-claude")]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path, max_idle_sessions=3) as served:
        yield served


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def talk(served: Served, messages: list[dict[str, Any]], *texts: str) -> str:
    """Say each of the texts, and add it and its answer to the messages; how the last came to its conversation."""
    way = ""
    for text in texts:
        messages.append(user(text))
        answer, way = await ask(served, messages)
        messages.append(answer["choices"][0]["message"])
    return way


def last_sent(served: Served) -> list[str]:
    """The texts of the last request."""
    return [text for _, content in sent(served.api.requests[-1]) for _, text in content]


@pytest.mark.long
@pytest.mark.parametrize("last", ["three", "three, in other words"])
async def test_last_message_is_answered_again_by_the_same_process(kept: Served, last: str) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two", "three")
    before = await kept.logged("process.start")
    assert await talk(kept, messages[:4], last) == "rewound"
    assert last_sent(kept) == ["one", "ok", "two", "ok", last]
    assert await kept.logged("process.start") == before


@pytest.mark.long
async def test_it_goes_on_from_there(kept: Served) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two", "three")
    branch = messages[:2]
    assert await talk(kept, branch, "other") == "rewound"
    assert await talk(kept, branch, "and?") == "continued"
    assert last_sent(kept) == ["one", "ok", "other", "ok", "and?"]
    assert await talk(kept, branch[:4], "or?") == "rewound"
    assert last_sent(kept) == ["one", "ok", "other", "ok", "or?"]


async def test_replayed_history_can_be_rewound(kept: Served) -> None:
    messages = [user("one"), {"role": "assistant", "content": "two"}, user("three")]
    messages.append({"role": "assistant", "content": "four"})
    assert await talk(kept, messages, "five") == "replayed"
    assert await talk(kept, messages[:2], "three, in other words") == "rewound"
    assert last_sent(kept) == ["one", "two", "three, in other words"]


@pytest.mark.long
async def test_calls_and_results_are_taken_back_with_their_turn(kept: Served) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one")
    kept.api.enqueue(Reply(use(1)), Reply("It is empty."))
    answer, _ = await ask(kept, [*messages, user("look")])
    looked = [*messages, user("look"), *results(answer, "A")]
    answer, way = await ask(kept, looked)
    assert way == "parked"
    await talk(kept, looked := [*looked, answer["choices"][0]["message"]], "thanks")
    assert await talk(kept, looked[:2], "do not look") == "rewound"
    assert last_sent(kept) == ["one", "ok", "do not look"]


@pytest.mark.long
async def test_of_two_that_hold_it_the_one_with_less_beside_it_is_taken_back(kept: Served) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two", "three")
    other = [*messages[:2], user("two"), {"role": "assistant", "content": "no"}]
    await talk(kept, other, "four")
    assert await talk(kept, messages[:4], "three") == "rewound"
    assert await talk(kept, other[:4], "five") == "rewound"
    assert last_sent(kept) == ["one", "ok", "two", "no", "five"]


@pytest.mark.long
async def test_an_empty_history_takes_nothing_back(kept: Served) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two")
    assert await talk(kept, [], "one") == "new"
    assert await talk(kept, messages, "three") == "continued"


@pytest.mark.long
async def test_another_caller_or_other_choices_take_nothing_back(kept: Served) -> None:
    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two")
    for fields in ({"user": "somebody else"}, {"tool_choice": "none"}, {"model": "claude-opus"}):
        _, way = await ask(kept, [*messages[:2], user("two")], **fields)
        assert way == "replayed"


@pytest.mark.long
async def test_conversation_that_cannot_be_rewound_is_replaced(kept: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_self: ProcessTransport, _target: str, _newest: str) -> str:
        return "stale target"

    messages: list[dict[str, Any]] = []
    await talk(kept, messages, "one", "two", "three")
    monkeypatch.setattr(ProcessTransport, "rewind", refuse)
    assert await talk(kept, messages[:4], "other") == "replayed"
    assert last_sent(kept) == ["one", "ok", "two", "ok", "other"]
    assert "the conversation was not rewound: stale target" in await kept.whole_log()
