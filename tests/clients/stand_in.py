"""What Claude says to a client under test, and the whole server in front of it.

What to say is chosen by the words of the last message, so that any client may ask anything in any order.
`python/cases.py` and `node/cases.mjs` hold the same prompts, and what comes back. Through `control` a script says that
the first words of an answer have come, which goes on only then, asks how often Claude was called and what it was sent,
and has the server started again.
"""

import dataclasses
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import trio

from claude_openai import Config, serve
from claude_openai.claude import priming
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.standin.script import UpstreamErrorEvent
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
    Usage,
)
from tests.real.heard import is_statement_of_effort

__all__ = ["serving"]

CITY: Final = {"name": "Paris", "population": 2_100_000}
USAGE: Final = Usage(input_tokens=10, output_tokens=5)
# How long an answer waits for its first words to be seen: far longer than they need, and the end of a test that fails.
UNSEEN_S: Final = 40
# The arguments with which the programs' own tools run a command.
COMMANDS: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "exec_command": lambda command: {"cmd": command},
    "bash": lambda command: {"command": command, "description": "What was asked for"},
    "run_commands": lambda command: {"commands": [command]},
}


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """A server with the settings that a user has, for as long as the block: its base URL, and that of `control`.

    Args:
        folder: for its CLIs, as their home.
    """
    # On a busy machine a turn would go on without notes, and Claude would hear Claude Code's own.
    priming.WAIT_S = UNSEEN_S  # type: ignore[misc]
    claude = Claude()
    async with MessagesApi.serving(claude.answer) as api, trio.open_nursery() as nursery:
        env = {**stand_in_environment(api.base_url, folder / "config"), "HOME": str(folder)}
        server = Server(Config(port=0, log=False, extra_env=env))
        url = await nursery.start(server.run)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(control, claude, server), [listener])
        yield url, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


class Server:
    """The server, which can be killed and started again under the same address."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._scope = trio.CancelScope()
        self._started = trio.Event()

    async def run(self, task_status: trio.TaskStatus[str]) -> None:
        """Run it, and start it again each time that it was killed; the status is its base URL."""
        while True:
            with trio.CancelScope() as self._scope:
                async with trio.open_nursery() as nursery:
                    (url,) = await nursery.start(serve, self._config)
                    if self._config.port == 0:
                        self._config = dataclasses.replace(self._config, port=int(url.rpartition(":")[2]))
                        task_status.started(url)
                    self._started.set()
            if not self._scope.cancelled_caught:
                return

    async def restart(self) -> None:
        """Kill it, as it is, and return when it listens again."""
        self._started = trio.Event()
        self._scope.cancel()
        await self._started.wait()


class Unseen:
    """The wait in the middle of an answer, for the client to show what has come so far."""

    def __init__(self, waiting: set["Unseen"]) -> None:
        self._waiting = waiting
        self._seen = trio.Event()
        waiting.add(self)

    async def wait(self) -> None:
        try:
            with trio.move_on_after(UNSEEN_S):
                await self._seen.wait()
        finally:
            self._waiting.discard(self)

    def seen(self) -> None:
        self._waiting.discard(self)
        self._seen.set()


class Claude:
    """Claude, for every client."""

    def __init__(self) -> None:
        self._waiting: set[Unseen] = set()
        self._calls: list[str] = []
        self._requests: list[tuple[str, RecordedRequest]] = []

    def requests(self, words: str) -> list[dict[str, Any]]:
        """Return the requests that have these words in the last message.

        Requests without tools are left out: clients ask for titles with them.
        """
        return [_shown(request) for text, request in self._requests if words in text and request.tools]

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
        self._requests.append(("\n".join([said, *_results(last)]), request))
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
        """Whether a message asked for it; with "once" behind the words it fails the first call, and no other."""
        return words in said and (f"{words} once" not in said or self.calls(f"{words} once") == 1)


async def control(claude: Claude, server: Server, stream: trio.SocketStream) -> None:
    """Answer one request, with JSON or a text: `GET /go_on`, `/calls/WORDS`, `/requests/WORDS` or `/restart`."""
    async with stream:
        _, what, *more = (await stream.receive_some()).split()[1].decode().split("/", 2)
        words = unquote("".join(more))
        answer: object = None
        match what:
            case "go_on":
                answer = claude.go_on()
            case "calls":
                answer = claude.calls(words)
            case "requests":
                answer = claude.requests(words)
            case "restart":
                await server.restart()
                answer = "again and again"
        body = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        await stream.send_all(head.encode() + body)


def _shown(request: RecordedRequest) -> dict[str, Any]:
    """A request without Claude Code's own two lines of the system prompt, and each block in a short form."""
    messages = [message for message in request.messages if not is_statement_of_effort(message)]
    return {
        "system": list(_texts(request.body["system"]))[2:],
        "messages": [[message["role"], _blocks(message["content"])] for message in messages],
    }


def _blocks(content: Any) -> list[Any]:
    return [content] if isinstance(content, str) else list(map(_block, content))


def _block(block: dict[str, Any]) -> Any:
    match block["type"]:
        case "text":
            return block["text"]
        case "tool_use":
            return {"call": block["name"].removeprefix("mcp__openai__")}
        case "tool_result":
            return {"result": _blocks(block["content"])}
    return {block["type"]: block["source"]["media_type"]}


def _calls(said: str, tools: list[str]) -> Iterator[ToolUse]:
    """The calls that the prompt asks for, of the tools that are there."""
    offered = {tool.removeprefix("mcp__openai__"): tool for tool in tools}
    if "weather" in said and "weather" in offered:
        yield ToolUse(offered["weather"], id="toolu_paris", fragments=('{"ci', 'ty": "Par', 'is"}'))
        yield ToolUse(offered["weather"], {"city": "Rome"}, "toolu_rome")
    elif "Describe Paris" in said and tools:
        # The form of an answer, which is a tool of Claude Code's own or, for some clients, one of theirs.
        yield ToolUse("StructuredOutput" if "StructuredOutput" in tools else tools[0], CITY, "toolu_city")
    elif (found := re.search(r"Read (\S+) and (\S+) now", said)) and "read" in offered:
        for number, path in enumerate(found.groups()):
            yield ToolUse(offered["read"], {"filePath": path}, f"toolu_read_{number}")
    elif runner := next(iter(COMMANDS.keys() & offered.keys()), None):
        for number, command in enumerate(re.findall(r"`([^`]+)` (?:and|now)", said)):
            yield ToolUse(offered[runner], COMMANDS[runner](command), f"toolu_run_{number}")


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
