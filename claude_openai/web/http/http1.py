"""One connection: hypercorn's HTTP/1.1 over `GuardedStream`.

hypercorn's `serve` keeps its connections private. Running its `TCPServer` for each stream adds three things: writes
time out if the client does not read (hypercorn shields its writes without a timeout), the socket of a client that has
disconnected is closed without waiting for the keep-alive timeout, and the server can close a connection when it stops
or has too many.
"""

from collections.abc import Callable
from functools import partial

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from claude_openai.logs.log import Log
from claude_openai.web.http.malformed import malformed_response
from claude_openai.web.http.peer import PEER_UID, uid_of_unix_peer

__all__ = ["GuardedStream", "Http1Server"]


class GuardedStream(trio.abc.HalfCloseableStream):
    """A stream whose writes time out, and which ends keep-alive at the end of the peer's data.

    Args:
        stream: the connection.
        stall_s: seconds for one write.

    Attributes:
        context: hypercorn's context. Once its `terminated` is set, the connection is not kept for another request.
    """

    def __init__(self, stream: trio.SocketStream, stall_s: float) -> None:
        self._stream = stream
        self._stall_s = stall_s
        self.socket = stream.socket  # hypercorn reads the addresses from it
        self.context = WorkerContext(None)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(self._stall_s) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            # A part of the data may have been sent, so the stream is unusable.
            self.close()
            raise trio.BrokenResourceError("the peer does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not data:
                await self.context.terminated.set()
        return data

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        """Close the socket at once. A task that is writing gets ClosedResourceError."""
        self.socket.close()


class Http1Server(TCPServer):
    """hypercorn's server of one connection, without HTTP/2, whose buffers hide that a client does not read.

    Args:
        app: the ASGI app.
        config: hypercorn's configuration.
        stream: the connection.
        log: gets a line for each malformed request.
        on_idle: called when a response is complete and the connection waits for its next request.
    """

    def __init__(
        self,
        app: ASGIWrapper,
        config: HypercornConfig,
        stream: GuardedStream,
        log: Log,
        on_idle: Callable[["Http1Server"], None],
    ) -> None:
        # hypercorn copies it to the scope of each request.
        state = {PEER_UID: uid_of_unix_peer(stream.socket)}
        super().__init__(app, config, stream.context, state, stream)  # type: ignore[arg-type]
        self.guarded = stream
        self._log = log
        self._on_idle = on_idle

    @property
    def waits_for_client(self) -> bool:
        """Return whether no complete request has arrived, so that closing the connection loses no response."""
        has_begun = hasattr(self, "protocol")  # unset if the client disconnected before `run`
        return has_begun and self._h11().connection.their_state in (h11.IDLE, h11.SEND_BODY)

    async def protocol_send(self, event: Event) -> None:
        await super().protocol_send(event)
        if isinstance(event, Updated) and event.idle:
            self._on_idle(self)

    async def _read_data(self) -> None:
        protocol = self._h11()
        # Ignore `Upgrade: h2c`, which Java's clients send with their first request; HTTP allows that.
        protocol._check_protocol = _stay  # type: ignore[assignment]
        # hypercorn's own error response has no body.
        protocol._send_error_response = partial(_send_error, protocol, self._log)  # type: ignore[method-assign]
        await super()._read_data()

    def _h11(self) -> H11Protocol:
        protocol = self.protocol.protocol
        if not isinstance(protocol, H11Protocol):
            raise TypeError(f"hypercorn's protocol is {type(protocol).__name__}; expected H11Protocol")
        return protocol


async def _stay(_request: object) -> None:
    """Stay with HTTP/1.1."""


async def _send_error(protocol: H11Protocol, log: Log, hint: int) -> None:
    status, headers, body = malformed_response(hint, log)
    response = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
    # Composed without an await: if the body is malformed, the app may be about to send its response.
    data = [protocol.connection.send(event) or b"" for event in (response, h11.Data(data=body), h11.EndOfMessage())]
    await protocol.send(RawData(data=b"".join(data)))
