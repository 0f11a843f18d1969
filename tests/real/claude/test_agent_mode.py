"""Claude's own tools, where a request asks for them: in its folder, within its mode, reported while they work."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claude_openai.protocol.claude_code.tool_notes import MAX_NOTE_CHARS
from claude_openai.standin.script import UpstreamErrorEvent
from claude_openai.testing import OVERLOADED_ERROR, Answer, Hang, RecordedRequest, Reply, Text, ToolUse, Usage
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.harness import Served, needs_claude, serving, until
from tests.real.own_tools import _results, is_judge
from tests.real.tool_turns import READ

pytestmark = needs_claude

BACKENDS = ("sdk", "cli")
Use = tuple[str, dict[str, Any]]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "a.txt").write_text("the words of a")
    return folder


def using(*uses: Use) -> Callable[[RecordedRequest], Reply]:
    """Claude uses these tools in one message, and then is done."""

    def reply(request: RecordedRequest) -> Reply:
        if request.messages[-1]["role"] == "user" and _results(request):
            return Reply("Done.")
        return Reply("I look.", *(ToolUse(name, given, f"toolu_{n}") for n, (name, given) in enumerate(uses)))

    return reply


async def ask(served: Served, **claude: Any) -> dict[str, Any]:
    async with Call.open(served.url, chat("Work.", claude=claude)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return answer


@pytest.mark.parametrize("backend", BACKENDS)
async def test_own_tools_work_in_the_folder_and_show_as_reasoning(tmp_path: Path, work: Path, backend: str) -> None:
    reply = using(("Read", {"file_path": str(work / "a.txt")}))
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, reply, **settings) as served:
        body = chat("Work.", stream=True, claude={"workingDirectory": str(work), "toolMode": "readonly"})
        async with Call.open(served.url, body) as call:
            assert await call.status() == 200
            events = await call.events()
        (note,) = texts(events, "reasoning_content")
        assert note.startswith(f"\n[Read: {work / 'a.txt'}"[:MAX_NOTE_CHARS])
        assert "".join(texts(events)) == "I look.\n\nDone."
        assert isinstance(events[-2], dict)
        assert events[-2]["choices"][0]["finish_reason"] == "stop"
        first, second = served.api.requests
        assert first.tools == ["Glob", "Grep", "Read"]
        assert "the words of a" in _results(second)[0]
        await until(lambda: '"event":"sdk.own_tool"' in served.log_text(), "the log has it")


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_the_mode_does_not_allow_is_refused_to_claude_and_logged(
    tmp_path: Path, work: Path, backend: str
) -> None:
    new = str(work / "new.txt")
    reply = using(
        ("Write", {"file_path": new, "content": "x"}),
        ("Read", {"file_path": "/etc/hostname"}),
        ("Bash", {"command": f"touch {work}/by-bash; echo $(date)"}),
    )
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, reply, **settings) as served:
        answer = await ask(served, toolMode="all", permissionMode="default")
        assert answer["choices"][0]["message"]["content"] == "I look.\n\nDone."
        refusals = _results(served.api.requests[-1])
        assert [("no one to approve it" in text) for text in refusals] == [True, False, True]
        assert "outside the allowed folders" in refusals[1]
        assert os.listdir(work) == ["a.txt"]  # noqa: PTH208 - in an async test
        asked = '"event":"sdk.can_use_tool"'
        await until(lambda: served.log_text().count(asked) == 2, "the log has each")
        await until(lambda: '"event":"sdk.own_tool_denied"' in served.log_text(), "the log has it")


# What comes to be of a Write and of a Bash that creates a file each, if a judge has nothing against them.
MODES = {
    "default": (set(), 0),
    "acceptEdits": ({"by-write"}, 0),
    "plan": ({"by-bash"}, 1),
    "auto": ({"by-bash", "by-write"}, 1),
}


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("mode", "made", "judged"), [(mode, *rest) for mode, rest in MODES.items()], ids=MODES)
async def test_each_permission_mode_allows_exactly_its_tools(
    tmp_path: Path, work: Path, backend: str, mode: str, made: set[str], judged: int
) -> None:
    uses = using(
        ("Write", {"file_path": str(work / "by-write"), "content": "x"}),
        ("Bash", {"command": f"python3 -c \"open('{work}/by-bash', 'w')\""}),
    )

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        return Reply("Went on.") if "Go on." in str(request.messages) else uses(request)

    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    # Kept open, so that there is time for other requests of Claude Code after the first turn.
    async with serving(tmp_path, reply, max_idle_sessions=2, **settings) as served:
        said = [{"role": "user", "content": "Make two files of a long and telling first prompt, then tell me of it."}]
        for _ in range(2):
            async with Call.open(served.url, chat(said, claude={"toolMode": "all", "permissionMode": mode})) as call:
                status, answer = await call.answer()
            assert status == 200, answer
            said += [answer["choices"][0]["message"], {"role": "user", "content": "Go on."}]
        assert set(os.listdir(work)) == {"a.txt", *made}  # noqa: PTH208 - in an async test
        assert "its safety check does not run" not in str([_results(request) for request in served.api.requests])
        assert len([request for request in served.api.requests if is_judge(request)]) == judged
    # Two of the first turn, one of the second, and what is looked at for a connection.
    asked = [(request.method, request.path.partition("?")[0]) for request in served.api.all_requests]
    assert asked.count(("POST", "/v1/messages")) == 3 + judged
    assert set(asked) <= {("POST", "/v1/messages"), ("HEAD", "/api/hello")}


@pytest.mark.long
async def test_client_tools_need_no_permission_in_any_mode(tmp_path: Path, work: Path) -> None:
    reply = Reply(ToolUse("mcp__openai__read", {"path": "/remote"}, "toolu_client"))
    async with serving(tmp_path, reply, allowed_working_directory_prefixes=(work,)) as served:
        for claude in ({"permissionMode": "auto"}, {"permissionMode": "auto", "toolMode": "all"}):
            async with Call.open(served.url, chat("Read.", tools=[READ], claude=claude)) as call:
                _, answer = await call.answer()
            assert [each["id"] for each in answer["choices"][0]["message"]["tool_calls"]] == ["toolu_client"]
        # Without tools of Claude's own nothing is different from any other turn.
        assert [request.method for request in served.api.all_requests] == ["POST", "HEAD", "POST"]


@pytest.mark.long
async def test_essential_traffic_only_is_kept_and_disables_auto_mode(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
    reply = using(("Bash", {"command": f"python3 -c \"open('{work}/by-bash', 'w')\""}))
    async with serving(tmp_path, reply, allowed_working_directory_prefixes=(work,)) as served:
        await ask(served, toolMode="all", permissionMode="auto")
        assert "its safety check does not run" in _results(served.api.requests[-1])[0]
        assert not [request for request in served.api.requests if is_judge(request)]


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
async def test_safe_tools_edit_files_of_the_folder_and_run_nothing(tmp_path: Path, work: Path, backend: str) -> None:
    inside, outside = str(work / "new.txt"), str(tmp_path / "outside.txt")
    writes = [("Write", {"file_path": path, "content": "x"}) for path in (inside, outside)]
    reply = using(*writes, ("Bash", {"command": "ls"}))
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, reply, **settings) as served:
        await ask(served, toolMode="safe")
        assert sorted(os.listdir(work)) == ["a.txt", "new.txt"]  # noqa: PTH208 - in an async test
        assert "outside.txt" not in os.listdir(tmp_path)  # noqa: PTH208
        assert "Bash" not in (served.api.requests[0].tools or ())
        assert "No such tool" in _results(served.api.requests[-1])[2]


@pytest.mark.long
async def test_further_folders_are_open_too(tmp_path: Path, work: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.txt").write_text("the words of b")
    reply = using(("Read", {"file_path": str(other / "b.txt")}))
    async with serving(tmp_path, reply, allowed_working_directory_prefixes=(work, other)) as served:
        await ask(served, toolMode="readonly", workingDirectory=str(work), addDirs=[str(other)])
        assert "the words of b" in _results(served.api.requests[-1])[0]


@pytest.mark.long
async def test_claude_with_own_tools_gets_its_environment(tmp_path: Path, work: Path) -> None:
    async with serving(tmp_path, allowed_working_directory_prefixes=(work,)) as served:
        await ask(served, workingDirectory=str(work), toolMode="readonly")
        assert f"Primary working directory: {work}" in served.api.requests[0].raw.decode()


@pytest.mark.long
async def test_without_a_tool_mode_there_are_no_tools(tmp_path: Path, work: Path) -> None:
    async with serving(tmp_path, allowed_working_directory_prefixes=(work,), spares=1) as served:
        await ask(served, workingDirectory=str(work), permissionMode="acceptEdits", effort="low")
        assert not served.api.requests[0].tools


async def test_refusals_name_the_field_and_what_is_allowed(tmp_path: Path, work: Path) -> None:
    async with serving(tmp_path, allowed_working_directory_prefixes=(work,)) as served:
        for claude, param, allowed in (
            ({"workingDirectory": "/etc"}, "claude.workingDirectory", str(work)),
            ({"addDirs": [str(work), str(work / "..")]}, "claude.addDirs[1]", str(work)),
            ({"permissionMode": "bypassPermissions"}, "claude.permissionMode", "acceptEdits, auto, default, plan"),
        ):
            async with Call.open(served.url, chat("Work.", claude=claude)) as call:
                status, answer = await call.answer()
            assert (status, answer["error"]["param"]) == (403, param)
            assert allowed in answer["error"]["message"]
        assert served.api.requests == []


@pytest.mark.long
async def test_its_own_tools_and_the_clients_share_a_turn_and_its_conversation(tmp_path: Path, work: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        if _results(request):
            return Reply("Both read.")
        own = ToolUse("Read", {"file_path": str(work / "a.txt")}, "toolu_own")
        return Reply(own, ToolUse("mcp__openai__read", {"path": "/remote"}, "toolu_client"))

    asked = [{"role": "user", "content": "Read both."}]
    more: dict[str, Any] = {"tools": [READ], "claude": {"toolMode": "readonly"}}
    async with serving(
        tmp_path, reply, allowed_working_directory_prefixes=(work,), max_idle_sessions=2, show_tool_use=False
    ) as served:
        async with Call.open(served.url, chat(asked, **more)) as call:
            _, answer = await call.answer()
        message = answer["choices"][0]["message"]
        assert "reasoning_content" not in message
        assert [each["id"] for each in message["tool_calls"]] == ["toolu_client"]
        result = {"role": "tool", "tool_call_id": "toolu_client", "content": "remote words"}
        async with Call.open(served.url, chat([*asked, message, result], **more)) as call:
            _, answer = await call.answer()
            assert call.headers["x-claude-openai-conversation"] == "parked"
        assert answer["choices"][0]["message"]["content"] == "Both read."
        received = " ".join(_results(served.api.requests[-1]))
        assert "the words of a" in received
        assert "remote words" in received


@pytest.mark.long
async def test_sub_agent_cannot_call_the_clients_tools(tmp_path: Path, work: Path) -> None:
    def reply(request: RecordedRequest) -> Reply:
        results = _results(request)
        if "Work." not in str(request.messages[0]):  # the agent's own
            return Reply("I could not.") if results else Reply(ToolUse("mcp__openai__read", {"path": "/r"}, "toolu_2"))
        options = {"description": "Look", "prompt": "Look for it.", "subagent_type": "general-purpose"}
        return Reply("It could not.") if results else Reply(ToolUse("Agent", options, "toolu_1"))

    more: dict[str, Any] = {"tools": [READ], "claude": {"toolMode": "all"}}
    async with serving(tmp_path, reply, allowed_working_directory_prefixes=(work,)) as served:
        async with Call.open(served.url, chat("Work.", **more)) as call:
            status, answer = await call.answer()
        assert (status, answer["choices"][0]["message"]["content"]) == (200, "It could not.")
        received = [text for request in served.api.requests for text in _results(request)]
        assert any("Sub-agents cannot call this tool" in text for text in received)


@pytest.mark.long
async def test_a_live_conversation_is_not_shared_between_folders_and_can_be_left(tmp_path: Path, work: Path) -> None:
    said = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "On"},
    ]
    ways = []
    async with serving(tmp_path, allowed_working_directory_prefixes=(work,), max_idle_sessions=4) as served:
        here: dict[str, Any] = {"workingDirectory": str(work)}
        for messages, claude in (
            (said[:1], here),
            (said, {}),
            (said, {**here, "resetSession": True}),
            (said, here),
        ):
            async with Call.open(served.url, chat(messages, claude=claude)) as call:
                assert await call.status() == 200
                ways.append(call.headers["x-claude-openai-conversation"])
                await call.body()
    assert ways == ["new", "replayed", "replayed", "continued"]


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_usage_counts_what_agents_spend(tmp_path: Path, work: Path, backend: str) -> None:
    spent = Usage(input_tokens=18, output_tokens=20, cache_read_input_tokens=2, cache_creation_input_tokens=1)

    def reply(request: RecordedRequest) -> Reply:
        results = _results(request)
        if "Work." not in str(request.messages[0]):  # the agent's own
            return Reply("I found it.", usage=spent) if results else Reply(glob, usage=spent)
        return (
            Reply("It was found.", usage=spent) if results else Reply(ToolUse("Agent", options, "toolu_1"), usage=spent)
        )

    glob = ToolUse("Glob", {"pattern": "*"}, "toolu_2")
    options = {"description": "Look", "prompt": "Look for it.", "subagent_type": "general-purpose"}
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, reply, max_idle_sessions=1, **settings) as served:
        said = [{"role": "user", "content": "Work."}]
        # A turn that is not live has no results of earlier turns, so the agent is asked again.
        each_turn = (4, 1) if backend == "sdk" else (4, 4)
        for calls in each_turn:
            async with Call.open(served.url, chat(said, claude={"toolMode": "all"})) as call:
                _, answer = await call.answer()
            usage = answer["usage"]
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (21 * calls, 20 * calls)
            assert usage["prompt_tokens_details"]["cached_tokens"] == 2 * calls
            said += [answer["choices"][0]["message"], {"role": "user", "content": "Work. And?"}]
        assert len(served.api.requests) == sum(each_turn)
        async with Call.open(served.url, None, "/v1/usage") as call:
            _, counted = await call.answer(validated=False)
        today = counted["today"]
        assert (today["input_tokens"], today["output_tokens"]) == (21 * sum(each_turn), 20 * sum(each_turn))
        assert today["cost_usd"] > 0
        assert today["estimated_usd"] == 0


@pytest.mark.long
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
async def test_its_work_comes_through_streams_that_break_off_and_calls_that_fail(
    tmp_path: Path, work: Path, backend: str, stream: bool
) -> None:
    def reading(number: int) -> ToolUse:
        return ToolUse("Read", {"file_path": str(work / "a.txt")}, f"toolu_{number}")

    half = ToolUse("Read", id="toolu_9", fragments=('{"file', UpstreamErrorEvent()))
    answers: list[Answer] = [
        Reply("One.", reading(1), UpstreamErrorEvent()),
        OVERLOADED_ERROR,
        Reply("Two.", half),
        Reply(" Three.", reading(2)),
        Reply(UpstreamErrorEvent()),
        Reply("Four."),
    ]
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, **settings) as served:
        served.api.enqueue(*answers)
        body = chat("Work.", stream=stream, claude={"workingDirectory": str(work), "toolMode": "readonly"})
        async with Call.open(served.url, body) as call:
            if stream:
                assert await call.status() == 200
                events = await call.events()
                said, thoughts = "".join(texts(events)), "".join(texts(events, "reasoning_content"))
            else:
                _, answer = await call.answer()
                message = answer["choices"][0]["message"]
                said, thoughts = message["content"], message["reasoning_content"]
        assert said == "One.\n\nTwo. Three.\n\nFour."
        assert thoughts.count("[Read:") == 2  # not of the call that broke off
        assert len(served.api.requests) == len(answers)


@pytest.mark.long
@pytest.mark.parametrize("backend", BACKENDS)
async def test_text_and_a_tool_of_its_own_and_then_an_empty_end_is_an_answer(
    tmp_path: Path, work: Path, backend: str
) -> None:
    settings: dict[str, Any] = {"backend": backend, "allowed_working_directory_prefixes": (work,)}
    async with serving(tmp_path, **settings) as served:
        read = ToolUse("Read", {"file_path": str(work / "a.txt")}, "toolu_1")
        served.api.enqueue(Reply(Text("It says a."), read), Reply(before_stop=[Hang()]))
        answer = await ask(served, toolMode="readonly")
        assert answer["choices"][0]["message"]["content"] == "It says a."
        await served.processes.wait_no_claude()
        assert len(served.api.requests) == 2
