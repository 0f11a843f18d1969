"""One connection to the server that is attacked: bytes out, an answer in."""

import json
from typing import Any, NamedTuple

import h11
import trio

__all__ = ["Answer", "Connection", "complaint"]

MAX_EVENT_BYTES = 16 * 1024 * 1024


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """Opened with the first request, and again when the server has closed it.

    Args:
        host: of the server.
        port: of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._stream: trio.SocketStream | None = None
        self._http = h11.Connection(h11.CLIENT)

    async def ask(self, method: str, target: str, body: bytes = b"") -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError, trio.BrokenResourceError, h11.RemoteProtocolError: there is no answer, or it breaks off.
        """
        stream = await self._ready()
        headers = [("Host", "localhost"), ("Content-Length", str(len(body))), ("Content-Type", "application/json")]
        try:
            for event in (
                h11.Request(method=method, target=target, headers=headers),
                h11.Data(body),
                h11.EndOfMessage(),
            ):
                await stream.send_all(self._http.send(event) or b"")
        except trio.BrokenResourceError:
            pass  # it has answered before it has read all
        answer = await self._answer(stream)
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            await self.aclose()
        return answer

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()
        self._stream = None

    async def _ready(self) -> trio.SocketStream:
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(*self._address)
            self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_EVENT_BYTES)
        return self._stream

    async def _answer(self, stream: trio.SocketStream) -> Answer:
        status, headers, parts = 0, {}, []
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return Answer(status, headers, b"".join(parts))


def complaint(answer: Answer) -> str:
    """Return what is wrong with an answer; "" if nothing is."""
    if not 200 <= answer.status < 500:
        return f"status {answer.status}: {answer.body[:300]!r}"
    if not answer.headers.get("x-request-id", "").startswith("req_"):
        return f"no request id, status {answer.status}"
    if answer.status < 400:
        return ""
    try:
        error: Any = json.loads(answer.body)["error"]
        keys = set(error)
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status} without an error object: {answer.body[:300]!r}"
    if (
        keys not in ({"message", "type", "param", "code"}, {"message", "type"})
        or not error["message"]
        or len(answer.body) > 100_000
    ):
        return f"an odd error object: {answer.body[:300]!r}"
    return ""
