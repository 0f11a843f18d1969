"""What the Bash of the real Claude Code starts ends with its `claude`, however either of them ends."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.daemons import WAYS, alive, new_number
from tests.real.harness import needs_bwrap, needs_claude, until
from tests.real.own_tools import is_judge

pytestmark = needs_claude


def client_leaves(command: Command, call: Call) -> None:
    call.leave()


def claude_is_killed(command: Command, call: Call) -> None:
    for pid in command.processes.claudes():
        os.kill(pid, signal.SIGKILL)


def server_is_stopped(command: Command, call: Call) -> None:
    command.send(signal.SIGTERM)


def server_is_killed(command: Command, call: Call) -> None:
    command.send(signal.SIGKILL)


ENDINGS = (client_leaves, claude_is_killed, server_is_stopped, server_is_killed)


def using_bash(command: str) -> Callable[[RecordedRequest], Reply]:
    """Claude has Bash run this once, and the judge has nothing against it."""

    def reply(request: RecordedRequest) -> Reply:
        if is_judge(request):
            return Reply("<block>no")
        if "tool_result" in str(request.messages):
            return Reply("Done.")
        return Reply(ToolUse("Bash", {"command": command, "description": "Work"}, "toolu_1"))

    return reply


@pytest.mark.long
@pytest.mark.parametrize("end", ENDINGS)
@pytest.mark.parametrize(
    ("backend", "confine"),
    [("sdk", "off"), ("cli", "off"), pytest.param("sdk", "require", marks=needs_bwrap)],
    ids=["sdk", "cli", "confined"],
)
async def test_nothing_that_bash_started_outlives_its_claude(
    tmp_path: Path, backend: str, confine: str, end: Callable[[Command, Call], None]
) -> None:
    number, work = new_number(), tmp_path / "work"
    work.mkdir()
    flags = ["--backend", backend, "--confine", confine, "--drain-timeout-ms", "0"]
    flags += ["--allowed-working-directory-prefixes", str(work)]
    claude: dict[str, Any] = {"toolMode": "all", "permissionMode": "auto"}
    script = "\n".join(way.format(number) for way in WAYS.values())
    async with running(tmp_path, *flags, reply=using_bash(script)) as command:
        async with Call.open(command.url, chat("Work.", claude=claude, stream=True)) as call:
            await until(lambda: len(alive(number)) == len(WAYS), lambda: f"all run: {alive(number)}", 60)
            end(command, call)
            await until(lambda: not alive(number), lambda: f"ended are {alive(number)}")
        if end in (server_is_stopped, server_is_killed):
            await command.left_nothing()


@pytest.mark.long
async def test_what_was_started_in_the_background_lives_as_long_as_its_conversation(tmp_path: Path) -> None:
    number, work = new_number(), tmp_path / "work"
    work.mkdir()

    flags = ("--confine", "off", "--spares", "0", "--allowed-working-directory-prefixes", str(work))
    claude: dict[str, Any] = {"toolMode": "all", "permissionMode": "auto"}
    said = [{"role": "user", "content": "Work."}]
    async with running(tmp_path, *flags, reply=using_bash(WAYS["nohup"].format(number))) as command:
        ways = []
        for _ in range(2):
            async with Call.open(command.url, chat(said, claude=claude)) as call:
                status, answer = await call.answer()
                ways.append(call.headers["x-claude-openai-conversation"])
            assert status == 200, answer
            # The shell may end before what it has left in the background has become the program.
            await until(lambda: len(alive(number)) == 1, lambda: f"one runs: {alive(number)}")
            said += [answer["choices"][0]["message"], {"role": "user", "content": "And?"}]
        assert ways == ["new", "continued"]
        for pid in command.processes.claudes():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not alive(number), "it ends with its conversation")
