"""A client of HTTP/1.1 that reads a response in pieces, and server-sent events one by one.

It has no transport: `tests/memory/client.py` adds a connection in memory, `tests/real/call.py` a socket.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

import h11

from tests.openai_schema import validate_known, validate_sampled
from tests.sse_reader import Message, SseReader

__all__ = ["VALIDATED", "HttpClient", "texts"]

# The last events of a stream are validated completely.
VALIDATED: Final = 10


def texts(events: Iterable[Message], key: str = "content") -> list[str]:
    """Return the texts of the chunks that have one."""
    choices = [choice for event in events if isinstance(event, dict) for choice in event.get("choices", ())]
    return [choice["delta"][key] for choice in choices if choice["delta"].get(key)]


class HttpClient:
    """One connection. A subclass sends, by `http`, and receives."""

    def __init__(self) -> None:
        self.http = h11.Connection(h11.CLIENT)
        self._sse = SseReader()
        self._waiting: list[str] = []
        self._taken = 0

    @property
    def comments(self) -> list[str]:
        """The comment lines of the stream so far."""
        return self._sse.comments

    async def receive(self) -> bytes:
        """Return the next bytes of the server, b"" at their end."""
        raise NotImplementedError

    async def head(self) -> tuple[int, dict[str, str]]:
        """Return status and headers, before the body is read."""
        self._sse, self._taken = SseReader(), 0
        response = await self.next_event()
        while isinstance(response, h11.InformationalResponse):
            response = await self.next_event()
        assert isinstance(response, h11.Response), response
        headers = [(name.decode(), value.decode()) for name, value in response.headers]
        assert len(dict(headers)) == len(headers), f"a header came twice: {headers}"
        return response.status_code, dict(headers)

    async def body(self) -> bytes:
        """Return the rest of the body.

        Raises:
            h11.RemoteProtocolError: the connection ended before it.
        """
        data = bytearray()
        while isinstance(part := await self.next_event(), h11.Data):
            data += part.data
        return bytes(data)

    async def event(self) -> Message | None:
        """Return the next server-sent event, a sample of which is validated; None at the end of the stream."""
        while not self._waiting:
            if not await self._feed():
                return None
        text = self._waiting.pop(0)
        event: Message = text if text == "[DONE]" else json.loads(text)
        validate_sampled(self._taken, event)
        self._taken += 1
        return event

    async def events(self) -> list[Message]:
        """Return the events from here to the end of the stream."""
        found: list[Message] = []
        while (event := await self.event()) is not None:
            found.append(event)
        for last in found[-VALIDATED:]:
            validate_known(last)
        return found

    async def until_text(self, text: str) -> None:
        """Read up to the chunk that contains `text`."""
        while (event := await self.event()) is not None:
            if text in texts([event]):
                return
        raise AssertionError(f"the stream ended without {text!r}")

    async def comment(self) -> None:
        """Wait for the next comment; no event may come before it."""
        seen = len(self.comments)
        while len(self.comments) == seen:
            assert await self._feed()
            assert not self._waiting

    async def _feed(self) -> bool:
        part = await self.next_event()
        if isinstance(part, h11.Data):
            self._waiting += self._sse.feed(bytes(part.data))
            return True
        assert isinstance(part, h11.EndOfMessage), part
        self._sse.close()
        return False

    async def next_event(self) -> Any:
        """Return the next event of h11."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.receive())
        return event
