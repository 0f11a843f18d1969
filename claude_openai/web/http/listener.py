"""Accepts connections, up to a limit that follows from the limit of open files.

The limit reserves file descriptors for Claude's processes and for files. At the limit, a new connection replaces the
connection that has waited longest for a request; if every client waits for a response, new connections wait in the
kernel's queue. So a client that opens connections and sends half a request does not displace clients that send whole
ones. A crash of one connection (`http1`) does not affect the others.
"""

import errno
import logging
import math
import os
import resource
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.typing import ASGIFramework

from claude_openai.config import Config
from claude_openai.logs.log import Log, traceback_of
from claude_openai.web.http.http1 import GuardedStream, Http1Server
from claude_openai.web.http.malformed import NO_WEBSOCKETS, malformed_response
from claude_openai.web.http.sockets import SocketListener

__all__ = ["Connections", "connection_limit"]

# How long a stopping server waits for the last responses before it closes their connections.
CLIENT_CLOSE_WAIT_S: Final = 1.0
# Between two attempts to accept while the system is out of descriptors or memory.
ACCEPT_RETRY_S: Final = 0.1
# A problem that may occur a thousand times a second is logged at most once in this time.
COMPLAIN_EVERY_S: Final = 60.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

# For the log, the pid file, captured runs and files that are open for a short time.
RESERVED_DESCRIPTORS: Final = 64
# For each process of Claude: three pipes and a socket to its supervisor, their other ends while it starts, the file of
# its run, its folder and its transcript.
DESCRIPTORS_PER_PROCESS: Final = 12
# An idle connection uses about 45 kB of memory.
MAX_CONNECTIONS: Final = 1000
# Even with few descriptors the server must be reachable.
MIN_CONNECTIONS: Final = 16


def connection_limit(config: Config) -> int:
    """Return how many connections may be open at once, by the process's limit of open files (RLIMIT_NOFILE)."""
    processes = config.max_concurrency + config.max_idle_sessions + 2 * config.spares
    kept = _open_descriptors() + RESERVED_DESCRIPTORS + DESCRIPTORS_PER_PROCESS * processes
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = math.inf if soft == resource.RLIM_INFINITY else soft
    # At least as many as there are running and queued turns.
    wanted = max(MAX_CONNECTIONS, 2 * (config.max_concurrency + config.max_queue_size))
    return int(max(MIN_CONNECTIONS, min(wanted, limit - kept)))


def _open_descriptors() -> int:
    try:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 - only the count is needed
    except OSError:
        return 0


class Connections:
    """All connections of the server.

    Args:
        app: the ASGI app.
        config: the settings, for the timeouts.
        log: gets crashes, and shortages of connections or descriptors.
        limit: how many connections may be open.
    """

    def __init__(self, app: ASGIFramework, config: Config, log: Log, limit: float = math.inf) -> None:
        self._app = ASGIWrapper(_http_only(app, log))
        self._stall_s = config.stall_timeout_ms / 1000
        self._hypercorn = HypercornConfig()
        self._hypercorn.keep_alive_timeout = config.idle_connection_ms / 1000
        self._hypercorn.include_server_header = False
        self._hypercorn.accesslog = None
        # A logger instead of its name: for a name hypercorn adds a handler, which would bypass the server's log.
        self._hypercorn.errorlog = logging.getLogger("hypercorn.error")
        self._limit = limit
        # In the order in which they were accepted or became idle, oldest first.
        self._open: dict[Http1Server, None] = {}
        self._changed = trio.Event()
        self._replaced = 0
        self._next_complaint: dict[str, float] = {}
        self._log = log

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends. Raises nothing but Cancelled."""
        guarded = GuardedStream(stream, self._stall_s)
        server = Http1Server(self._app, self._hypercorn, guarded, self._log, self._note_idle)
        self._open[server] = None
        try:
            await server.run()
        except Exception as error:  # noqa: BLE001 - the crash of one connection must not end the server
            self._log.error("http.connection_crashed", error=error, traceback=traceback_of(error))
        finally:
            self._open.pop(server, None)
            self._note_change()
            guarded.close()

    async def accept(self, listeners: Sequence[SocketListener], nursery: trio.Nursery) -> None:
        """Accept connections until cancelled, and serve them in the nursery."""
        async with trio.open_nursery() as accepting:
            for listener in listeners:
                accepting.start_soon(self._accept_from, listener, nursery)

    async def close(self, nursery: trio.Nursery) -> None:
        """Close idle connections at once, wait for the last responses of busy ones, then close the rest."""
        for server in list(self._open):
            await server.guarded.context.terminated.set()
        with trio.move_on_after(CLIENT_CLOSE_WAIT_S):
            while self._open:
                await self._changed.wait()
        if self._open:
            self._log.warning("http.connections_closed", connections=len(self._open))
            for server in list(self._open):
                server.guarded.close()
        nursery.cancel_scope.cancel(reason="the server stops")

    async def _accept_from(self, listener: SocketListener, nursery: trio.Nursery) -> None:
        while True:
            await listener.wait_for_client()
            if len(self._open) >= self._limit and not self._replace_longest_waiting():
                await self._changed.wait()
                continue
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                if self._is_due("accept_failed"):
                    self._log.warning("http.accept_failed", error=error.strerror, connections=len(self._open))
                self._replace_longest_waiting()
                await trio.sleep(ACCEPT_RETRY_S)
            else:
                nursery.start_soon(self.serve, stream)

    def _replace_longest_waiting(self) -> bool:
        """Close the connection that has waited longest for a request. Return False if none waits for one."""
        server = next((server for server in self._open if server.waits_for_client), None)
        if server is None:
            return False
        del self._open[server]
        server.guarded.close()
        self._replaced += 1
        if self._is_due("connections_replaced"):
            self._log.warning("http.connections_replaced", connections=self._replaced, limit=self._limit)
            self._replaced = 0
        return True

    def _note_idle(self, server: Http1Server) -> None:
        if server in self._open:
            del self._open[server]
            self._open[server] = None
            self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _is_due(self, complaint: str) -> bool:
        """Return True at most once in `COMPLAIN_EVERY_S` for each kind of complaint."""
        now = trio.current_time()
        if now < self._next_complaint.get(complaint, -math.inf):
            return False
        self._next_complaint[complaint] = now + COMPLAIN_EVERY_S
        return True


def _http_only(app: ASGIFramework, log: Log) -> ASGIFramework:
    """Reject WebSockets before the app: a web page can open one without a preflight request."""
    handle: Callable[[Any, Any, Any], Awaitable[None]] = app

    async def only_http(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            status, headers, body = malformed_response(NO_WEBSOCKETS.status, log, NO_WEBSOCKETS)
            await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})

    return only_http
