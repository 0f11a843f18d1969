"""An HTTP/1.1 client on the far end of a connection in memory, which reads as it comes.

It takes a response in pieces, server-sent events one by one, and leaves when the test wants. `Answer` is a whole
response; its accessors check what every response of that kind must have. Knows HTTP and OpenAI's envelope for errors,
and no route.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import h11

from tests.memory.wire import Pipe
from tests.openai_schema import validate, validate_known, validate_sampled
from tests.sse_reader import Message, SseReader, parse_sse

__all__ = ["HOST", "Answer", "Client", "Headers", "texts"]

HOST: Final = "127.0.0.1:8000"
READ_BYTES: Final = 4096
VALIDATED: Final = 10

Headers: TypeAlias = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/json"
        assert int(self.headers["content-length"]) == len(self.body)
        parsed: dict[str, Any] = json.loads(self.body)
        validate_known(parsed)
        return parsed

    def error(self) -> dict[str, Any]:
        """The error object, which has all four keys and nothing else."""
        body = self.json()
        assert list(body) == ["error"]
        assert set(body["error"]) == {"message", "type", "param", "code"}
        validate("ErrorResponse", body)
        error: dict[str, Any] = body["error"]
        return error

    def events(self) -> list[Message]:
        """The events of a whole stream, which ends with [DONE] and says nothing after it."""
        assert self.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert self.headers["cache-control"] == "no-cache"
        events = parse_sse(self.body)
        assert [event for event in events if event == "[DONE]"] == events[-1:] == ["[DONE]"]
        for index, event in enumerate(events):
            validate_sampled(index, event)
        for event in events[-VALIDATED:]:
            validate_known(event)
        return events[:-1]


def texts(events: Iterable[Message], key: str = "content") -> list[str]:
    """The deltas that say something, each by itself."""
    choices = [choice for event in events if isinstance(event, dict) for choice in event.get("choices", ())]
    return [choice["delta"][key] for choice in choices if choice["delta"].get(key)]


class Client:
    """One connection.

    Args:
        incoming: from the server.
        outgoing: to the server.

    Attributes:
        comments: the comment lines of the stream under way.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._http = h11.Connection(h11.CLIENT)
        self._sse = SseReader()
        self._waiting: list[str] = []
        self._taken = 0

    @property
    def comments(self) -> list[str]:
        return self._sse.comments

    async def send(self, method: str, target: str, *body: bytes, headers: Headers | None = None) -> None:
        """Send a request; a body in several pieces goes out chunked."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        framing = {}
        if body:
            framing = {"transfer-encoding": "chunked"} if len(body) > 1 else {"content-length": str(len(body[0]))}
        merged = {"host": HOST, **framing, **(headers or {})}
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in merged.items()]
        out = self._http.send(h11.Request(method=method, target=target, headers=raw)) or b""
        for piece in body:
            out += self._http.send(h11.Data(data=piece)) or b""
        await self.send_raw(out + (self._http.send(h11.EndOfMessage()) or b""))

    async def post(self, payload: dict[str, Any], target: str = "/v1/chat/completions", **headers: str) -> None:
        """Send JSON; in names of headers `_` stands for `-`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps(payload).encode()
        await self.send("POST", target, body, headers={"content-type": "application/json", **more})

    async def send_raw(self, data: bytes) -> None:
        await self._outgoing.send(data)

    async def head(self) -> tuple[int, Headers]:
        """Status and headers; the body is still to come."""
        self._sse = SseReader()
        response = await self._next()
        while isinstance(response, h11.InformationalResponse):
            response = await self._next()
        assert isinstance(response, h11.Response), response
        headers = [(name.decode(), value.decode()) for name, value in response.headers]
        assert len(dict(headers)) == len(headers), f"a header came twice: {headers}"
        return response.status_code, dict(headers)

    async def rest(self) -> bytes:
        """The body to its end.

        Raises:
            h11.RemoteProtocolError: the connection ended before it.
        """
        data = bytearray()
        while isinstance(event := await self._next(), h11.Data):
            data += event.data
        return bytes(data)

    async def answer(self) -> Answer:
        status, headers = await self.head()
        return Answer(status, headers, await self.rest())

    async def event(self) -> Message | None:
        """The next server-sent event of the stream under way, held against OpenAI's schema; None at its end."""
        while not self._waiting:
            part = await self._next()
            if not isinstance(part, h11.Data):
                assert isinstance(part, h11.EndOfMessage), part
                self._sse.close()
                return None
            self._waiting += self._sse.feed(bytes(part.data))
        text = self._waiting.pop(0)
        event: Message = text if text == "[DONE]" else json.loads(text)
        validate_sampled(self._taken, event)
        self._taken += 1
        return event

    async def events(self) -> list[Message]:
        """The events from here to the end of the stream."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events

    async def until_text(self, text: str) -> None:
        """Read on to the chunk that says it."""
        while (event := await self.event()) is not None:
            if text in texts([event]):
                return
        raise AssertionError(f"the stream ended without {text!r}")

    async def raw_to_end(self) -> bytes:
        """Everything until the server closes, as it is."""
        data = bytearray()
        while piece := await self._incoming.receive(READ_BYTES):
            data += piece
        return bytes(data)

    def half_close(self) -> None:
        """Nothing more will be sent; what comes is still read."""
        self._outgoing.close_sender()

    def leave(self) -> None:
        """Be gone at once."""
        self._outgoing.close_sender()
        self._incoming.close_receiver()

    async def _next(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._incoming.receive(READ_BYTES))
        return event
