"""The registry of runs: a request's way through admission and a backend, as one `async with`.

The run belongs to its request: leaving the block, or cancelling the request, cancels the run's nursery and with it the
turn. The slot and the place in the registry belong to the producer task, not to the response, which a client that reads
nothing can pin. The producer never raises: failures are TurnFailed events. The registry holds the producer's own cancel
scope, because nothing of ours may cancel a scope that encloses an ASGI send: that can break the connection's state.

The registry also knows the last runs that ended, and whether one's conversation still waits for the results of its tool
calls: then the run is parked. What a run says goes to its file too, if there is a writer.
"""

import math
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import trio

from claude_openai.claude.base import Backend
from claude_openai.errors import ApiError, InternalError, RunEnded, TurnTimeout, UpstreamAuth, UpstreamError
from claude_openai.logs.log import Log, traceback_of
from claude_openai.protocol.events import Event, TurnFailed, TurnStarted
from claude_openai.protocol.request import ChatRequest
from claude_openai.protocol.stop import EventCutter
from claude_openai.runs.admission import Admission
from claude_openai.runs.metrics import Metrics, TurnMeter
from claude_openai.runs.records import RunRecord
from claude_openai.runs.run import Run
from claude_openai.runs.writer import RunWriter

__all__ = ["LOGIN_DOUBT_S", "RunLimits", "Runs"]

# Events that may wait for a slow reader before the turn has to.
CHANNEL_EVENTS = 512
# The last word of a cancelled run must not wait for a client that has stopped reading.
LAST_EVENT_TIMEOUT_S = 1.0
# A cancelled run's process is gone within the kill ladder's 3 s.
CANCEL_WAIT_S = 6.0
# Ended runs that are still known without their files.
KEPT_RUNS = 500
# After this, `/ready` forgets a refused login: a balancer that sends no more turns would never see it mended.
LOGIN_DOUBT_S = 300.0
USER_CHARS = 256


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Seconds. `turn_s` bounds a turn once it has a slot, `stall_s` how long a client may take nothing."""

    turn_s: float
    stall_s: float


class Runs:
    """The registry of runs, and the only way to make one.

    Args:
        backend: runs the turns.
        admission: who may run now.
        limits: of a turn.
        writer: writes down what runs say; None for nowhere.
    """

    def __init__(
        self, backend: Backend, admission: Admission, limits: RunLimits, writer: RunWriter | None = None
    ) -> None:
        self._backend = backend
        self._admission = admission
        self._limits = limits
        self._writer = writer
        self.metrics = Metrics()
        self._login_refused_until = -math.inf
        self._active: dict[str, Run] = {}
        self._ended: dict[str, Run] = {}

    @property
    def backend(self) -> Backend:
        return self._backend

    @property
    def admission(self) -> Admission:
        return self._admission

    @property
    def login_refused(self) -> bool:
        """Whether Claude refused the login of a turn, not long ago, and has answered none since."""
        return trio.current_time() < self._login_refused_until

    def all(self) -> list[Run]:
        """Those under way and the last that ended."""
        return [*self._ended.values(), *self._active.values()]

    def get(self, run_id: str) -> Run | None:
        return self._active.get(run_id) or self._ended.get(run_id)

    def counts(self) -> dict[str, int]:
        """How many are running, queued and parked."""
        states = [run.state for run in self.all()]
        return {state: states.count(state) for state in ("running", "queued", "parked")}

    async def cancel(self, run: Run, error: ApiError) -> None:
        """End a run, or the conversation that it left parked; returns when the process is gone, or after
        `CANCEL_WAIT_S`, when whoever holds it has given up and said so in the log.

        Raises:
            RunEnded: there is nothing to end.
        """
        with trio.move_on_after(CANCEL_WAIT_S):
            if not run.ended:
                run.cancel(error)
                await run.done.wait()
                return
            await run.done.wait()  # until then it is not known whether it is parked
            parked = run.parked
            if parked is None or run.state != "parked":
                raise RunEnded(f"{run.id} has ended already: it is {run.state}.")
            run.note_end("cancelled", error, "tool_calls")
            await parked.close()

    def cancel_all(self, error: ApiError) -> None:
        for run in list(self._active.values()):
            run.cancel(error)

    @asynccontextmanager
    async def open(self, request: ChatRequest, log: Log, arrived: float | None = None) -> AsyncIterator[Run]:
        """Start a run and give it for as long as the block.

        Args:
            request: what to answer.
            log: bound to the request.
            arrived: when the request came, by trio's clock; by default now.

        Raises:
            QueueFull, ShuttingDown: at once, before anything was started.
            ApiError: the backend can never answer this; there is no run.
        """
        self._backend.check(request)
        send, receive = trio.open_memory_channel[Event](CHANNEL_EVENTS)
        place = self._admission.admit()
        run = self._begin(request, receive, trio.current_time() if arrived is None else arrived)
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

    def _begin(self, request: ChatRequest, events: trio.MemoryReceiveChannel[Event], arrived: float) -> Run:
        record = RunRecord(f"run_{uuid.uuid4().hex[:24]}", self._backend.name, request.model, time.time())
        asked = {
            **{name: value for name, value in record.to_json().items() if value is not None},
            "claude_model": request.claude_model,
            "stream": request.stream,
            "user": None if request.user is None else request.user[:USER_CHARS],
        }
        capture = None if self._writer is None else self._writer.begin(record.id, asked)
        return Run(record, events, capture, TurnMeter(self.metrics, self._backend.name, arrived))

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
                        run.note_running()
                        await self._run_turn(run, request, send, log)
                if run.cancelled_by is not None and not run.ended:
                    await self._last_event(run, TurnFailed(run.cancelled_by), send, log)
            finally:
                if not run.ended:
                    run.note_end("cancelled", None)
                del self._active[run.id]
                self._keep(run)
                log.debug("run.end", state=run.state)

    def _keep(self, run: Run) -> None:
        # Without its errors: the tracebacks of those that were raised hold the whole request.
        self._ended[run.id] = replace(run, error=None, cancelled_by=None)
        while len(self._ended) > KEPT_RUNS:
            del self._ended[next(iter(self._ended))]
        run.done.set()

    async def _run_turn(self, run: Run, request: ChatRequest, send: trio.MemorySendChannel[Event], log: Log) -> None:
        log.debug("run.start", model=request.claude_model)

        cutter = EventCutter(request.stop)
        deadline = trio.CancelScope()

        async def emit(event: Event) -> None:
            if run.ended:
                log.error("run.event_after_end", kind=type(event).__name__)
                return
            for shown in cutter.feed(event):
                self._note(run, shown, log)
                await self._send(run, shown, send)
            if cutter.found:
                deadline.cancel(reason="a stop sequence was found")
                await trio.lowlevel.checkpoint()

        failure: ApiError = InternalError("The turn ended without an end.")
        deadline.deadline = trio.current_time() + self._limits.turn_s
        with deadline:
            try:
                run.parked = await self._backend.turn(request, emit, log)
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

    def _note(self, run: Run, event: Event, log: Log) -> None:
        run.note(event, log)
        match event:
            case TurnFailed(UpstreamAuth()):
                self._login_refused_until = trio.current_time() + LOGIN_DOUBT_S
            case TurnStarted():
                self._login_refused_until = -math.inf

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
        self._note(run, event, log)
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
