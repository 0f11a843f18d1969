"""The server's environment: what Claude Code needs reaches it, and nothing overrides what the client asked for."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from claude_openai.claude.process.command_line import claude_environment
from claude_openai.claude.process.environment import Reach, reach
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.testing import Hang, MessagesApi, RecordedRequest, Reply, Text, ToolUse
from tests.conditions import lacks
from tests.real.call import Call, chat
from tests.real.command import running
from tests.real.harness import Served, needs_claude, on_both_backends, serving
from tests.real.own_tools import is_judge
from tests.real.tool_turns import READ, results

pytestmark = needs_claude

# Each changes a request of the plain CLI, or what it does before one.
HOSTILE = {
    "CLAUDE_CODE_EFFORT_LEVEL": "max",
    "MAX_THINKING_TOKENS": "0",
    "CLAUDE_CODE_DISABLE_THINKING": "1",
    "CLAUDE_CODE_EXTRA_BODY": '{"temperature": 0.5, "planted": true}',
    "ANTHROPIC_BETAS": "planted-2026-01-01",
    "ANTHROPIC_MODEL": "claude-planted",
    "CLAUDE_CODE_SUBAGENT_MODEL": "claude-planted",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "7",
    "CLAUDE_CODE_SIMPLE_SYSTEM_PROMPT": "1",
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX": "1",
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "10",
    "CLAUDE_CODE_MAX_TURNS": "1",
    "MCP_TOOL_TIMEOUT": "1",
    "CLAUDE_CODE_CHILD_SESSION": "1",
    "CLAUDE_CODE_OVERRIDE_DATE": "2020-01-01",
}


def sent(request: RecordedRequest) -> dict[str, Any]:
    """What a request says, without what is random: ids of sessions, folders, and a fingerprint of the prompt."""
    text = json.dumps({k: v for k, v in request.body.items() if k != "metadata"})
    text = re.sub(r"cc_version=[^;]*;", "", re.sub(r"claude-openai-\w+", "PRIVATE", text))
    return {"body": json.loads(text), "betas": request.headers["anthropic-beta"]}


async def two_requests(served: Served, **more: Any) -> list[dict[str, Any]]:
    """A turn that calls the client's tool, and the next with its result; what Claude was sent."""
    asked = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Read it."}]
    settings = {"tools": [READ], "reasoning_effort": "low", "max_tokens": 1000, **more}
    async with Call.open(served.url, chat(asked, **settings)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
    async with Call.open(served.url, chat([*asked, *results(answer, "seen")], **settings)) as call:
        assert (await call.answer())[0] == 200
    return [sent(request) for request in served.api.requests]


def calls_once(request: RecordedRequest) -> Reply:
    if "tool_result" in str(request.messages):
        return Reply("Done.")
    return Reply(ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1"))


@pytest.mark.long
@pytest.mark.parametrize("claude", [{}, {"toolMode": "readonly"}], ids=["no tools of its own", "tools of its own"])
async def test_no_variable_changes_what_claude_is_sent(
    tmp_path: Path, claude: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more: dict[str, Any] = {"claude": claude} if claude else {}
    seen = []
    for environ in ({}, HOSTILE):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        async with serving(tmp_path, calls_once, max_idle_sessions=1) as served:
            seen.append(await two_requests(served, **more))
    assert len(seen[0]) == 2
    assert seen[0] == seen[1]
    assert seen[0][0]["body"]["output_config"]["effort"] == "low"
    assert seen[0][0]["body"]["max_tokens"] == 1000


@pytest.mark.long
async def test_no_program_of_a_variable_runs_in_claude_or_before_its_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks("exact-claude")  # runs `claude --version` once, in this process's environment
    touched = tmp_path / "touched"
    touched.mkdir()
    preload, script, prefix = tmp_path / "preload.js", tmp_path / "script.sh", tmp_path / "prefix.sh"
    preload.write_text(f'require("fs").writeFileSync("{touched}/bun", "")')
    script.write_text(f"touch {touched}/script\n")
    prefix.write_text(f'#!/bin/sh\ntouch {touched}/prefix\nexec sh -c "$*"\n')
    prefix.chmod(0o700)
    monkeypatch.setenv("BUN_OPTIONS", f"--preload {preload}")
    for name in ("BASH_ENV", "ENV", "CLAUDE_ENV_FILE"):
        monkeypatch.setenv(name, str(script))
    monkeypatch.setenv("CLAUDE_CODE_SHELL_PREFIX", str(prefix))
    monkeypatch.setenv("MAKEFLAGS", "-j7")
    monkeypatch.chdir(tmp_path)

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        if "tool_result" in str(request.messages):
            return Reply("Done.")
        return Reply(ToolUse("Bash", {"command": f"echo flags=$MAKEFLAGS > {touched}/command"}, "toolu_1"))

    claude = {"toolMode": "all", "permissionMode": "auto"}
    async with serving(tmp_path, reply) as served, Call.open(served.url, chat("Work.", claude=claude)) as call:
        assert (await call.answer())[0] == 200
    assert [path.name for path in touched.iterdir()] == ["command"]
    assert (touched / "command").read_text() == "flags=-j7\n"


def variables(pid: int) -> set[str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {entry.partition(b"=")[0].decode() for entry in entries if entry}


@pytest.mark.long
@on_both_backends
async def test_a_turn_without_tools_of_its_own_has_what_is_listed_and_what_the_server_sets(
    tmp_path: Path, backend: str
) -> None:
    planted = {"PLANTED": "1", "EDITOR": "vi", "XDG_RUNTIME_DIR": str(tmp_path), "CLAUDE_CODE_ANYTHING": "1"}
    needed = {"ANTHROPIC_CUSTOM_HEADERS": "x-gateway: yes", "TZ": "Asia/Tokyo", "AWS_PROFILE": "me", "NAMED": "1"}
    reply = Reply(Text("one", Hang()))
    flags = ("--spares", "0", "--backend", backend, "--pass-env", "NAMED,ABSENT")
    async with running(tmp_path, *flags, reply=reply, env={**planted, **needed}) as command:
        async with Call.open(command.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            # One more, to learn the notes, may be about to end.
            (pid,) = set(command.processes.claudes()) & set(command.processes.of_turns(command.api))
            names = variables(pid)
            assert names >= needed.keys()
            unlisted = {name for name in names if reach(name) is not Reach.EVERY_TURN}
            assert unlisted <= {"NAMED", *names_set_by_the_server()}
        (request,) = command.api.requests
        assert request.headers["x-gateway"] == "yes"


def names_set_by_the_server() -> set[str]:
    nothing = claude_environment({}, extra={}, cwd=Path("/")).keys() | TurnSettings().environment.keys()
    return {*nothing, "CLAUDE_CODE_TMPDIR", "XDG_CACHE_HOME"}


@pytest.mark.long
async def test_a_cloud_provider_of_the_environment_is_used(tmp_path: Path) -> None:
    keys = {"AWS_REGION": "eu-west-3", "AWS_ACCESS_KEY_ID": "AKIAPLANTED", "AWS_SECRET_ACCESS_KEY": "planted"}
    model = {"ANTHROPIC_DEFAULT_SONNET_MODEL": "eu.anthropic.planted-model"}
    async with MessagesApi.serving() as amazon:
        environ = {"CLAUDE_CODE_USE_BEDROCK": "1", "ANTHROPIC_BEDROCK_BASE_URL": amazon.base_url, **keys, **model}
        async with running(tmp_path, env=environ) as command, Call.open(command.url, chat("Hi")) as call:
            await call.answer(validated=False)  # an error: the stand-in does not speak Amazon's protocol
        asked = [request for request in amazon.all_requests if "planted-model" in request.path]
        assert asked
        assert "Credential=AKIAPLANTED/" in asked[0].headers["authorization"]
        assert "/eu-west-3/bedrock/" in asked[0].headers["authorization"]


async def test_the_description_of_a_tool_reaches_claude_whole(tmp_path: Path) -> None:
    description = "Reads. " * 3000 + "THE END"
    tool = {"type": "function", "function": {"name": "read", "description": description}}
    async with serving(tmp_path) as served:
        async with Call.open(served.url, chat("Hi", tools=[tool])) as call:
            assert (await call.answer())[0] == 200
        (offered,) = served.api.requests[0].body["tools"]
        assert offered["description"] == description


@pytest.mark.long
async def test_no_notes_follow_the_results_of_the_clients_tools(tmp_path: Path) -> None:
    async with serving(tmp_path, calls_once, max_idle_sessions=1) as served:
        # Not every model would get the number of tokens that are left.
        await two_requests(served, model="claude-sonnet-5")
        *_, calls, received = served.api.requests[-1].messages
        assert (calls["role"], received["role"]) == ("assistant", "user")
        assert [block["type"] for block in received["content"]] == ["tool_result"]


@pytest.mark.long
async def test_claude_gets_the_plan_mode_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(tmp_path) as served:
        async with Call.open(served.url, chat("Plan.", claude={"toolMode": "safe", "permissionMode": "plan"})) as call:
            assert (await call.answer())[0] == 200
        assert [request for request in served.api.requests if "Plan mode is active" in str(request.messages)]
