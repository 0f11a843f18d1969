"""What Claude says to a client under test, and the whole server in front of it.

What to say is chosen by the words of the last message, so that any client may ask anything in any order.
`python/cases.py` and `node/cases.mjs` hold the same prompts, and what comes back. Through `control` a script says that
the first words of an answer have come, which goes on only then, and asks how often Claude was called.
"""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import trio

from claude_openai import Config, serve
from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.testing import (
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    Answer,
    MessagesApi,
    Pause,
    RecordedRequest,
    Reply,
    Text,
    ToolUse,
    UpstreamErrorEvent,
    Usage,
)

__all__ = ["serving"]

CITY: Final = {"name": "Paris", "population": 2_100_000}
USAGE: Final = Usage(input_tokens=10, output_tokens=5)
# How long an answer waits for its first words to be seen: far longer than they need, and the end of a test that fails.
UNSEEN_S: Final = 40


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A server with the settings that a user has, for as long as the block: its base URL, and that of `control`.

    Args:
        folder: for its CLIs, as their home.
    """
    claude = Claude()
    async with MessagesApi.serving(claude.answer) as api, trio.open_nursery() as nursery:
        env = {**stand_in_environment(api.base_url, folder / "config"), "HOME": str(folder)}
        (url,) = await nursery.start(serve, Config(port=0, log=False, extra_env=env))
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(control, claude), [listener])
        yield url, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


class Unseen:
    """The wait in the middle of an answer, for the client to show what has come so far."""

    def __init__(self, waiting: set["Unseen"]) -> None:
        self._waiting = waiting
        self._seen = trio.Event()
        waiting.add(self)

    async def wait(self) -> None:
        with trio.move_on_after(UNSEEN_S):
            await self._seen.wait()
        self._waiting.discard(self)

    def seen(self) -> None:
        self._waiting.discard(self)
        self._seen.set()


class Claude:
    """Claude, whatever the client."""

    def __init__(self) -> None:
        self._waiting: set[Unseen] = set()
        self._calls: list[str] = []

    def calls(self, words: str) -> int:
        """How often it was called with these words in the last message."""
        return sum(words in said for said in self._calls)

    def go_on(self) -> int:
        """End the waits in the middle of answers, and say how many there were."""
        waiting = list(self._waiting)
        for each in waiting:
            each.seen()
        return len(waiting)

    def answer(self, request: RecordedRequest) -> Answer:
        last = [message for message in request.messages if message["role"] != "system"][-1]
        said = "\n".join(_texts(last["content"]))
        self._calls.append(said)
        if "What do you see" in said:
            seen = [
                block["source"]["media_type"] for block in last["content"] if block["type"] in ("image", "document")
            ]
            return Reply(f"I see: {' and '.join(seen)}.", usage=USAGE)
        if results := list(_results(last)):
            return Reply(f"I was told: {' and '.join(results)}.", usage=USAGE)
        if calls := list(_calls(said, request.tools)):
            return Reply("Let me see.", *calls, usage=USAGE)
        if self._fails("Slow down", said):
            return RATE_LIMIT_ERROR
        if self._fails("Too long", said):
            return PROMPT_TOO_LONG
        if self._fails("Break down", said):
            return Reply(Text("One ", "two ", UpstreamErrorEvent("api_error", "Internal server error")))
        if self._fails("Break off", said):
            return Reply(Text("One ", "two ", UpstreamErrorEvent()))
        if "Write the greeting" in said:
            return Reply("greeting.txt\n```\nHello, wide world.\n```\n")
        wait = [Pause(Unseen(self._waiting))] if "slowly" in said else []
        return Reply(Text("Hello, ", *wait, "wide ", "world."), usage=USAGE)

    def _fails(self, words: str, said: str) -> bool:
        """Whether it was told to; with "once" behind the words it fails the first call, and no other."""
        return words in said and (f"{words} once" not in said or self.calls(f"{words} once") == 1)


async def control(claude: Claude, stream: trio.SocketStream) -> None:
    """Answer one request: `GET /go_on` or `GET /calls/WORDS`, with a number."""
    async with stream:
        path = (await stream.receive_some()).split()[1].decode()
        words = unquote(path.removeprefix("/calls/"))
        number = str(claude.go_on() if path == "/go_on" else claude.calls(words))
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(number)}\r\n\r\n"
        await stream.send_all(f"{head}{number}".encode())


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
