"""What Claude is sent: the client's conversation, and nothing of Claude Code's own, on the bundled CLI."""

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude import priming
from claude_openai.claude.process.program import find_claude
from claude_openai.claude.transcript.session_file import Notes
from claude_openai.errors import ClaudeMissing
from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until
from tests.real.heard import sent

pytestmark = [needs_claude, needs("exact-claude")]

SYSTEM = {"role": "system", "content": "You are Bob."}
ONE = {"role": "user", "content": "one"}
CALL: dict[str, Any] = {
    "role": "assistant",
    "content": "Let me see.",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
LIST = {"type": "function", "function": {"name": "list", "parameters": {"type": "object"}}}
ASKED_FIELDS = ("model", "system", "tools", "messages")

SAID_ONE = ("user", [("text", "one")])
SAID_CALL = ("assistant", [("text", "Let me see."), ("tool_use", "c1")])
CONVERSATIONS = {
    "new": ([ONE], [SAID_ONE]),
    "history": (
        [ONE, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}],
        [SAID_ONE, ("assistant", [("text", "two")]), ("user", [("text", "three")])],
    ),
    "results": ([ONE, CALL, RESULT], [SAID_ONE, SAID_CALL, ("user", [("tool_result", "c1")])]),
    "results, then words": (
        [ONE, CALL, RESULT, {"role": "user", "content": "Stop."}],
        [SAID_ONE, SAID_CALL, ("user", [("tool_result", "c1"), ("text", "Stop.")])],
    ),
}
# Aliases and full ids; models that take system messages within a conversation, and an older model.
MODELS = ("sonnet", "haiku", "claude-opus-5", "claude-sonnet-4-6")


async def ask(served: Served, messages: Sequence[dict[str, Any]], **fields: Any) -> RecordedRequest:
    """Ask, and give the one request that reached Claude."""
    before = len(served.api.requests)
    async with Call.open(served.url, chat(messages, **fields)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
    (request,) = served.api.requests[before:]
    return request


def events(served: Served, name: str) -> list[dict[str, Any]]:
    return [record for record in map(json.loads, served.log_text().splitlines()) if record["event"] == name]


def pids(served: Served, what: str) -> list[int]:
    return [record["pid"] for record in events(served, f"process.{what}")]


@pytest.mark.long
@on_both_backends
@pytest.mark.parametrize("model", MODELS)
async def test_a_conversation_reaches_claude_block_by_block_with_nothing_added(
    tmp_path: Path, backend: str, model: str
) -> None:
    async with serving(tmp_path, learns=True, backend=backend, models=MODELS) as served:
        for messages, expected in CONVERSATIONS.values():
            tools = {"tools": [LOOK]} if backend == "sdk" and CALL in messages else {}
            request = await ask(served, [SYSTEM, *messages], model=model, **tools)
            assert sent(request) == expected
            _, _, *system = request.body["system"]  # the first two are Claude Code's own
            assert [block["text"] for block in system] == ["You are Bob."]
        assert len(await served.logged("priming.learnt")) == 1


@pytest.mark.long
async def test_a_spare_serves_every_kind_of_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path, spares=1) as served:
        for messages, expected in CONVERSATIONS.values():
            await until(lambda: len(pids(served, "start")) > len(pids(served, "exit")), "a spare waits")
            waiting = {*pids(served, "start")} - {*pids(served, "exit")}  # another may be bound to the tools
            assert sent(await ask(served, messages, tools=[LOOK])) == expected
            await until(lambda: bool(waiting & {*pids(served, "exit")}), "a spare has answered and left")  # noqa: B023


@pytest.mark.long
async def test_new_conversation_with_the_system_prompt_and_tools_of_the_last_two_gets_a_bound_spare(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, spares=1) as served:
        first, _ = [await ask(served, [SYSTEM, ONE], tools=[LOOK]) for _ in range(2)]
        await until(lambda: bool(events(served, "spare.bound")), "a spare is bound")
        (bound,) = events(served, "spare.bound")
        for other in ({"tools": [LIST]}, {"tools": [LOOK], "user": "another"}):
            await ask(served, [SYSTEM, ONE], **other)
            assert bound["pid"] not in pids(served, "exit")
        third = await ask(served, [SYSTEM, ONE], tools=[LOOK])
        assert [third.body[field] for field in ASKED_FIELDS] == [first.body[field] for field in ASKED_FIELDS]
        assert sent(third) == [SAID_ONE]
        await until(lambda: bound["pid"] in pids(served, "exit"), "the bound spare has answered and left")


async def test_replayed_conversation_continues_live_and_exact(tmp_path: Path) -> None:
    messages, expected = CONVERSATIONS["results, then words"]
    async with serving(tmp_path, max_idle_sessions=1) as served:
        await ask(served, messages, tools=[LOOK])
        follow_up = [*messages, {"role": "assistant", "content": "ok"}, {"role": "user", "content": "And?"}]
        request = await ask(served, follow_up, tools=[LOOK])
        assert sent(request) == [*expected, ("assistant", [("text", "ok")]), ("user", [("text", "And?")])]
        assert len(await served.logged("process.start")) <= 2  # one may have learnt the notes


@pytest.fixture
def next_day(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Set the time zone of the server and of new processes; the function sets another, where it is always a later day.

    A process that runs keeps its time zone.
    """

    def live_in(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    def end_the_day() -> None:
        before = priming.today()
        live_in("Etc/GMT-14")
        assert priming.today() > before

    live_in("Etc/GMT+12")
    yield end_the_day
    monkeypatch.undo()
    time.tzset()


@pytest.mark.long
async def test_after_midnight_conversations_and_spares_end_and_notes_are_learnt_anew(
    tmp_path: Path, next_day: Callable[[], None]
) -> None:
    go_on = [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "And?"}]
    went_on = [("assistant", [("text", "ok")]), ("user", [("text", "And?")])]
    messages, expected = CONVERSATIONS["results"]

    def two_wait_beside_a_spare() -> bool:
        return len(pids(served, "start")) - len(pids(served, "exit")) == 3

    async with serving(tmp_path, max_idle_sessions=2, spares=1) as served:
        await ask(served, [ONE])
        served.api.enqueue(Reply("Let me see.", ToolUse("mcp__openai__look", {"at": "x"}, "c1")))
        await ask(served, [ONE], tools=[LOOK])
        await until(two_wait_beside_a_spare, "a spare waits")
        before = {*pids(served, "start")}
        next_day()
        # A live process would add the new date, which cannot be taken out.
        assert sent(await ask(served, [ONE, *go_on])) == [SAID_ONE, *went_on]
        assert sent(await ask(served, messages, tools=[LOOK])) == expected
        assert sent(await ask(served, [ONE])) == [SAID_ONE]
        ways = [record["way"] for record in await served.logged("conversation.taken")]
        assert ways == ["new", "new", "replayed", "replayed", "new"]
        assert len(await served.logged("priming.learnt")) == 2
        await until(lambda: before <= {*pids(served, "exit")}, "all processes of the day before have ended")
        await until(two_wait_beside_a_spare, "another spare waits")


@pytest.mark.long
async def test_notes_that_do_not_help_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priming, "CHECK_DELAY_S", 0.0)
    monkeypatch.setattr(priming, "_notes_in", lambda _folder: ())
    async with serving(tmp_path, learns=True) as served:
        request = await ask(served, [ONE])
        assert sent(request)[0] == SAID_ONE
        await until(lambda: len(events(served, "priming.incomplete")) == 2, "it is reported for both attempts")
        for report in await served.logged("priming.incomplete"):
            assert "# Environment" in report["added"][0]


@pytest.mark.long
async def test_notes_that_do_not_help_are_learnt_and_checked_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, found = priming._notes_in, list[int]()

    def stale_at_first(folder: Path) -> Notes:
        found.append(1)
        return () if len(found) == 1 else read(folder)

    checked = []
    added = priming.Primer._added

    async def noted(primer: priming.Primer, model: str, notes: Notes) -> list[str]:
        checked.append(await added(primer, model, notes))
        return checked[-1]

    monkeypatch.setattr(priming, "CHECK_DELAY_S", 0.0)
    monkeypatch.setattr(priming, "_notes_in", stale_at_first)
    monkeypatch.setattr(priming.Primer, "_added", noted)
    async with serving(tmp_path, learns=True) as served:
        await ask(served, [ONE])
        await until(lambda: len(checked) == 2, "they are checked again")
        assert checked[0]
        assert not checked[1]
        assert sent(await ask(served, [{"role": "user", "content": "two"}])) == [("user", [("text", "two")])]
        assert len(events(served, "priming.incomplete")) == 1


@pytest.mark.long
@pytest.mark.parametrize("failure", [OSError("no"), ClaudeMissing("gone"), KeyError("attachment")])
async def test_a_cli_that_cannot_be_probed_answers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def failing(*_args: object, **_kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(priming.Primer, "_turn", failing)
    async with serving(tmp_path, learns=True) as served:
        for _ in range(2):
            assert sent(await ask(served, [ONE]))[0] == SAID_ONE
        assert len(await served.logged("priming.failed")) == 1  # it is not tried again for each request


@pytest.mark.long
async def test_notes_are_learnt_again_the_next_day_and_for_a_cli_that_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claude = tmp_path / "claude"
    shutil.copy(find_claude(None), claude)
    async with serving(tmp_path, learns=True, claude_command=str(claude)) as served:
        await ask(served, [ONE])
        await ask(served, [ONE])
        assert len(await served.logged("priming.learnt")) == 1
        monkeypatch.setattr(priming, "today", lambda: "2000-01-01")
        await ask(served, [ONE])
        assert len(await served.logged("priming.learnt")) == 2
        os.utime(claude, (0, 0))
        await ask(served, [ONE])
        assert len(await served.logged("priming.learnt")) == 3


@pytest.mark.long
async def test_a_cli_that_is_too_old_is_reported_once_and_again_only_as_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter(["2.1.200", "2.1.200", "2.1.210", "2.1.332", "2.1.200"])
    until_result = priming._until_result

    async def older(*args: Any) -> str:
        await until_result(*args)
        return next(told)

    monkeypatch.setattr(priming, "_until_result", older)
    days = itertools.count()
    monkeypatch.setattr(priming, "today", lambda: str(next(days)))  # so that each turn learns again
    async with serving(tmp_path, learns=True) as served:
        for _ in range(5):
            await ask(served, [ONE])
        reported = [event["message"].split()[0] for event in await served.logged("claude.outdated")]
        assert reported == ["2.1.200", "2.1.210", "2.1.200"]
