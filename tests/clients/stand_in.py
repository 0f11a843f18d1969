"""What Claude says to a client under test, and the whole server in front of it.

One pure function of the request: what to say is chosen by the words of the prompt, so that any client may ask anything
in any order, as often as it wants. `python/cases.py` and `node/cases.mjs` hold the same prompts, and what comes back.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from claude_openai import Config, serve
from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.testing import (
    RATE_LIMIT_ERROR,
    Answer,
    MessagesApi,
    RecordedRequest,
    Reply,
    Text,
    ToolUse,
    UpstreamErrorEvent,
    Usage,
)

__all__ = ["answer", "serving"]

CITY = {"name": "Paris", "population": 2_100_000}
USAGE = Usage(input_tokens=10, output_tokens=5)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """A server with the settings that a user has, for as long as the block: its base URL.

    Args:
        folder: for its CLIs, as their home.
    """
    async with MessagesApi.serving(answer) as api, trio.open_nursery() as nursery:
        env = {**stand_in_environment(api.base_url, folder / "config"), "HOME": str(folder)}
        (url,) = await nursery.start(serve, Config(port=0, log=False, extra_env=env))
        yield url
        nursery.cancel_scope.cancel()


def answer(request: RecordedRequest) -> Answer:
    """Claude's answer, whatever the client."""
    last = [message for message in request.messages if message["role"] != "system"][-1]
    if results := list(_results(last)):
        return Reply(f"I was told: {' and '.join(results)}.", usage=USAGE)
    said = "\n".join(_texts([message["content"] for message in request.messages]))
    if calls := list(_calls(said, request.tools)):
        return Reply("Let me see.", *calls, usage=USAGE)
    if "Slow down" in said:
        return RATE_LIMIT_ERROR
    if "Break off" in said:
        return Reply(Text("One ", "two ", UpstreamErrorEvent()))
    if "Write the greeting" in said:
        return Reply("greeting.txt\n```\nHello, wide world.\n```\n")
    return Reply(Text("Hello, ", "wide ", "world."), usage=USAGE)


def _calls(said: str, tools: list[str]) -> Iterator[ToolUse]:
    """The calls that the prompt asks for, of the tools that are there."""
    offered = {tool.removeprefix("mcp__openai__"): tool for tool in tools}
    if "weather" in said and "weather" in offered:
        yield ToolUse("toolu_paris", offered["weather"], fragments=('{"ci', 'ty": "Par', 'is"}'))
        yield ToolUse("toolu_rome", offered["weather"], {"city": "Rome"})
    elif "Describe Paris" in said and tools:
        # The form of an answer, which is a tool of Claude Code's own or, for some clients, one of theirs.
        yield ToolUse("toolu_city", "StructuredOutput" if "StructuredOutput" in tools else tools[0], CITY)
    elif (found := re.search(r"Read (\S+) and (\S+) now", said)) and "read" in offered:
        for number, path in enumerate(found.groups()):
            yield ToolUse(f"toolu_read_{number}", offered["read"], {"filePath": path})
    elif "exec_command" in offered:
        for number, command in enumerate(re.findall(r"`(echo \w+)`", said)):
            yield ToolUse(f"toolu_run_{number}", offered["exec_command"], {"cmd": command})


def _results(message: dict[str, Any]) -> Iterator[str]:
    for block in message["content"] if isinstance(message["content"], list) else ():
        if block["type"] == "tool_result":
            # Some clients send a string as the JSON of it.
            yield " ".join(_texts(block["content"])).strip().strip('"')


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from _texts(part)
    elif isinstance(content, dict) and content.get("type") == "text":
        yield content["text"]
