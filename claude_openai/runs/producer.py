"""Runs the turn of one run and passes its events on to the response.

The producer never raises: a failure is a TurnFailed event, also if the turn raises or returns without a final event.
It never cancels a scope that encloses the response (see `registry`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from claude_openai.claude.backend import Backend
from claude_openai.errors import ApiError, InternalError, TurnTimeout, UpstreamError, leaves
from claude_openai.logs.log import Log, traceback_of
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    ReasoningEnd,
    SearchEnded,
    SearchStarted,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from claude_openai.protocol.turn.reports import Report
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.stop_sequences import StopSequenceEvents
from claude_openai.runs.liveness import Liveness
from claude_openai.runs.long_context import LongContext
from claude_openai.runs.run import Run

__all__ = ["Producer"]

# A bound for the last event of a cancelled run, in case the client has stopped reading.
LAST_EVENT_TIMEOUT_S = 1.0

# Names of the events in the message of a timeout.
_NAMES: Final[dict[type[Event], str]] = {
    TurnStarted: "the beginning of the answer",
    TextDelta: "text",
    ReasoningDelta: "thinking",
    ReasoningEnd: "thinking",
    ToolCall: "a tool call",
    SearchStarted: "a web search",
    SearchEnded: "the result of a web search",
    TurnCompleted: "the end of the answer",
    TurnFailed: "the end of the turn",
}


class Producer:
    """The `Emit` of one turn.

    Args:
        run: the run of the turn.
        send: channel to the response; owned by the caller.
        note: called with each event that is sent.
        report: called with each report.
        long_context: knows the models that run without the long context.
        stall_s: seconds after which a client that does not read fails the run.
        log: bound to the run.
    """

    def __init__(
        self,
        run: Run,
        send: trio.MemorySendChannel[Event],
        note: Callable[[Event], None],
        report: Callable[[Report], None],
        long_context: LongContext,
        *,
        stall_s: float,
        log: Log,
    ) -> None:
        self._run = run
        self._send = send
        self._note = note
        self.report = report
        self._long_context = long_context
        self._stall_s = stall_s
        self._log = log
        self._scope: trio.CancelScope
        self._again = False
        self._request: TurnRequest
        self._cutter: StopSequenceEvents
        self._liveness: Liveness

    async def run(self, backend: Backend, request: TurnRequest, liveness: Liveness) -> None:
        """Run the turn; return when nothing of it is left."""
        self._liveness, self._cutter = liveness, StopSequenceEvents(request.stop)
        self._request = self._long_context.applied_to(request)
        failure = await self._run_turn(backend)
        if self._again and liveness.expired is None:
            self._request = self._long_context.without(self._request)
            failure = await self._run_turn(backend)
        if not self._run.ended:
            await self.end(TurnFailed(liveness.expired or failure))

    async def __call__(self, event: Event) -> None:
        if self._run.ended:
            self._log.error("run.event_after_end", kind=type(event).__name__)
            return
        self._liveness.note(_NAMES[type(event)])
        if isinstance(event, TurnFailed):
            event = TurnFailed(self._long_context.explained(self._request, event.error))
            if self._long_context.is_refused(self._request, event.error):
                self._log.warning("run.long_context_refused", claude_model=self._request.claude_model)
                if not self._run.answering:
                    self._again = True
                    return
        for shown in self._cutter.feed(event):
            if isinstance(shown, TurnCompleted):
                shown = replace(shown, cost_usd=self._run.record.cost_usd)
            self._note(shown)
            await self._pass_on(shown)
        if self._cutter.found:
            self._scope.cancel(reason="a stop sequence was found")
            await trio.lowlevel.checkpoint()

    def alive(self, what: str, for_s: float = 0) -> None:
        """See `Emit.alive`."""
        self._liveness.alive(what, for_s)

    async def end(self, event: TurnFailed) -> None:
        """Send the last event, unless the response does not take it in time."""
        self._note(event)
        with trio.move_on_after(LAST_EVENT_TIMEOUT_S):
            try:
                await self._send.send(event)
            except trio.BrokenResourceError:
                self._log.debug("run.unheard")

    async def _run_turn(self, backend: Backend) -> ApiError:
        """Run the turn; return its error, for the case that it has not emitted a final event."""
        failure: ApiError = InternalError("The backend stopped without a final event.")
        with trio.CancelScope() as self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._liveness.watch, self._scope)
                    self._run.parked = await backend.turn(self._request, self, self._log)
                    nursery.cancel_scope.cancel()
            # A bug in a backend must still end the stream. If the bug is in its cleanup it comes in a group with
            # Cancelled, which `except*` raises again.
            except* Exception as bugs:  # noqa: BLE001
                for error in leaves(bugs):
                    self._log.error("run.crashed", error=error, traceback=traceback_of(error))
                failure = _bug(self._run)
        return failure

    async def _pass_on(self, event: Event) -> None:
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            await self._pass_on_slowly(event)
        except trio.BrokenResourceError:
            await self._stop_here()

    async def _pass_on_slowly(self, event: Event) -> None:
        try:
            with trio.move_on_after(self._stall_s) as waiting, self._liveness.held():
                await self._send.send(event)
        except trio.BrokenResourceError:
            await self._stop_here()
        if waiting.cancelled_caught:
            error = TurnTimeout("The client stopped reading the answer.", code="client_stalled", may_retry=False)
            self._run.cancel(error)
            await trio.lowlevel.checkpoint()

    async def _stop_here(self) -> None:
        # The nurseries of the backend would wrap an exception from an `Emit`; they do not wrap a cancel.
        self._run.scope.cancel(reason="the response is no longer read")
        await trio.lowlevel.checkpoint()


def _bug(run: Run) -> ApiError:
    message = "The turn failed because of a bug in this server; see the server's log."
    # Clients automatically retry a `server_error`, in a stream too; a turn that has begun is billed already.
    return UpstreamError(message, code="internal_error") if run.answering else InternalError(message)
