"""Codex, unmodified, through a tool loop and a follow-up. Its program is the one that CODEX names, or on PATH."""

import os
import subprocess
from pathlib import Path

import trio

from claude_openai.testing import RecordedRequest, Reply, Thinking, ToolUse
from tests.conditions import CODEX, needs
from tests.real.harness import Served, needs_claude, serving
from tests.real.opencode import ways

pytestmark = [needs_claude, needs("codex")]

CONFIG = """
model = "claude-sonnet"
model_provider = "claude"
check_for_update_on_startup = false

[model_providers.claude]
name = "Claude Code"
base_url = "{url}/v1"
wire_api = "responses"
"""


async def codex(served: Served, folder: Path, *arguments: str) -> str:
    """Run it once in `folder / "project"`, with leave to do anything there."""
    project, home = folder / "project", folder / "codex"
    for each in (project, home):
        each.mkdir(exist_ok=True)
    (home / "config.toml").write_text(CONFIG.format(url=served.url))
    leave = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
    done = await trio.run_process(
        [str(CODEX), "exec", *arguments, *leave],
        stdin=subprocess.DEVNULL,
        capture_stdout=True,
        capture_stderr=True,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(home), "CODEX_HOME": str(home)},
        cwd=project,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    output: str = done.stdout.decode()
    return output


def reply(request: RecordedRequest) -> Reply:
    said = str([message for message in request.messages if message["role"] != "system"][-1]["content"])
    if "tool_result" in said:
        return Reply("It says: " + ("done" if "from the shell" in said else said))
    if "run it" in said:
        command = {"cmd": "echo from the shell > out.txt; cat out.txt"}
        return Reply(
            Thinking("A command.", signature="c2lnbmVk"), ToolUse("mcp__openai__exec_command", command, "toolu_1")
        )
    return Reply("Followed.")


async def test_it_runs_a_command_and_follows_up_in_the_same_conversation(tmp_path: Path) -> None:
    async with serving(tmp_path, reply, spares=1, max_idle_sessions=4) as served:
        assert "It says: done" in await codex(served, tmp_path, "run it")
        assert (tmp_path / "project" / "out.txt").read_text() == "from the shell\n"
        assert "Followed." in await codex(served, tmp_path, "resume", "--last", "and now?")
        assert await ways(served) == ["new", "parked", "continued"]
        assert len(served.api.requests) == 3
