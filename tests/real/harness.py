"""The whole server for a test: the bundled CLI and the Agent SDK in the middle, a stand-in for Claude at one end and a
client at the other, all on loopback.

`serving` runs the server inside the test's own trio program. `Call` is one request over a raw socket, read as far as
the test wants. Every process that a server starts can be told from others without the server's word for it. Knows no
behaviour that is under test.
"""

import importlib.util
import json
import os
import socket
import struct
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import h11
import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.testing import Answer, MessagesApi, Reply, Script
from tests.sse_reader import Message, SseReader

__all__ = [
    "LIMIT_S",
    "MODEL",
    "OK",
    "Call",
    "Processes",
    "Served",
    "chat",
    "needs_claude",
    "serving",
    "texts",
    "until",
]

# Far beyond what anything here takes, so that only a hang meets it: the machine may be busy with other things.
LIMIT_S: Final = 60.0
GONE_S: Final = 10.0
POLL_S: Final = 0.01
MODEL: Final = "claude-sonnet"
OK: Final = Reply("ok")

Messages: TypeAlias = str | Sequence[dict[str, Any]]


def _what_is_missing() -> str:
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / "_bundled" / "claude").exists():
        return "claude-agent-sdk brings no bundled claude CLI here"
    return "" if Path("/proc/self/environ").exists() else "processes are counted through /proc, which is not here"


needs_claude = pytest.mark.skipif(bool(_what_is_missing()), reason=_what_is_missing() or "nothing is missing")


async def until(condition: Callable[[], bool], what: str, within_s: float = GONE_S) -> None:
    """Return as soon as the condition holds; for what gives no event, such as files and other people's processes."""
    with trio.move_on_after(within_s):
        while not condition():  # noqa: ASYNC110 - there is no event
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"not within {within_s:g} s: {what}")


class Processes:
    """The processes of one server: they carry a variable of their own, or name a folder of its own.

    Args:
        folder: the server's folder for temporary files.

    Attributes:
        environment: what a server, or a command, must be given to be counted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder).encode()
        self._mark = f"TEST_MARK={uuid.uuid4().hex}".encode()
        name, _, value = self._mark.decode().partition("=")
        self.environment = {name: value}

    def marked(self) -> list[int]:
        """Those that were given the variable, and their children: every `claude`, and the server if it is a command."""
        return [pid for pid in _pids() if self._mark in _read(pid, "environ").split(b"\0")]

    def guardians(self) -> list[int]:
        return [pid for pid in _pids() if self._is_guardian(_read(pid, "cmdline").split(b"\0"))]

    def all(self) -> list[int]:
        """The dead that were not reaped are among them, if they are children of this process."""
        return sorted({*self.marked(), *self.guardians(), *filter(_is_own_zombie, _pids())})

    async def wait_none(self, within_s: float = GONE_S) -> None:
        """Return when none is left."""
        await until(lambda: not self.all(), "all processes are gone", within_s)

    async def wait_no_claude(self, within_s: float = GONE_S) -> None:
        """Return when no turn's process is left of a server that runs in this process."""
        await until(lambda: not self.marked(), "the turns' processes are gone", within_s)

    def _is_guardian(self, argv: list[bytes]) -> bool:
        return b"claude-openai-guardian" in argv and any(arg.startswith(self._folder) for arg in argv)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - half the time, and often


def _read(pid: int, name: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _is_own_zombie(pid: int) -> bool:
    state_and_parent = _read(pid, "stat").rpartition(b")")[2].split()[:2]
    return state_and_parent == [b"Z", str(os.getpid()).encode()]


@dataclass(slots=True)
class Served:
    """A server that runs.

    Attributes:
        url: its base URL.
        api: the stand-in it talks to.
        home: HOME of its CLIs; CLAUDE_CONFIG_DIR is `home / "config"`.
        temporary: where its private folder is made; nothing else is in there.
        log_file: its log, at trace level.
        processes: all that it starts.
    """

    url: str
    api: MessagesApi
    home: Path
    temporary: Path
    log_file: Path
    processes: Processes

    def log_text(self) -> str:
        return self.log_file.read_text("ascii")


@asynccontextmanager
async def serving(
    folder: Path, reply: Script | Answer = OK, *, extra_env: dict[str, str] | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """A server, and its stand-in, for as long as the block; afterwards it is checked that nothing is left of it.

    Args:
        folder: the test's own.
        reply: what the stand-in answers.
        extra_env: more variables for the CLI.
        settings: fields of `Config`.
    """
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    processes = Processes(temporary)
    with trio.fail_after(LIMIT_S), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(temporary))
        async with MessagesApi.serving(reply) as api, trio.open_nursery() as nursery:
            env = {**stand_in_environment(api.base_url, home / "config"), "HOME": str(home), **processes.environment}
            log_file = folder / "log" / "server.log"
            logging = {"log_file": log_file, "log_level": "trace"}
            config = Config(**{"port": 0, **logging, **settings, "extra_env": {**env, **(extra_env or {})}})
            (url,) = await nursery.start(serve, config)
            yield Served(url, api, home, temporary, log_file, processes)
            nursery.cancel_scope.cancel()
        await processes.wait_none()
        assert list(temporary.iterdir()) == []


def chat(messages: Messages, **fields: Any) -> dict[str, Any]:
    """The body of a chat request; a string is one user message."""
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return {"model": MODEL, "messages": said, **fields}


def texts(events: Sequence[Message], key: str = "content") -> list[str]:
    """The texts of the chunks that have one."""
    choices = [choice for event in events if isinstance(event, dict) for choice in event.get("choices", ())]
    return [choice["delta"][key] for choice in choices if choice["delta"].get(key)]


class Call:
    """One request on a connection of its own: `async with Call.open(url, chat("Hi", stream=True)) as call`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._sse = SseReader()
        self._events: list[str] = []
        self.headers: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, body: dict[str, Any] | None, path: str = "/v1/chat/completions", **headers: str
    ) -> AsyncIterator["Call"]:
        """Connect and send; without a body it is a GET. In names of headers `_` stands for `-`."""
        host, _, port = url.removeprefix("http://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            call = cls(stream)
            await call._send(host, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            yield call

    async def status(self) -> int:
        """Wait for the status line and the headers."""
        response = await self._event()
        assert isinstance(response, h11.Response), response
        self.headers = {name.decode(): value.decode() for name, value in response.headers}
        return response.status_code

    async def body(self) -> bytes:
        """The rest of the body.

        Raises:
            h11.RemoteProtocolError: the connection ended before it.
        """
        data = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            data += event.data
        return bytes(data)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer that is not streamed."""
        status = await self.status()
        parsed: dict[str, Any] = json.loads(await self.body())
        return status, parsed

    async def event(self) -> Message | None:
        """The next server-sent event; None at the end of the body."""
        while not self._events:
            event = await self._event()
            if not isinstance(event, h11.Data):
                self._sse.close()
                return None
            self._events += self._sse.feed(bytes(event.data))
        text = self._events.pop(0)
        return text if text == "[DONE]" else json.loads(text)

    async def events(self) -> list[Message]:
        """All events to the end of the body."""
        found: list[Message] = []
        while (event := await self.event()) is not None:
            found.append(event)
        return found

    async def until_text(self, text: str) -> None:
        """Read on to the chunk that says `text`."""
        while (event := await self.event()) is not None:
            if text in texts([event]):
                return
        raise AssertionError(f"the stream ended without {text!r}")

    def leave(self, *, reset: bool = False) -> None:
        """Be gone at once, with FIN or with RST."""
        if reset:
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()

    async def _send(self, host: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json", "content-length": str(len(data))}
        method = "GET" if body is None else "POST"
        head = h11.Request(method=method, target=path, headers=list({"host": host, **kind, **headers}.items()))
        pieces = [self._http.send(head), self._http.send(h11.Data(data=data)), self._http.send(h11.EndOfMessage())]
        await self._stream.send_all(b"".join(piece for piece in pieces if piece))

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event
