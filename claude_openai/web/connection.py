"""One HTTP exchange between hypercorn and Quart: its id, its exit stack, its disconnect, its `http.request` line.

Knows ASGI messages and nothing of routes. It repairs what the released quart-trio does to a connection (each has a test
that shows when a new version changes it): hypercorn queues `http.disconnect` after the *last* chunk as well, quart-trio
cancels the task that is still sending it, and so `Connection: close` never closes and idle connections never time out.
So after the last chunk a disconnect cancels nothing. And no response is ever put under a timeout: a scope cancelled
inside `http.response.start` breaks hypercorn's connection state.
"""

import re
import uuid
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent
from quart import Request
from quart.asgi import ASGIHTTPConnection
from quart_trio.asgi import TrioASGIHTTPConnection

from claude_openai.logs.log import Log
from claude_openai.runs.metrics import Metrics

__all__ = ["Exchange", "HttpConnection", "exchange_of", "route_of"]

_SCOPE_KEY = "claude_openai.exchange"
# nginx's number for a client that left; only the log ever sees it.
CLIENT_LEFT = 499


class Exchange:
    """What belongs to one request from its first byte to its last.

    Attributes:
        id: the request id, in the `x-request-id` header and in the log.
        log: bound to the id, and to the client's own if it sent one.
        stack: closed after the body was sent or the client has left, in the task that runs the view; what a view enters
            here may hold a nursery.
        headers: added to the response, whoever makes it.
        arrived: when it came, by trio's clock.
        route: the template of its path, for the counts; one word for all paths that are not served.
    """

    def __init__(self, log: Log, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.id = f"req_{uuid.uuid4().hex}"
        self.log = log.bind(request_id=self.id, **_client_ids(headers))
        self.stack = AsyncExitStack()
        self.headers: dict[str, str] = {"x-request-id": self.id}
        self.arrived = trio.current_time()
        self.route = "unknown"
        self.status: int | None = None
        self.finishing = False


def _client_ids(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The client's own id of the request, for the log: OpenAI allows 512 characters of ASCII."""
    given = next((value for name, value in headers if name.lower() == b"x-client-request-id"), b"")
    return {"client_request_id": given.decode("ascii")} if given.isascii() and 0 < len(given) <= 512 else {}


def route_of(rule: str) -> str:
    """The template of a path: `/v1/models/{model}` for werkzeug's `/v1/models/<path:model>`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def exchange_of(scope: Any) -> Exchange:
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange


class HttpConnection(TrioASGIHTTPConnection):
    """Set as `asgi_http_class` of the app, which must have the attributes `exchange_log` and `metrics`."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        exchange = self._exchange = Exchange(self.app.exchange_log, self.scope["headers"])  # type: ignore[attr-defined]
        self.scope[_SCOPE_KEY] = exchange  # type: ignore[literal-required]
        metrics: Metrics = self.app.metrics  # type: ignore[attr-defined]
        metrics.in_flight += 1

        def log_exchange() -> None:
            # At the last byte, or the disconnect: the turn's process may still be ending, which is nobody's wait.
            status = exchange.status if exchange.finishing and exchange.status is not None else CLIENT_LEFT
            duration_s = trio.current_time() - exchange.arrived
            metrics.in_flight -= 1
            metrics.note_request(exchange.route, status, duration_s)
            exchange.log.info(
                "http.request",
                method=self.scope["method"],
                path=self.scope["path"],
                status=status,
                duration_ms=round(duration_s * 1000, 1),
            )

        async def tracked(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                exchange.status = event["status"]
                added = [(name.encode("ascii"), value.encode("latin-1")) for name, value in exchange.headers.items()]
                event = {**event, "headers": [*event["headers"], *added]}
            elif event["type"] == "http.response.body" and not event.get("more_body"):
                exchange.finishing = True
                log_exchange()
            await send(event)

        try:
            await super().__call__(receive, tracked)
        finally:
            if not exchange.finishing:
                log_exchange()

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        if not self._exchange.finishing:
            nursery.cancel_scope.cancel(reason="the client went away")

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        async with self._exchange.stack:
            response = await self.app.handle_request(request)
            await self._send_response(send, response)
        nursery.cancel_scope.cancel(reason="the exchange is over")
