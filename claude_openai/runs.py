"""One run: a request's way through admission and a backend, as one `async with`.

The run belongs to its request: leaving the block, or cancelling the request, cancels the run's nursery and with it the
turn. The slot and the place in the registry belong to the producer task, not to the response, which a client that reads
nothing can pin. The producer never raises: failures are TurnFailed events. The registry holds the producer's own cancel
scope, because nothing of ours may cancel a scope that encloses an ASGI send: that can break the connection's state.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field

import trio

from claude_openai.admission import Admission
from claude_openai.claude.base import Backend
from claude_openai.errors import ApiError, InternalError, TurnTimeout, UpstreamError
from claude_openai.logs import Log, traceback_of
from claude_openai.protocol.events import Event, ReasoningDelta, ToolCall, TurnCompleted, TurnFailed, TurnStarted
from claude_openai.protocol.request import ChatRequest

__all__ = ["Run", "RunLimits", "Runs"]

# Events that may wait for a slow reader before the turn has to.
CHANNEL_EVENTS = 512
# The last word of a cancelled run must not wait for a client that has stopped reading.
LAST_EVENT_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Seconds. `turn_s` bounds a turn once it has a slot, `stall_s` how long a client may take nothing."""

    turn_s: float
    stall_s: float


@dataclass(slots=True, eq=False)
class Run:
    """A run under way. `events` and `error`, once the turn has failed, are for the response; the rest is the
    registry's."""

    id: str
    events: trio.MemoryReceiveChannel[Event]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    cancelled_by: ApiError | None = None
    error: ApiError | None = None
    state: str = "queued"
    answering: bool = False

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "failed")

    def cancel(self, error: ApiError) -> None:
        """End it from outside its request; its client gets the error."""
        if self.cancelled_by is None:
            self.cancelled_by = error
            self.scope.cancel(reason=error.message)


class Runs:
    """The registry of runs under way, and the only way to make one."""

    def __init__(self, backend: Backend, admission: Admission, limits: RunLimits) -> None:
        self._backend = backend
        self._admission = admission
        self._limits = limits
        self._active: dict[str, Run] = {}

    def cancel_all(self, error: ApiError) -> None:
        for run in list(self._active.values()):
            run.cancel(error)

    @asynccontextmanager
    async def open(self, request: ChatRequest, log: Log) -> AsyncIterator[Run]:
        """Start a run and give it for as long as the block.

        Raises:
            QueueFull, ShuttingDown: at once, before anything was started.
        """
        send, receive = trio.open_memory_channel[Event](CHANNEL_EVENTS)
        run = Run(id=f"run_{uuid.uuid4().hex[:24]}", events=receive)
        place = self._admission.admit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._produce, run, place, request, send, log.bind(run_id=run.id))
            try:
                yield run
                # The response is complete. The turn's process may still be ending: the producer keeps the slot until
                # it is gone, and this block waits for that.
                if not run.ended:
                    nursery.cancel_scope.cancel(reason="the response ended before the turn")
            finally:
                receive.close()

    async def _produce(
        self,
        run: Run,
        place: AbstractContextManager[None],
        request: ChatRequest,
        send: trio.MemorySendChannel[Event],
        log: Log,
    ) -> None:
        with place, send:
            self._active[run.id] = run
            try:
                with run.scope:
                    async with self._admission.slot():
                        run.state = "running"
                        await self._run_turn(run, request, send, log)
                if run.cancelled_by is not None and not run.ended:
                    await self._last_event(run, TurnFailed(run.cancelled_by), send, log)
            finally:
                if not run.ended:
                    run.state = "cancelled"
                del self._active[run.id]
                log.debug("run.end", state=run.state)

    async def _run_turn(self, run: Run, request: ChatRequest, send: trio.MemorySendChannel[Event], log: Log) -> None:
        log.debug("run.start", model=request.claude_model)

        async def emit(event: Event) -> None:
            if run.ended:
                log.error("run.event_after_end", kind=type(event).__name__)
                return
            _note(run, event, log)
            await self._send(run, event, send)

        failure: ApiError = InternalError("The turn ended without an end.")
        with trio.move_on_after(self._limits.turn_s) as deadline:
            try:
                await self._backend.turn(request, emit, log)
            # A bug in a backend must still end the stream. One in its cleanup comes in a group with Cancelled, which
            # goes on from here by itself.
            except* Exception as bugs:  # noqa: BLE001
                for error in bugs.exceptions:
                    log.error("run.crashed", error=error, traceback=traceback_of(error))
                failure = _bug(run)
        if deadline.cancelled_caught:
            failure = TurnTimeout(
                f"The turn took longer than {self._limits.turn_s:g} s (--process-timeout-ms).", may_retry=False
            )
        if not run.ended:
            await self._last_event(run, TurnFailed(failure), send, log)

    async def _send(self, run: Run, event: Event, send: trio.MemorySendChannel[Event]) -> None:
        try:
            send.send_nowait(event)
        except trio.WouldBlock:
            await self._send_slowly(run, event, send)
        except trio.BrokenResourceError:
            await _stop_here(run)

    async def _send_slowly(self, run: Run, event: Event, send: trio.MemorySendChannel[Event]) -> None:
        try:
            with trio.move_on_after(self._limits.stall_s) as waiting:
                await send.send(event)
        except trio.BrokenResourceError:
            await _stop_here(run)
        if waiting.cancelled_caught:
            run.cancel(TurnTimeout("The client stopped reading the answer.", code="client_stalled", may_retry=False))
            await trio.lowlevel.checkpoint()

    async def _last_event(self, run: Run, event: Event, send: trio.MemorySendChannel[Event], log: Log) -> None:
        _note(run, event, log)
        with trio.move_on_after(LAST_EVENT_TIMEOUT_S):
            try:
                await send.send(event)
            except trio.BrokenResourceError:
                log.debug("run.unheard")


def _bug(run: Run) -> ApiError:
    message = "The turn failed by a bug of this server; its log has the details."
    # Clients repeat a server_error by themselves, in a stream too; a turn that has begun is paid for.
    return UpstreamError(message, code="internal_error") if run.answering else InternalError(message)


async def _stop_here(run: Run) -> None:
    # An exception from `emit` would pass through the backend, whose nurseries wrap it; a cancel does not.
    run.scope.cancel(reason="nobody reads the answer any more")
    await trio.lowlevel.checkpoint()


def _note(run: Run, event: Event, log: Log) -> None:
    match event:
        case TurnStarted():
            run.answering = True
            log.debug("run.answering", claude_model=event.model, conversation=event.conversation)
        case ReasoningDelta(tool=tool) if tool:
            log.debug("sdk.own_tool", name=tool)
        case ToolCall():
            size = len(event.arguments.encode(errors="surrogatepass"))
            log.debug("sdk.structured_tool_call", id=event.id, name=event.name, argument_bytes=size)
            log.trace("sdk.tool_arguments", id=event.id, arguments=event.arguments)
        case TurnCompleted():
            run.state = "completed"
            log.debug("openai.response", finish_reason=event.finish_reason, usage=event.usage)
        case TurnFailed():
            run.state = "failed"
            error = run.error = event.error
            log.warning("run.failed", message=error.message, type=error.type, code=error.code, status=error.status)
