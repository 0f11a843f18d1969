"""One HTTP exchange between hypercorn and Quart: its id, its exit stack, its disconnect, its `http.request` log line.

It works around two faults of the released quart-trio (each has a test that shows when a new version changes it).
hypercorn queues `http.disconnect` also after the *last* chunk, and quart-trio then cancels the task that is still
sending that chunk, so `Connection: close` never closes and idle connections never time out. So a disconnect after the
last chunk is ignored here. And a scope that is cancelled inside `http.response.start` breaks hypercorn's connection
state, so no response is sent under a timeout.

Every failed exchange gets the error object of its API, even where Quart fails before it calls the app's error handler:
it builds its request from the target and the `Host` header, and raises for some values of them.

The end of the client's data (FIN) counts as a disconnect, as in nginx, Go, Node, hyper and uvicorn. TCP does not
distinguish a client that closed its sending side from one that is gone, and behind a proxy that passes a FIN on
(Docker's port forwarding, `ssh -L`) there may be no other signal. A turn costs money, so it is cancelled at once, and a
client that still reads gets an error. An exchange without a turn is answered.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from enum import Enum, auto
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent
from quart import Request
from quart.asgi import ASGIHTTPConnection
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.exceptions import HTTPException

from claude_openai.errors import ApiError, BadRequest, InternalError
from claude_openai.keys.key import Key
from claude_openai.logs.log import Log, traceback_of
from claude_openai.protocol.anthropic.errors import error_object
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.runs.metrics import Metrics
from claude_openai.runs.run import Run
from claude_openai.web.http.affinity import affinity_of
from claude_openai.web.http.caller import caller_of
from claude_openai.web.http.malformed import NOT_STARTED
from claude_openai.web.http.probes import ProbeCount, is_probe
from claude_openai.web.http.request_id import new_request_id

__all__ = ["Exchange", "HttpConnection", "exchange_of", "route_of"]

_SCOPE_KEY = "claude_openai.exchange"
MESSAGES_PATH = "/v1/messages"
MODELS_PATH = "/v1/models"
# nginx's status for a client that disconnected. It appears in the log and in the metrics only.
CLIENT_LEFT = 499
# How long an exchange without a turn may continue after the end of the client's data.
ANSWER_AFTER_EOF_S = 1.0
# Of a model's name in the log; the client chooses it.
MODEL_CHARS = 256


class ClientState(Enum):
    """State of the client: it is sending the request, it waits for the answer, or its data has ended."""

    SENDS = auto()
    WAITS = auto()
    LEFT = auto()


class Exchange:
    """State of one request, from its arrival to the end of its response.

    Attributes:
        id: the request id, in the `x-request-id` header and in the log.
        log: bound to the id, and to the client's own id if it sent one.
        caller: hash of the key that the client sent, by which callers are distinguished.
        key: the named key of the client, None if it has none.
        stack: closed after the body was sent or the client disconnected, in the task that runs the view. Views may
            enter context managers that hold a nursery.
        headers: added to every response, error responses included.
        arrived: when the request arrived, in seconds of trio's clock.
        route: the template of the path, for the metrics; "unknown" for all paths that are not served.
        client: state of the client.
        ends_at_disconnect: whether a disconnect cancels the exchange at once.
        abandoned: whether the exchange was cancelled because the client disconnected.
        model: the client's name of the model, "" if the request has none.
        run: the run that answers the request, None if there is none.
        error: the error that was sent in place of an answer.
        is_anthropic: the client expects the answers of Claude's own API, errors included.
    """

    def __init__(self, log: Log, headers: Sequence[tuple[bytes, bytes]], path: str = "") -> None:
        self.id = new_request_id()
        self.log = log.bind(request_id=self.id, **_client_ids(headers))
        self.caller = caller_of(headers)
        self.key: Key | None = None
        self._affinity = affinity_of(headers, self.caller)
        self.stack = AsyncExitStack()
        self.is_anthropic = _is_anthropic(path, headers)
        self.headers: dict[str, str] = {"x-request-id": self.id}
        if self.is_anthropic:
            self.headers["request-id"] = self.id
        self.arrived = trio.current_time()
        self.route = "unknown"
        self.status: int | None = None
        self.finishing = False
        self.client = ClientState.SENDS
        self.ends_at_disconnect = False
        self.abandoned = False
        self.model = ""
        self.run: Run | None = None
        self.error: ApiError | None = None

    @property
    def has_started_nothing(self) -> bool:
        """Whether no turn was begun for the request, and none will be."""
        return self.run is None or (self.run.ended and not self.run.started)

    def begin_turn(self, model: str) -> None:
        """Note that the exchange has a turn; call it before the turn starts.

        Args:
            model: the client's name of the model.

        Raises:
            BadRequest: the client has disconnected.
        """
        self.model = model
        self.end_at_disconnect()

    def end_at_disconnect(self) -> None:
        """Have the exchange cancelled as soon as the client disconnects.

        Raises:
            BadRequest: the client has disconnected.
        """
        if self.client is ClientState.LEFT:
            self.abandoned = True
            raise client_left_error()
        self.ends_at_disconnect = True

    @property
    def failure(self) -> ApiError | None:
        """The error that was sent in place of an answer, or at its end."""
        return self.error or (None if self.run is None else self.run.error)

    def error_body(self, error: ApiError) -> dict[str, Any]:
        """Return the error object in the form of the client's API."""
        return error_object(error, self.id) if self.is_anthropic else error.body()

    def log_fields(self) -> dict[str, object]:
        """Return the known fields of `http.request` about the turn and the error."""
        found: dict[str, object] = {}
        if self.model:
            found = {"model": self.model[:MODEL_CHARS], "affinity": self._affinity}
        if self.key is not None:
            found["key"] = self.key.name
        if self.run is not None:
            found |= self.run.log_fields()
        error = self.failure
        if error is not None:
            # The message about an invalid field may quote its value, which can be a part of the conversation.
            message = None if isinstance(error, BadRequest) and error.param else error.message
            found |= {"code": error.code or error.type, "param": error.param, "message": message}
        return {name: value for name, value in found.items() if value is not None}


def _is_anthropic(path: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request is for Claude's own API; the paths of models are those of OpenAI's too."""
    if path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/"):
        return True
    is_of_models = path == MODELS_PATH or path.startswith(f"{MODELS_PATH}/")
    return is_of_models and any(name.lower() == b"anthropic-version" for name, _ in headers)


def _client_ids(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the client's own id of the request, for the log. OpenAI allows 512 characters of ASCII."""
    client_id = next((value for name, value in headers if name.lower() == b"x-client-request-id"), b"")
    return {"client_request_id": client_id.decode("ascii")} if client_id.isascii() and 0 < len(client_id) <= 512 else {}


def route_of(rule: str) -> str:
    """Return the template of a path: `/v1/models/{model}` for werkzeug's `/v1/models/<path:model>`."""
    return re.sub(r"<(?:[^<>]+:)?(\w+)>", r"{\1}", rule)


def exchange_of(scope: Any) -> Exchange:
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange


def client_left_error() -> ApiError:
    return BadRequest(
        "The client closed its sending side of the connection before the response, which counts as a disconnect",
        hint="Keep both sides open until the response has ended.",
        code="client_closed_connection",
        may_retry=False,
    )


class HttpConnection(TrioASGIHTTPConnection):
    """The app's `asgi_http_class`. The app must have the attributes of `claude_openai.web.app.App`."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        log: Log = self.app.exchange_log  # type: ignore[attr-defined]
        exchange = self._exchange = Exchange(log, list(self.scope["headers"]), self.scope["path"])
        exchange.headers |= self.app.further_headers  # type: ignore[attr-defined]
        self.scope[_SCOPE_KEY] = exchange  # type: ignore[literal-required]
        metrics: Metrics = self.app.metrics  # type: ignore[attr-defined]
        probes: ProbeCount = self.app.probes  # type: ignore[attr-defined]
        metrics.in_flight += 1
        client = self.app.proxies.client_of(  # type: ignore[attr-defined]
            next(iter(self.scope.get("client") or ()), None), self.scope["headers"]
        )
        addressed = {} if client is None else {"client_address": client}

        def log_exchange() -> None:
            # Called at the last byte or the disconnect: no client waits for the end of the process of the turn.
            is_unsent = exchange.abandoned or not exchange.finishing
            status = CLIENT_LEFT if is_unsent or exchange.status is None else exchange.status
            duration_s = trio.current_time() - exchange.arrived
            metrics.in_flight -= 1
            metrics.note_request(exchange.route, status, duration_s)
            fields = {
                "method": self.scope["method"],
                "path": self.scope["path"],
                "status": status,
                "duration_ms": round(duration_s * 1000, 1),
                **addressed,
                **exchange.log_fields(),
            }
            if is_probe(exchange.route, status):
                probes.note(exchange.route, status)
                exchange.log.trace("http.request", **fields)
            else:
                exchange.log.info("http.request", **fields)

        async def tracked(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                exchange.status = event["status"]
                headers = self._further_headers(event["status"])
                added = [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
                event = {**event, "headers": [*event["headers"], *added]}
            elif event["type"] == "http.response.body" and not event.get("more_body") and not exchange.finishing:
                exchange.finishing = True
                log_exchange()
            await send(event)

        async def noted() -> ASGIReceiveEvent:
            event = await receive()
            if event["type"] == "http.request" and not event.get("more_body"):
                exchange.client = ClientState.WAITS
            return event

        try:
            await super().__call__(noted, tracked)
        except ApiError as error:
            await self._refuse(error, tracked)
        finally:
            if not exchange.finishing:
                log_exchange()
        if exchange.abandoned and exchange.status is None:
            exchange.finishing = True
            await self._refuse(client_left_error(), tracked)

    def _further_headers(self, status: int) -> dict[str, str]:
        headers = dict(self._exchange.headers)
        if status >= 400 and self._exchange.has_started_nothing:
            headers |= NOT_STARTED
        if self.app.is_stopping():  # type: ignore[attr-defined]
            headers["connection"] = "close"
        return headers

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        try:
            return super()._create_request_from_scope(send)
        except (IndexError, ValueError):  # for targets such as '?x' or 'http://['
            target = self.scope["raw_path"].decode("latin-1")
            raise BadRequest(
                f"Invalid request target: {shorten(target)}; expected a path or a URL.", code="invalid_http"
            ) from None

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        exchange = self._exchange
        waited, exchange.client = exchange.client is ClientState.WAITS, ClientState.LEFT
        if exchange.finishing:
            return
        if waited and not exchange.ends_at_disconnect:
            await trio.sleep(ANSWER_AFTER_EOF_S)
        exchange.abandoned = True
        nursery.cancel_scope.cancel(reason="the client went away")

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        async with self._exchange.stack:
            try:
                response = await self.app.handle_request(request)
            except Exception as error:  # noqa: BLE001 - Quart raised it outside the app's error handler
                await self._refuse(self._outside_of_handlers(error), send)
            else:
                await self._send_response(send, response)
        nursery.cancel_scope.cancel(reason="the exchange is over")

    def _outside_of_handlers(self, error: Exception) -> ApiError:
        exchange = self._exchange
        if isinstance(error, HTTPException) and error.code is not None and error.code < 500:
            # The only known case is BadHost, for a name that IDNA cannot encode, such as 'a..localhost'.
            host = next((value for name, value in self.scope["headers"] if name.lower() == b"host"), b"")
            return BadRequest(
                f"Invalid Host header: {shorten(host.decode('latin-1'))}; expected a host name.", code="invalid_http"
            )
        exchange.log.error("http.crashed", error=error, traceback=traceback_of(error))
        return InternalError("The server failed because of a bug", hint=f"Its log has the details under {exchange.id}.")

    async def _refuse(self, error: ApiError, send: ASGISendCallable) -> None:
        self._exchange.error = error
        self._exchange.log.debug(
            "http.error", status=error.status, message=error.message, code=error.code, param=error.param
        )
        body = encode_json(self._exchange.error_body(error))
        fields = {"content-type": "application/json", "content-length": str(len(body)), **error.headers()}
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
