"""One request over a raw socket, read as far as a test wants, and left as rudely.

Knows HTTP and the framing of a chat stream; `openai_schema` and the tests know what should be in it.
"""

import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import h11
import trio

from tests.openai_schema import validate_known, validate_sampled
from tests.sse_reader import Message, SseReader

__all__ = ["MODEL", "Call", "chat", "texts"]

MODEL: Final = "claude-sonnet"
VALIDATED: Final = 10

Messages: TypeAlias = str | Sequence[dict[str, Any]]


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
        self._taken = 0
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

    async def answer(self, *, validated: bool = True) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer that is not streamed, which is held against OpenAI's schema."""
        status = await self.status()
        parsed: dict[str, Any] = json.loads(await self.body())
        if validated:
            validate_known(parsed)
        return status, parsed

    async def event(self) -> Message | None:
        """The next server-sent event, held against OpenAI's schema; None at the end of the body."""
        while not self._events:
            event = await self._event()
            if not isinstance(event, h11.Data):
                self._sse.close()
                return None
            self._events += self._sse.feed(bytes(event.data))
        text = self._events.pop(0)
        message: Message = text if text == "[DONE]" else json.loads(text)
        validate_sampled(self._taken, message)
        self._taken += 1
        return message

    async def events(self) -> list[Message]:
        """All events to the end of the body."""
        found: list[Message] = []
        while (event := await self.event()) is not None:
            found.append(event)
        for last in found[-VALIDATED:]:
            validate_known(last)
        return found

    async def until_text(self, text: str) -> None:
        """Read on to the chunk that says `text`."""
        while (event := await self.event()) is not None:
            if text in texts([event]):
                return
        raise AssertionError(f"the stream ended without {text!r}")

    async def comment(self) -> None:
        """Wait for the next comment; it must be the next thing to come."""
        seen = len(self._sse.comments)
        while len(self._sse.comments) == seen:
            event = await self._event()
            assert isinstance(event, h11.Data), event
            self._events += self._sse.feed(bytes(event.data))
            assert not self._events

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
        pieces = [self._http.send(head), self._http.send(h11.Data(data=data)), self._http.send(h11.EndOfMessage())]
        await self._stream.send_all(b"".join(piece for piece in pieces if piece))

    async def _event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        return event
