"""One HTTP/1.1 connection to the stand-in, which notices immediately if the client leaves.

This is h11 over a trio socket: framing, keep-alive, batching, and faults of the connection. A client that closes only
its sending half counts as gone, as it does for most servers.
"""

import enum
import socket
import struct
from collections.abc import Iterable
from typing import TypeAlias

import h11
import trio

from claude_openai.file_access import READ_BYTES
from claude_openai.standin.recorded import RecordedRequest
from claude_openai.standin.script import Cut, Die, Pause, Wait
from claude_openai.standin.wire import Head, Item

SEND_BYTES = 65_536  # sent in one call if there is no wait in between; each delta is still a separate SSE event

_Sent: TypeAlias = h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage


class AnswerOutcome(enum.Enum):
    """How an answer ended."""

    FINISHED = enum.auto()
    DISCONNECTED = enum.auto()
    CUT = enum.auto()


class Connection:
    """The server's end of one TCP connection, for one task; the caller closes the stream.

    Args:
        stream: the accepted connection.

    Attributes:
        died: the answer ended with a `Die`.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER)
        self._unsent = b""
        self._head_only = False
        self._disconnected = False
        self.died: bool = False

    async def next_request(self) -> RecordedRequest | None:
        """Return the next request with its body; None at the end, when the stream must be closed."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        elif self._h11.our_state is not h11.IDLE:
            return None
        try:
            return await self._read_request()
        except trio.BrokenResourceError:
            return None
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
            return None

    async def answer(self, items: Iterable[Item]) -> AnswerOutcome:
        """Send `items`; a client that leaves ends every wait and every send."""
        complete = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                complete = await self._send_items(items)
            except trio.BrokenResourceError:
                self._disconnected = True
            nursery.cancel_scope.cancel()
        if complete:
            return AnswerOutcome.FINISHED
        return AnswerOutcome.DISCONNECTED if self._disconnected else AnswerOutcome.CUT

    async def _read_request(self) -> RecordedRequest | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    self._put(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._flush()
                self._h11.receive_data(await self._stream.receive_some(READ_BYTES))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self._head_only = request.method == b"HEAD"
                return _recorded(request, bytes(body))
            else:
                return None

    async def _watch(self, answering: trio.CancelScope) -> None:
        try:
            while data := await self._stream.receive_some(READ_BYTES):
                self._h11.receive_data(data)  # a pipelined request: its turn comes after this answer
        except trio.BrokenResourceError:
            pass
        self._disconnected = True
        answering.cancel()

    async def _send_items(self, items: Iterable[Item]) -> bool:
        """Send the items; return whether the answer was sent completely."""
        body = bytearray()
        for item in items:
            if isinstance(item, bytes):
                body += item
                if len(body) >= SEND_BYTES:
                    self._put_body(body)
                    await self._flush()
            elif isinstance(item, Head):
                self._put(h11.Response(status_code=item.status, headers=list(item.headers.items())))
            else:
                self._put_body(body)
                await self._flush()
                if isinstance(item, Cut | Die):
                    self._cut(item)
                    return False
                await _wait(item)
        self._put_body(body)
        # In one call with the end of the body: a client that leaves after its message has the whole answer.
        self._put(h11.EndOfMessage())
        await self._flush()
        return True

    def _put_body(self, body: bytearray) -> None:
        if body and not self._head_only:
            self._put(h11.Data(data=bytes(body)))
        body.clear()

    def _put(self, event: _Sent) -> None:
        self._unsent += self._h11.send(event) or b""

    async def _flush(self) -> None:
        data, self._unsent = self._unsent, b""
        if data:
            await self._stream.send_all(data)

    def _cut(self, cut: Cut | Die) -> None:
        self.died = isinstance(cut, Die)
        if isinstance(cut, Cut) and cut.reset:
            # A linger time of zero makes close() send RST instead of FIN.
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Send an error to a client that does not speak HTTP, if that is still possible."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        try:
            headers = [("content-length", "0"), ("connection", "close")]
            self._put(h11.Response(status_code=error.error_status_hint, headers=headers))
            self._put(h11.EndOfMessage())
            await self._flush()
        except trio.BrokenResourceError:
            return


async def _wait(wait: Wait) -> None:
    if not isinstance(wait, Pause):
        await trio.sleep_forever()
    elif isinstance(wait.until, int | float):
        await trio.sleep(wait.until)
    else:
        await wait.until.wait()


def _recorded(request: h11.Request, body: bytes) -> RecordedRequest:
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = request.target.decode("latin-1").partition("?")
    return RecordedRequest(request.method.decode("ascii"), path, query, headers, body)
