"""Records the requests of an ASGI app, refused ones too, and the outcome of each."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from hypercorn.typing import ASGIFramework, ASGIReceiveEvent, ASGISendEvent

from claude_openai.claude.backend import Backend, Emit, Parked
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing.answered_text import has_error_event, is_last_event
from claude_openai.testing.requests import FakeRequest

__all__ = ["Exchange", "ObservedBackend", "current_exchange", "recorded"]

_current: Final[ContextVar["Exchange"]] = ContextVar("claude_openai.testing.exchange")


def current_exchange() -> "Exchange":
    """Return the exchange whose turn the current task runs."""
    return _current.get()


class Exchange:
    """One request while it is answered.

    Attributes:
        request: what the client sent.
        turn: its turn, once the backend has begun it.
    """

    def __init__(self, request: FakeRequest) -> None:
        self.request = request
        self.turn: TurnRequest | None = None
        self._left = False
        self._has_error = False
        self._length: int | None = None

    def note_received(self, event: ASGIReceiveEvent) -> None:
        """Note a part of the body, or that the client has left."""
        if event["type"] == "http.request":
            self.request.raw += event["body"]
        elif event["type"] == "http.disconnect":
            self._left = True

    def note_sent(self, event: ASGISendEvent) -> None:
        """Note a part of the answer, before the client can have it."""
        if event["type"] == "http.response.start":
            self.request.status = event["status"]
            self._has_error = event["status"] >= 400
            length = _headers(list(event["headers"])).get("content-length")
            self._length = None if length is None else int(length)
        elif event["type"] == "http.response.body":
            data = bytes(event["body"])
            self.request.answer_bytes += data
            self._has_error = self._has_error or has_error_event(data)
            # A client knows the end of a body by its length, before the last event of the app.
            is_whole = len(self.request.answer_bytes) == self._length
            if is_whole or not event.get("more_body") or is_last_event(data):
                self._settle()

    def end(self) -> None:
        """Note that nothing of the exchange is left."""
        if self.request.outcome == "running":
            self.request.outcome = "cancelled"
        self.request.ended.set()

    def _settle(self) -> None:
        if self.request.outcome != "running":
            return
        if self._left:
            self.request.outcome = "cancelled"
        elif self._has_error:
            self.request.outcome = "failed" if self.turn is not None else "refused"
        else:
            self.request.outcome = "completed"


def recorded(app: ASGIFramework, add: Callable[[FakeRequest], None]) -> ASGIFramework:
    """Return the app with a record of each request.

    Args:
        app: the app.
        add: called with each request when its headers have arrived.
    """
    handle: Any = app
    numbers = iter(range(1, 2**63))

    async def recording(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await handle(scope, receive, send)
            return
        request = FakeRequest(next(numbers), scope["method"], scope["path"], _headers(scope["headers"]))
        exchange = Exchange(request)

        async def noted_receive() -> ASGIReceiveEvent:
            event: ASGIReceiveEvent = await receive()
            exchange.note_received(event)
            return event

        async def noted_send(event: ASGISendEvent) -> None:
            exchange.note_sent(event)
            await send(event)

        _current.set(exchange)  # hypercorn has a task for each request
        add(request)
        try:
            await handle(scope, noted_receive, noted_send)
        finally:
            exchange.end()

    return recording


class ObservedBackend(Backend):
    """A backend whose turns are noted in the exchange of their request.

    Args:
        backend: runs the turns.
        running: gets the exchanges whose turns are running.
    """

    def __init__(self, backend: Backend, running: list[Exchange]) -> None:
        self._backend = backend
        self._running = running
        self.name = backend.name
        self.modules = backend.modules
        self.run = backend.run  # type: ignore[method-assign]
        self.status = backend.status  # type: ignore[method-assign]
        self.counts = backend.counts  # type: ignore[method-assign]
        self.check = backend.check  # type: ignore[method-assign]
        self.conversations = backend.conversations  # type: ignore[method-assign]
        self.close_conversation = backend.close_conversation  # type: ignore[method-assign]
        self.processes = backend.processes  # type: ignore[method-assign]

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        """Run a turn; see `Backend.turn`."""
        exchange = current_exchange()
        exchange.turn = request
        self._running.append(exchange)
        try:
            return await self._backend.turn(request, emit, log)
        finally:
            self._running.remove(exchange)


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
