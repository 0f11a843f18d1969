"""An HTTP/1.1 client on the far end of a connection in memory, which reads as it comes.

It takes a response in pieces, server-sent events one by one, and leaves when the test wants. `Answer` is a whole
response; its accessors check what every response of that kind must have. Knows HTTP and OpenAI's envelope for errors,
and no route.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import h11

from claude_openai.testing.pipes import Pipe
from tests.http_client import VALIDATED, HttpClient
from tests.openai_schema import validate, validate_known, validate_sampled
from tests.sse_reader import Message, parse_sse

__all__ = ["HOST", "Answer", "Client", "Headers"]

HOST: Final = "127.0.0.1:8000"
READ_BYTES: Final = 4096

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


class Client(HttpClient):
    """One connection.

    Args:
        incoming: from the server.
        outgoing: to the server.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        super().__init__()
        self._incoming = incoming
        self._outgoing = outgoing

    async def send(self, method: str, target: str, *body: bytes, headers: Headers | None = None) -> None:
        """Send a request; a body in several pieces goes out chunked."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        framing = {}
        if body:
            framing = {"transfer-encoding": "chunked"} if len(body) > 1 else {"content-length": str(len(body[0]))}
        merged = {"host": HOST, **framing, **(headers or {})}
        raw = [(name.encode("ascii"), value.encode("latin-1")) for name, value in merged.items()]
        out = self.http.send(h11.Request(method=method, target=target, headers=raw)) or b""
        for piece in body:
            out += self.http.send(h11.Data(data=piece)) or b""
        await self.send_raw(out + (self.http.send(h11.EndOfMessage()) or b""))

    async def post(self, payload: object, target: str = "/v1/chat/completions", **headers: str) -> None:
        """Send JSON; in names of headers `_` stands for `-`."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        body = json.dumps(payload).encode()
        await self.send("POST", target, body, headers={"content-type": "application/json", **more})

    async def send_raw(self, data: bytes) -> None:
        await self._outgoing.send(data)

    async def answer(self) -> Answer:
        status, headers = await self.head()
        return Answer(status, headers, await self.body())

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

    async def receive(self) -> bytes:
        return await self._incoming.receive(READ_BYTES)
