"""What the real Claude Code leaves in the log: its tool calls, and its failures with their kind."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from claude_openai.testing import Hang, Reply, Text, ToolUse
from tests.real.call import Call, chat
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import Served, needs_claude, serving, until

pytestmark = needs_claude

READ = {"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}


async def logged(served: Served, event: str) -> list[dict[str, Any]]:
    """The records of an event, as soon as there is one."""
    await until(lambda: f'"event":"{event}"' in served.log_text(), event)
    records = [json.loads(line) for line in served.log_text().splitlines()]
    return [record for record in records if record["event"] == event]


async def test_a_streamed_tool_call_is_told_by_id_name_and_size(tmp_path: Path) -> None:
    call_of_claude = ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1")
    async with serving(tmp_path, Reply(call_of_claude)) as served:
        async with Call.open(served.url, chat("Hi", tools=[READ], stream=True)) as call:
            assert await call.status() == 200
            await call.events()
        (streamed,) = await logged(served, "openai.stream_tool_calls")
        assert (streamed["count"], streamed["names"]) == (1, ["read"])
        (told,) = await logged(served, "sdk.structured_tool_call")
        assert (told["id"], told["name"]) == ("toolu_1", "read")
        (raw,) = await logged(served, "sdk.tool_arguments")
        assert json.loads(raw["arguments"]) == {"path": "/a"}
        assert told["argument_bytes"] == len(raw["arguments"])


async def test_a_claude_that_is_killed_is_an_error_of_the_sdk(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply(Text("one", Hang()))) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            for pid in served.processes.marked():
                os.kill(pid, signal.SIGKILL)
            await call.events()
        (told,) = await logged(served, "sdk.error")
        assert (told["level"], told["kind"]) == ("warning", "ProcessError")
        assert "exit status -9" in told["error"]


async def test_a_claude_that_cannot_be_started_is_an_error_of_the_sdk(tmp_path: Path) -> None:
    command = tmp_path / "fake-claude"
    fake_cli(tmp_path, ANSWER)
    async with serving(tmp_path, claude_command=str(command)) as served:
        command.write_text("#!/nowhere/at/all\n")
        async with Call.open(served.url, chat("Hi")) as call:
            assert await call.status() == 502
        (told,) = await logged(served, "sdk.error")
        assert (told["level"], told["kind"]) == ("warning", "not_started")
