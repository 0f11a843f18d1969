"""Accepting connections: hypercorn's protocol over streams of ours.

hypercorn's `serve` makes its own listeners and gives no way to reach a connection again. Here its `TCPServer` is run
for each stream that comes, and four things become possible: a connection that crashes takes nothing else down, a
client that takes nothing cannot hold a write for ever (hypercorn shields its writes without a bound), one that has left
does not hold its socket for the idle time that was meant for its next request, and the server can close what is left
when it stops. Knows streams; requests are hypercorn's and the app's business.
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import h11
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from claude_openai.config import Config
from claude_openai.errors import StartError
from claude_openai.logs.log import Log, traceback_of
from claude_openai.web.unread import NO_WEBSOCKETS, unread_answer

__all__ = ["Connections", "open_listeners", "urls_of"]

# How long the exchanges that are ending may take before their connections are closed under them.
CLOSE_WAIT_S = 1.0


class GuardedStream(trio.abc.HalfCloseableStream):
    """A stream whose writes give up on a peer that takes nothing, and that says when no request will follow.

    Attributes:
        context: hypercorn's; once its `terminated` is set, the connection is not kept for a next request.
    """

    def __init__(self, stream: trio.SocketStream, stall_s: float) -> None:
        self._stream = stream
        self._stall_s = stall_s
        self.socket = stream.socket  # hypercorn asks it for the addresses
        self.context = WorkerContext(None)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(self._stall_s) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            # Part of the data may have left, so the stream is of no more use.
            self.close()
            raise trio.BrokenResourceError("the peer takes nothing")

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
        """At once, also under a task that is writing: it sees ClosedResourceError."""
        self.socket.close()


class Http1Server(TCPServer):
    """hypercorn's without HTTP/2, whose buffers hide that a client reads nothing.

    Attributes:
        log: told of what could not be read.
    """

    log: Log

    async def _read_data(self) -> None:
        protocol = self.protocol.protocol
        if not isinstance(protocol, H11Protocol):
            raise TypeError(f"hypercorn begins a connection with {type(protocol).__name__}")
        # An `Upgrade: h2c`, which Java's clients send with their first request, is ignored, as HTTP allows.
        protocol._check_protocol = _stay  # type: ignore[assignment]
        # hypercorn's own answer is empty.
        protocol._send_error_response = partial(_send_error, protocol, self.log)  # type: ignore[method-assign]
        await super()._read_data()


async def _stay(_request: object) -> None:
    """Go on with HTTP/1.1."""


async def _send_error(protocol: H11Protocol, log: Log, status: int) -> None:
    headers, body = unread_answer(status, log)
    await protocol._send_h11_event(h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")]))
    await protocol._send_h11_event(h11.Data(data=body))
    await protocol._send_h11_event(h11.EndOfMessage())


class Connections:
    """All connections of the server.

    Args:
        app: the ASGI app.
        config: for the timeouts.
        log: told of crashes.
    """

    def __init__(self, app: ASGIFramework, config: Config, log: Log) -> None:
        self._app = ASGIWrapper(_http_only(app, log))
        self._stall_s = config.stall_timeout_ms / 1000
        self._hypercorn = HypercornConfig()
        self._hypercorn.keep_alive_timeout = config.idle_connection_ms / 1000
        self._hypercorn.include_server_header = False
        self._hypercorn.accesslog = None
        # A logger, not a name: for a name hypercorn adds a handler of its own, which would write past our log.
        self._hypercorn.errorlog = logging.getLogger("hypercorn.error")
        self._streams: set[GuardedStream] = set()
        self._none_left = trio.Event()
        self._none_left.set()
        self._log = log

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends. Only Cancelled leaves."""
        guarded = GuardedStream(stream, self._stall_s)
        self._streams.add(guarded)
        if self._none_left.is_set():
            self._none_left = trio.Event()
        try:
            server = Http1Server(self._app, self._hypercorn, guarded.context, {}, guarded)  # type: ignore[arg-type]
            server.log = self._log
            await server.run()
        except Exception as error:  # noqa: BLE001 - one connection's crash is not the server's
            self._log.error("http.connection_crashed", error=error, traceback=traceback_of(error))
        finally:
            self._streams.discard(guarded)
            if not self._streams:
                self._none_left.set()
            guarded.close()

    async def accept(self, listeners: Sequence[trio.SocketListener], nursery: trio.Nursery) -> None:
        """Accept for ever; connections live in the nursery."""
        await trio.serve_listeners(self.serve, list(listeners), handler_nursery=nursery)

    async def close(self, nursery: trio.Nursery) -> None:
        """Let idle connections go at once and busy ones a moment later, then close what is left."""
        for stream in list(self._streams):
            await stream.context.terminated.set()
        with trio.move_on_after(CLOSE_WAIT_S):
            await self._none_left.wait()
        if self._streams:
            self._log.warning("http.connections_closed", connections=len(self._streams))
            for stream in list(self._streams):
                stream.close()
        nursery.cancel_scope.cancel(reason="the server stops")


async def open_listeners(host: str, port: int) -> list[trio.SocketListener]:
    """Bind.

    Raises:
        StartError: the address is in use, or is not of this machine.
    """
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"port {port} on {host} is in use, perhaps by another claude-openai; stop that, or choose another "
                "with --port (0 takes a free one)"
            ) from None
        raise StartError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def urls_of(listeners: Sequence[trio.SocketListener]) -> list[str]:
    """The base URLs, with the ports that were really bound."""
    addresses = [listener.socket.getsockname() for listener in listeners]
    return [f"http://{f'[{a[0]}]' if ':' in a[0] else a[0]}:{a[1]}" for a in addresses]


def _http_only(app: ASGIFramework, log: Log) -> ASGIFramework:
    """There are no WebSockets here, and a web page can open one without being asked for its origin first."""
    handle: Callable[[Any, Any, Any], Awaitable[None]] = app

    async def only_http(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            headers, body = unread_answer(NO_WEBSOCKETS.status, log, NO_WEBSOCKETS)
            start = {"type": "websocket.http.response.start", "status": NO_WEBSOCKETS.status, "headers": headers}
            await send(start)
            await send({"type": "websocket.http.response.body", "body": body})

    return only_http
