"""The registry of runs: runs a request through admission and a backend, as one `async with` block.

The run belongs to its request: leaving the block, or cancelling the request, cancels the run's nursery and with it the
turn. The slot and the registry entry belong to the producer task, not to the response, because a client that does not
read can block the response. The producer never raises: failures are TurnFailed events. The registry cancels the
producer's own scope, and never a scope that encloses an ASGI send, because that can break the connection's state.

The registry also keeps the runs that ended last. A run is parked while its conversation waits for the results of its
tool calls. With a writer, the events of a run are also written to its file. What the turns use goes to the ledger.
"""

import math
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from claude_openai.cassettes.recorder import TurnRecording
from claude_openai.claude.backend import Backend
from claude_openai.config import Config
from claude_openai.errors import ApiError, RunEnded, Unauthorized, UpstreamAuth
from claude_openai.keys.key import Key
from claude_openai.keys.keyring import Keyring
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Event, TurnCompleted, TurnFailed, TurnStarted
from claude_openai.protocol.turn.reports import AccountLimits, Report, Spent
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.runs.admission import Admission, Place
from claude_openai.runs.capture.records import RunRecord
from claude_openai.runs.capture.writer import RunWriter
from claude_openai.runs.changes import RunChanges
from claude_openai.runs.liveness import Liveness
from claude_openai.runs.long_context import LongContext
from claude_openai.runs.metrics import Metrics, TurnMeter
from claude_openai.runs.producer import Producer
from claude_openai.runs.prompt_cache import PromptCache
from claude_openai.runs.recent_errors import RecentErrors
from claude_openai.runs.run import Run
from claude_openai.runs.usage.ledger import Ledger
from claude_openai.runs.usage.limits import UsageLimits

if TYPE_CHECKING:
    from claude_openai.runs.tracing import RunTrace

__all__ = ["CHANNEL_EVENTS", "LOGIN_DOUBT_S", "RunLimits", "Runs"]

# Events that are buffered for a slow reader before the turn waits.
CHANNEL_EVENTS = 512
# The process of a cancelled run is killed within 3 s (`SupervisedProcess.stop`).
CANCEL_WAIT_S = 6.0
KEPT_RUNS = 500
# `/ready` ignores a refused login after this time: only a turn shows that the login works again, and a load balancer
# sends no turns to a server that is not ready.
LOGIN_DOUBT_S = 300.0
USER_CHARS = 256
NO_USAGE_LIMITS = UsageLimits()


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits of time, in seconds, and of usage.

    Attributes:
        silence_s: between two signs of life of a turn that has a slot.
        total_s: for the whole of such a turn; 0 for no limit.
        stall_s: for a client that does not read its answer.
        usage: for the next turn.
    """

    silence_s: float
    total_s: float
    stall_s: float
    usage: UsageLimits = NO_USAGE_LIMITS

    @classmethod
    def of(cls, config: Config) -> "RunLimits":
        usage = UsageLimits(config.max_cost_per_day, config.stop_at_utilization)
        seconds = (config.process_timeout_ms / 1000, config.turn_timeout_ms / 1000, config.stall_timeout_ms / 1000)
        return cls(*seconds, usage)


class Runs:
    """The registry of runs; it also creates them.

    Args:
        backend: runs the turns.
        admission: slots and queue.
        limits: time limits of a turn.
        writer: writes the captures; None for no capture.
        ledger: keeps the accounts; by default in memory.
        keys: the named keys; None if there are none.
        kept: number of ended runs to keep in memory.

    Attributes:
        changes: the runs that have changed, for those who watch.
        errors: the last errors of clients' requests.
        nursery: owns the lasting runs; set by the owner of the server, which keeps it open until no run is left.
    """

    nursery: trio.Nursery

    def __init__(
        self,
        backend: Backend,
        admission: Admission,
        limits: RunLimits,
        writer: RunWriter | None = None,
        *,
        ledger: Ledger | None = None,
        keys: Keyring | None = None,
        kept: int = KEPT_RUNS,
    ) -> None:
        self.backend = backend
        self.admission = admission
        self._limits = limits
        self._writer = writer
        self.ledger = ledger or Ledger(limits.usage)
        self.keys = keys
        self._keys_seen = 0
        self._kept = kept
        self.metrics = Metrics()
        self.changes = RunChanges()
        self.errors = RecentErrors(self.changes.wake)
        self._long_context = LongContext()
        self._prompt_cache = PromptCache()
        self._login_refused_until = -math.inf
        self._active: dict[str, Run] = {}
        self._ended: dict[str, Run] = {}

    @property
    def login_refused(self) -> bool:
        """Whether Claude refused the login of a turn within `LOGIN_DOUBT_S`, and has answered no turn since."""
        return trio.current_time() < self._login_refused_until

    def all(self) -> list[Run]:
        """Return the current runs, and the runs that ended last."""
        return [*self._ended.values(), *self._active.values()]

    def get(self, run_id: str) -> Run | None:
        return self._active.get(run_id) or self._ended.get(run_id)

    def counts(self, key: Key | None = None) -> dict[str, int]:
        """Return the number of running, queued and parked runs; with a key, of the runs with its name."""
        states = [run.state for run in self.all() if run.is_of(key)]
        return {state: states.count(state) for state in ("running", "queued", "parked")}

    async def cancel(self, run: Run, error: ApiError) -> None:
        """End a run, or the conversation that it left parked.

        Return when the process has ended, or after `CANCEL_WAIT_S`; by then its owner has given up and logged that.

        Raises:
            RunEnded: the run has ended and is not parked.
        """
        with trio.move_on_after(CANCEL_WAIT_S):
            if not run.ended:
                run.cancel(error)
                await run.done.wait()
                return
            await run.done.wait()  # whether the run is parked is not known earlier
            parked = run.parked
            if parked is None or run.state != "parked":
                raise RunEnded(f"The run {run.id} has already ended: its state is {run.state}.")
            run.note_end("cancelled", error, "tool_calls")
            self.changes.note(run.id)
            await parked.close()

    def cancel_all(self, error: ApiError) -> None:
        for run in list(self._active.values()):
            run.cancel(error)

    def end_revoked(self) -> None:
        """End the runs of keys that are no longer in their file. The runs of a key that has expired may end."""
        if self.keys is None:
            return
        self.keys.refresh()
        if self.keys.changes != self._keys_seen:
            self._keys_seen = self.keys.changes
            self.changes.wake()  # those who watch with a revoked key
        for run in list(self._active.values()):
            if run.key is not None and not self.keys.has(run.key):
                run.cancel(Unauthorized(f"The API key of {run.key.name!r} was revoked", may_retry=False))

    @asynccontextmanager
    async def open(
        self,
        request: TurnRequest,
        log: Log,
        arrived: float | None = None,
        recording: TurnRecording | None = None,
        client: str = "",
        trace: "RunTrace | None" = None,
        key: Key | None = None,
    ) -> AsyncIterator[Run]:
        """Start a run and yield it; leaving the block ends it.

        Args:
            request: the request to answer.
            log: bound to the request.
            arrived: arrival time of the request, on trio's clock; default: now.
            recording: records the turn; written when the run ends.
            client: short name of the client program, "" if unknown.
            trace: the span of the request, which the caller ends.
            key: the named key of the client.

        Raises:
            QueueFull, RateLimited, ShuttingDown, QuotaExhausted: immediately; no run is started.
            ApiError: the backend can never answer the request; no run is started.
        """
        self.backend.check(request)
        refusal = self.ledger.refusal(key)
        if refusal is not None:
            is_of_key = refusal.code == "key_budget_exhausted"
            self.admission.rejected["key_limit" if is_of_key else "usage_limit"] += 1
            raise refusal
        send, receive = trio.open_memory_channel[Event](CHANNEL_EVENTS)
        place = self.admission.admit(key)
        run = self._begin(request, receive, trio.current_time() if arrived is None else arrived, key)
        run.recording, run.client, run.trace = recording, client, trace
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._produce, run, place, request, send, log.bind(run_id=run.id))
            try:
                yield run
                # The response is complete, but the turn's process may not have ended. Until then the producer keeps the
                # slot, and this block waits.
                if not run.ended:
                    nursery.cancel_scope.cancel(reason="the response ended before the turn")
            finally:
                receive.close()

    def _begin(
        self, request: TurnRequest, events: trio.MemoryReceiveChannel[Event], arrived: float, key: Key | None
    ) -> Run:
        record = RunRecord(f"run_{uuid.uuid4().hex[:24]}", self.backend.name, request.model, time.time())
        record.key = None if key is None else key.name
        asked = {
            **{name: value for name, value in record.to_json().items() if value is not None},
            "claude_model": request.claude_model,
            "stream": request.stream,
            "user": None if request.user is None else request.user[:USER_CHARS],
        }
        capture = None if self._writer is None else self._writer.begin(record.id, asked)
        return Run(record, events, capture, TurnMeter(self.metrics, self.backend.name, arrived), key=key)

    async def _produce(
        self,
        run: Run,
        place: Place,
        request: TurnRequest,
        send: trio.MemorySendChannel[Event],
        log: Log,
    ) -> None:
        note = partial(self._note, run, log, request)
        with place, send:
            report = partial(self._report, run)
            producer = Producer(run, send, note, report, self._long_context, stall_s=self._limits.stall_s, log=log)
            self._active[run.id] = run
            self.changes.note(run.id)
            try:
                with run.scope:
                    if self.admission.is_busy:
                        self._note_waiting(run, log)
                    async with place.slot() as refused:
                        refusal = refused or self.ledger.refusal(run.key)  # a limit may have been reached meanwhile
                        if refusal is None:
                            run.note_running()
                            self.changes.note(run.id)
                            log.debug("run.start", model=request.claude_model)
                            liveness = Liveness(self._limits.silence_s, self._limits.total_s)
                            await producer.run(self.backend, request, liveness)
                        else:
                            await producer.end(TurnFailed(refusal))
                if run.cancelled_by is not None and not run.ended:
                    await producer.end(TurnFailed(run.cancelled_by))
            finally:
                if not run.ended:
                    run.note_end("cancelled", None)
                del self._active[run.id]
                self._keep(run)
                log.debug("run.end", state=run.state)

    def _note_waiting(self, run: Run, log: Log) -> None:
        run.record.waiting_for = "slot"
        slots = self.admission.slots
        log.info(
            "run.queued", message=f"All {slots} slots are taken (--max-concurrency).", queued=self.admission.queued
        )

    def _keep(self, run: Run) -> None:
        # Without its errors, whose tracebacks would keep the whole request in memory, and without its recording.
        self._ended[run.id] = replace(run, error=None, cancelled_by=None, recording=None, trace=None)
        self.metrics.note_run(run.record.key, run.record.status)
        while len(self._ended) > self._kept:
            del self._ended[next(iter(self._ended))]
        self.changes.note(run.id)
        run.done.set()

    def _report(self, run: Run, report: Report) -> None:
        match report:
            case Spent():
                self.metrics.note_spent(self.ledger.spend(report, run.key), run.record.key)
                run.note_spent(report)
                self.changes.note(run.id)
            case AccountLimits():
                self.ledger.note_limits(report)

    def _note(self, run: Run, log: Log, request: TurnRequest, event: Event) -> None:
        if isinstance(event, TurnCompleted):
            run.note_cache(self._prompt_cache.note(run.id, request, event.usage, run.record.conversation), log)
        run.note(event, log)
        self.changes.note(run.id)
        if isinstance(event, TurnFailed) and run.cancelled_by is None:
            self.errors.note(event.error, time.time(), run.id)
        match event:
            case TurnFailed(UpstreamAuth()):
                self._login_refused_until = trio.current_time() + LOGIN_DOUBT_S
                self.backend.note_login(is_refused=True)
            case TurnStarted():
                self._login_refused_until = -math.inf
                self.backend.note_login(is_refused=False)
