"""What Claude Code is answered when it asks about its own tools: every failure is a denial, nothing is ever allowed."""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from claude_openai.claude.walls.file_calls import FILE_CALL_S, FileCalls
from claude_openai.claude.walls.file_guard import Denied, FileGuard
from claude_openai.claude.walls.hook import HOOK_TIMEOUT_S, ToolGuard
from claude_openai.claude.walls.search_guard import SearchGuard
from claude_openai.logs.log import NULL_LOG, Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, ClaudeOptions, WebSearch

SEARCH: dict[str, Any] = {"tool_name": "WebSearch", "tool_input": {"query": "q"}}
Check = Callable[[Mapping[str, Any]], dict[str, Any] | None]
CALL = {"tool_name": "Read", "tool_input": {"file_path": "/w/a"}, "tool_use_id": "toolu_1", "cwd": "/w"}


class Checked(FileGuard):
    """Decides as the test says."""

    def __init__(self, check: Check) -> None:
        super().__init__(NO_CLAUDE_OPTIONS, home="/home/me", config="/home/me/.claude")
        self._check = check

    def check(self, asked: Mapping[str, Any]) -> dict[str, Any] | None:
        return self._check(asked)


class Guarded:
    def __init__(self, check: Check | None = lambda _asked: None) -> None:
        self.records: list[dict[str, Any]] = []
        log = Log(Level.TRACE, lambda line: self.records.append(json.loads(line)), Redactor())
        self.guard = ToolGuard(None if check is None else Checked(check), FileCalls(), log)

    def events(self) -> list[tuple[str, str]]:
        return [(record["level"], record["event"]) for record in self.records if record["level"] != "trace"]

    async def ask(self, **changes: Any) -> dict[str, Any]:
        """The answer to the hook for a call, in which some things are otherwise; `None` takes one away."""
        asked = {"hook_event_name": "PreToolUse", **CALL, **changes}
        return await self.answer({"input": {name: each for name, each in asked.items() if each is not None}})

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        frame = {"type": "control_request", "request_id": "r1", "request": {"subtype": "hook_callback", **request}}
        assert self.guard.takes(frame)
        answer = await self.guard.answer(frame)
        # Claude Code runs the tool when the answer is an error.
        assert answer["type"] == "control_response"
        assert {**answer["response"], "response": None} == {
            "subtype": "success",
            "request_id": "r1",
            "response": None,
        }
        response: dict[str, Any] = answer["response"]["response"]
        return response


def reason(answer: Mapping[str, Any]) -> str:
    output = answer["hookSpecificOutput"]
    assert set(answer) == {"hookSpecificOutput"}
    assert set(output) == {"hookEventName", "permissionDecision", "permissionDecisionReason"}
    assert (output["hookEventName"], output["permissionDecision"]) == ("PreToolUse", "deny")
    assert output["permissionDecisionReason"]
    return str(output["permissionDecisionReason"])


async def test_a_call_that_may_be_made_is_left_to_its_mode() -> None:
    assert await Guarded().ask() == {}


async def test_a_changed_input_is_passed_on_without_a_decision() -> None:
    answer = await Guarded(lambda _asked: {"file_path": "/w/b"}).ask()
    assert answer == {"hookSpecificOutput": {"hookEventName": "PreToolUse", "updatedInput": {"file_path": "/w/b"}}}


@pytest.mark.parametrize("mode", ["default", "acceptEdits", "plan", "auto", "bypassPermissions", "dontAsk"])
@pytest.mark.parametrize("of", [{}, {"agent_id": "a1", "agent_type": "general-purpose"}])
async def test_the_check_is_made_in_every_mode_and_for_agents_too(mode: str, of: dict[str, str]) -> None:
    def check(asked: Mapping[str, Any]) -> None:
        raise Denied(asked["tool_input"]["file_path"])

    assert reason(await Guarded(check).ask(permission_mode=mode, **of)) == "/w/a"


async def test_denial_gives_claude_a_reason_and_is_logged() -> None:
    def check(_asked: Mapping[str, Any]) -> None:
        raise Denied("It is outside.")

    guarded = Guarded(check)
    assert reason(await guarded.ask()) == "It is outside."
    assert guarded.events() == [("info", "sdk.own_tool_denied")]


@pytest.mark.parametrize(
    "error", [OSError("no"), ValueError("no"), KeyError("no"), RuntimeError("no"), RecursionError(), MemoryError()]
)
async def test_an_error_of_the_check_is_a_denial(error: Exception) -> None:
    def check(_asked: Mapping[str, Any]) -> None:
        raise error

    guarded = Guarded(check)
    assert "could not be checked" in reason(await guarded.ask())
    assert guarded.events() == [("warning", "sdk.own_tool_undecided"), ("info", "sdk.own_tool_denied")]


async def test_a_file_system_that_does_not_answer_is_a_denial_before_claude_code_gives_up(
    autojump_clock: MockClock,
) -> None:
    released = threading.Event()

    def check(_asked: Mapping[str, Any]) -> None:
        released.wait(60)

    before = trio.current_time()
    try:
        assert "did not answer in time" in reason(await Guarded(check).ask())
    finally:
        released.set()
    assert trio.current_time() - before == FILE_CALL_S < HOOK_TIMEOUT_S


async def test_threads_that_hang_do_not_keep_others_from_an_answer(autojump_clock: MockClock) -> None:
    released = threading.Event()

    def check(_asked: Mapping[str, Any]) -> None:
        released.wait(60)

    guarded = Guarded(check)
    answers: list[str] = []

    async def ask() -> None:
        answers.append(reason(await guarded.ask()))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert len(answers) == 50
        assert await trio.to_thread.run_sync(lambda: "a thread of somebody else's") != ""
    finally:
        released.set()


@pytest.mark.parametrize(
    "changes",
    [
        {"hook_event_name": "PostToolUse"},
        {"hook_event_name": None},
        {"tool_name": None},
        {"tool_use_id": None},
        {"tool_use_id": []},
    ],
)
async def test_a_question_of_another_form_is_a_denial(changes: dict[str, Any]) -> None:
    reason(await Guarded().ask(**changes))


@pytest.mark.parametrize("request_", [{}, {"input": None}, {"input": []}, {"input": "Read"}, {"input": 5}])
async def test_a_question_without_its_input_is_a_denial(request_: dict[str, Any]) -> None:
    reason(await Guarded().answer(request_))


async def test_without_tools_there_is_no_hook_and_what_asks_all_the_same_is_denied() -> None:
    guarded = Guarded(None)
    assert guarded.guard.hooks() == {}
    reason(await guarded.ask())


def test_the_hook_is_for_every_tool_and_blocks_when_it_fails() -> None:
    (entry,) = Guarded().guard.hooks()["hooks"]["PreToolUse"]
    assert entry == {"matcher": None, "hookCallbackIds": ["own_tools"], "timeout": 10, "onFailure": "block"}


async def test_a_permission_that_a_mode_asks_for_is_refused() -> None:
    guarded = Guarded()
    request = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "x"}}
    frame = {"type": "control_request", "request_id": "r1", "request": request}
    assert guarded.guard.takes(frame)
    answer = await guarded.guard.answer(frame)
    assert answer["response"]["subtype"] == "success"
    assert answer["response"]["response"]["behavior"] == "deny"
    assert "no one to approve it" in answer["response"]["response"]["message"]
    assert guarded.events() == [("info", "sdk.can_use_tool")]


def test_other_records_are_not_taken() -> None:
    guard = Guarded().guard
    for request in ({"subtype": "mcp_message"}, {"subtype": "interrupt"}, {}, None):
        assert not guard.takes({"type": "control_request", "request": request})
    assert not guard.takes({"type": "assistant", "request": {"subtype": "hook_callback"}})
    assert not guard.takes({})


async def test_questions_are_answered_side_by_side() -> None:
    first_may_go_on = threading.Event()

    def check(asked: Mapping[str, Any]) -> None:
        if asked["tool_use_id"] == "toolu_1":
            first_may_go_on.wait(60)

    guarded, lines = Guarded(check), list[str]()
    send, receive = trio.open_memory_channel[Mapping[str, Any]](10)
    answered = trio.Event()

    def write(line: str) -> None:
        lines.append(json.loads(line)["response"]["request_id"])
        answered.set()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(guarded.guard.answer_all, receive, write)
            for number in (1, 2):
                asked = {**CALL, "hook_event_name": "PreToolUse", "tool_use_id": f"toolu_{number}"}
                request = {"subtype": "hook_callback", "input": asked}
                send.send_nowait({"type": "control_request", "request_id": f"r{number}", "request": request})
            await answered.wait()
            assert lines == ["r2"]
            first_may_go_on.set()
            send.close()
    assert lines == ["r2", "r1"]


def used(name: str, call_id: str = "toolu_1") -> dict[str, Any]:
    return {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": call_id, "name": name}]}}


def result(call_id: str = "toolu_1", **more: Any) -> dict[str, Any]:
    return {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": call_id, **more}]}}


async def test_a_tool_that_ran_without_the_hook_gives_claude_code_away() -> None:
    guarded = Guarded()
    guard = guarded.guard
    assert not guard.does_not_ask(used("Read"))
    await guarded.ask()
    assert not guard.does_not_ask(result())  # it was asked for
    assert not guard.does_not_ask(used("Read"))
    assert not guard.does_not_ask(result(is_error=True))  # it was refused before the hook
    assert not guard.does_not_ask(used("mcp__openai__read"))
    assert not guard.does_not_ask(result())  # a tool of the client
    assert not guard.does_not_ask(used("Read"))
    assert guard.does_not_ask(result())
    assert guarded.events() == [("error", "sdk.own_tool_unasked")]


def test_a_claude_code_that_has_not_registered_the_hook_is_found_out() -> None:
    def initialized(**response: Any) -> dict[str, Any]:
        return {"type": "control_response", "response": {"subtype": "success", "response": response}}

    guard = Guarded().guard
    assert guard.does_not_ask(initialized(hooks_applied=False))
    assert not guard.does_not_ask(initialized(hooks_applied=True))
    assert not guard.does_not_ask(initialized())  # an older one does not say
    assert not guard.does_not_ask({"type": "control_response", "response": {"subtype": "error", "error": "no"}})
    assert not Guarded(None).guard.does_not_ask(initialized(hooks_applied=False))


def test_words_and_other_records_give_nothing_away() -> None:
    guard = Guarded().guard
    for record in (
        {"type": "user", "message": {"content": "Hi"}},
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "Hi"}]}},
        {"type": "stream_event", "event": {}},
        {"type": "assistant"},
        {"type": "user", "message": None},
        {"type": "user", "message": {"content": [None, "x", {"type": "tool_result"}, {"type": "tool_use", "id": []}]}},
        {"type": "control_response", "response": None},
        {"type": "control_response", "response": {"response": []}},
        {"type": "result"},
        {},
    ):
        assert not guard.does_not_ask(cast("dict[str, Any]", record))


async def test_the_real_check_runs_behind_it(tmp_path: Path) -> None:
    guarded = Guarded()
    files = FileGuard(ClaudeOptions(tool_mode="readonly"), home=str(tmp_path), config=str(tmp_path / ".claude"))
    guarded.guard = ToolGuard(files, FileCalls(), guarded.guard._log)
    assert "outside the allowed folders" in reason(await guarded.ask())


SESSION = "0f1e2d3c-4b5a-4697-8877-665544332211"
LONG = f"""<persisted-output>
Output too large (516.5KB). Full output saved to: /home/me/.claude/projects/-w/{SESSION}/tool-results/b1.txt

Preview (first 2KB):
1
"""


async def made_by(name: str, content: object) -> list[str]:
    """What is noted as made by a process, of the result of a call."""
    made: list[str] = []
    guarded = Guarded()
    guarded.guard.made = made.append
    use = {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content}
    await guarded.ask()
    assert not guarded.guard.does_not_ask({"type": "assistant", "message": {"content": [use]}})
    assert not guarded.guard.does_not_ask({"type": "user", "message": {"content": [result]}})
    return made


@pytest.mark.parametrize("content", [LONG, [{"type": "text", "text": LONG}]], ids=["text", "blocks"])
async def test_the_folder_of_a_long_result_is_noted(content: object) -> None:
    assert await made_by("Bash", content) == [f"projects/-w/{SESSION}"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mcp__openai__read", LONG),  # the client's words
        ("Bash", f"cat of a file:\n{LONG}"),
        ("Bash", LONG.replace(SESSION, "..")),
        ("Bash", LONG.replace("/-w/", "/../")),
        ("Bash", None),
        ("Bash", []),
    ],
)
async def test_nothing_else_is_taken_for_one(name: str, content: object) -> None:
    assert await made_by(name, content) == []


async def test_a_plan_that_the_process_makes_is_noted(tmp_path: Path) -> None:
    made: list[str] = []
    guarded = Guarded()
    files = FileGuard(ClaudeOptions(tool_mode="safe", permission_mode="plan"), home=str(tmp_path), config=str(tmp_path))
    guarded.guard = ToolGuard(files, FileCalls(), guarded.guard._log)
    guarded.guard.made = made.append
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "theirs.md").touch()
    for plan in ("ours.md", "theirs.md"):
        await guarded.ask(tool_name="Write", tool_input={"file_path": str(tmp_path / "plans" / plan), "content": ""})
    assert set(made) == {"plans/ours.md"}


def searching(**limits: Any) -> Guarded:
    guarded = Guarded(None)
    guarded.guard = ToolGuard(None, FileCalls(), NULL_LOG, SearchGuard(WebSearch(**limits)))
    return guarded


def test_without_tools_and_searches_there_is_no_hook() -> None:
    assert Guarded(None).guard.hooks() == {}


def test_hook_of_a_search_without_tools_is_for_searches_only() -> None:
    (entry,) = searching().guard.hooks()["hooks"]["PreToolUse"]
    assert entry["matcher"] == "WebSearch"
    (entry,) = Guarded().guard.hooks()["hooks"]["PreToolUse"]
    assert entry["matcher"] is None


async def test_a_search_gets_the_domains_of_the_request() -> None:
    assert await searching().ask(**SEARCH) == {}
    answer = await searching(allowed_domains=("a.org",)).ask(**SEARCH)
    changed = answer["hookSpecificOutput"]["updatedInput"]
    assert changed == {"query": "q", "allowed_domains": ["a.org"]}


async def test_search_beyond_the_limit_is_denied_until_the_next_turn() -> None:
    guarded = searching(max_uses=1)
    assert await guarded.ask(**SEARCH) == {}
    assert "No more web searches" in reason(await guarded.ask(**SEARCH))
    guarded.guard.begin_turn()
    assert await guarded.ask(**SEARCH) == {}


async def test_tool_is_denied_if_only_searches_are_offered() -> None:
    assert "could not be checked" in reason(await searching().ask())


def test_a_search_without_the_hook_ends_the_process() -> None:
    guard = searching(allowed_domains=("a.org",)).guard
    call = {"type": "tool_use", "id": "toolu_1", "name": "WebSearch", "input": {}}
    assert not guard.does_not_ask({"type": "assistant", "message": {"content": [call]}})
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Web search results"}
    assert guard.does_not_ask({"type": "user", "message": {"content": [result]}})
