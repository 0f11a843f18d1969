"""`claude` without this server: its answer to a script of the stand-in, and the number of calls.

It is started as the server starts it, and each call is answered at once. Knows the few frames that this needs.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.process.command_line import claude_argv, claude_environment, stand_in_environment
from claude_openai.claude.process.program import find_claude
from claude_openai.protocol.turn.blocks import TextBlock, ToolResultBlock
from claude_openai.protocol.turn.tools import Tool
from claude_openai.testing import MessagesApi, Script

__all__ = ["RawTurn", "raw_turn"]


@dataclass(slots=True)
class RawTurn:
    """One turn.

    Attributes:
        output: all that was written so far.
        records: of it, the lines.
        requests: how many messages it asked Claude for.
    """

    output: bytes = b""
    records: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0

    def standing(self) -> str:
        """The text that stands: Claude Code has written it as a whole message, and will send it back to Claude."""
        messages = [r["message"] for r in self.records if r["type"] == "assistant"]
        claudes = [message for message in messages if message["model"] != "<synthetic>"]
        return "".join(block["text"] for m in claudes for block in m["content"] if block["type"] == "text")


async def raw_turn(
    prompt: str, script: Callable[[RawTurn], Script], tool: Tool | None = None, program: Path | None = None
) -> RawTurn:
    """Ask `claude`, and return when its turn is over.

    Args:
        prompt: what to ask.
        script: gives the script for the stand-in; it may look at what was written so far.
        tool: a tool that Claude may call; its result is that it was done.
        program: another `claude` than the bundled one.
    """
    turn = RawTurn()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cwd").mkdir()
        async with MessagesApi.serving(script(turn)) as api, trio.open_nursery() as nursery:
            stand_in = stand_in_environment(api.base_url, folder / "config")
            env = claude_environment(os.environ, extra={**stand_in, "HOME": name}, cwd=folder / "cwd")
            start = partial(trio.run_process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
            argv = claude_argv(program or find_claude(None), model="sonnet")
            process: trio.Process = await nursery.start(partial(start, argv, env=env, cwd=folder / "cwd"))
            await _Driver(process, turn, tool).run(prompt)
            process.kill()
            turn.requests = len(api.requests)
            nursery.cancel_scope.cancel()
    return turn


class _Driver:
    def __init__(self, process: trio.Process, turn: RawTurn, tool: Tool | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self._turn = turn
        self._lines: list[str] = []
        self._toolbox = ToolServer(() if tool is None else (tool,), self._lines.append)

    async def run(self, prompt: str) -> None:
        bind = {"subtype": "initialize", "hooks": None, "systemPrompt": ["Be brief."], **self._toolbox.bind()}
        content = [{"type": "text", "text": prompt}]
        user = {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None}
        for frame in (
            {"type": "control_request", "request_id": "req_1", "request": bind},
            {**user, "session_id": "default", "client_composed": True},
        ):
            self._lines.append(json.dumps(frame) + "\n")
        rest = b""
        while not self._turn.records or self._turn.records[-1]["type"] != "result":
            await self._stdin.send_all("".join(self._lines).encode())
            self._lines.clear()
            chunk = await self._stdout.receive_some()
            assert chunk, self._turn.output.decode()
            self._turn.output += chunk
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        with suppress(ValueError):
            record = json.loads(line)
            if not self._toolbox.control_request(record):
                self._turn.records.append(record)
                return
            params = record["request"]["message"].get("params") or {}
            call = (params.get("_meta") or {}).get("claudecode/toolUseId")
            if call is not None:
                self._toolbox.give([ToolResultBlock(call, (TextBlock(f"{call} done"),))])
