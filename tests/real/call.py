"""One request over a raw socket, read as far as a test wants, and left as rudely.

The tests check what it contains.
"""

import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import h11
import trio

from tests.http_client import HttpClient
from tests.openai_schema import validate_known

__all__ = ["MODEL", "Call", "asked_way", "chat"]

MODEL: Final = "claude-sonnet"

Messages: TypeAlias = str | Sequence[dict[str, Any]]


def chat(messages: Messages, **fields: Any) -> dict[str, Any]:
    """The body of a chat request; a string is one user message."""
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return {"model": MODEL, "messages": said, **fields}


class Call(HttpClient):
    """One request on a connection of its own: `async with Call.open(url, chat("Hi", stream=True)) as call`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__()
        self._stream = stream
        self.headers: dict[str, str] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, body: dict[str, Any] | None, path: str = "/v1/chat/completions", **headers: str
    ) -> AsyncIterator["Call"]:
        """Connect and send; without a body it is a GET. In names of headers `_` stands for `-`."""
        host, _, port = url.removeprefix("http://").partition(":")
        if host == "unix":
            host, connected = "localhost", await trio.open_unix_socket(port)
        else:
            connected = await trio.open_tcp_stream(host, int(port))
        async with connected as stream:
            call = cls(stream)
            await call._send(host, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            yield call

    async def status(self) -> int:
        """Wait for the status line and the headers."""
        status, self.headers = await self.head()
        return status

    async def answer(self, *, validated: bool = True) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer that is not streamed, which is held against OpenAI's schema."""
        status = await self.status()
        parsed: dict[str, Any] = json.loads(await self.body())
        if validated:
            validate_known(parsed)
        return status, parsed

    async def failure(self, status: int, *, stream: bool) -> dict[str, Any]:
        """The error of an answer with this status, or at the end of a stream, after the events that were read."""
        if stream:
            error, done = await self.events()
            assert isinstance(error, dict)
            assert done == "[DONE]"
        else:
            got, error = await self.answer()
            assert got == status
        failure: dict[str, Any] = error["error"]
        return failure

    async def end_sending(self) -> None:
        """Close the sending side alone."""
        await self._stream.send_eof()

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
        pieces = [self.http.send(head), self.http.send(h11.Data(data=data)), self.http.send(h11.EndOfMessage())]
        await self._stream.send_all(b"".join(piece for piece in pieces if piece))

    async def receive(self) -> bytes:
        return bytes(await self._stream.receive_some())


async def asked_way(url: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> str:
    """Ask, and return the way of the conversation."""
    async with Call.open(url, body, path) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return call.headers["x-claude-openai-conversation"]
