"""One run: its state, its log lines, its measures and its capture. `registry` makes and starts runs."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from claude_openai.cassettes.recorder import TurnRecording
from claude_openai.claude.backend import Parked
from claude_openai.errors import ApiError, InternalError
from claude_openai.keys.key import Key
from claude_openai.logs.log import Log
from claude_openai.protocol.openai.chat.completion import usage_object
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    SearchEnded,
    SearchStarted,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from claude_openai.protocol.turn.reports import Spent
from claude_openai.runs.capture.records import RunRecord, record_of_event
from claude_openai.runs.capture.writer import Capture
from claude_openai.runs.metrics import TurnMeter
from claude_openai.runs.prompt_cache import CacheReport

if TYPE_CHECKING:
    from claude_openai.runs.tracing import RunTrace

__all__ = ["Run", "lost_end"]

# Of the answer so far, for those who watch.
TAIL_CHARS: Final = 400


@dataclass(slots=True, eq=False)
class Run:
    """A run. The response uses `events` and, once the turn has failed, `error`; the registry uses the rest.

    Attributes:
        meter: measures the run.
        recording: records the turn to a cassette.
        trace: its span; its owner ends it.
        parked: the conversation that its answer left waiting for results.
        client: short name of the client program, "" if unknown.
        key: the named key of the client, None if it has none.
        tail: the last characters of the answer so far.
        hint: what the client of a failed run can do, "" if unknown.
        done: set when the run has ended and its process is gone.
    """

    record: RunRecord
    events: trio.MemoryReceiveChannel[Event]
    capture: Capture | None
    meter: TurnMeter
    recording: TurnRecording | None = None
    trace: "RunTrace | None" = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    cancelled_by: ApiError | None = None
    error: ApiError | None = None
    answering: bool = False
    parked: Parked | None = None
    client: str = ""
    key: Key | None = None
    tail: str = ""
    hint: str = ""
    done: trio.Event = field(default_factory=trio.Event)
    _began: float = field(default_factory=trio.current_time)

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def state(self) -> str:
        waiting = self.record.status == "completed" and self.parked is not None and self.parked.waiting
        return "parked" if waiting else self.record.status

    @property
    def started(self) -> bool:
        """Whether its turn has begun: before that, the backend does not know of it."""
        return self.record.waited_ms is not None

    @property
    def ended(self) -> bool:
        return self.record.status in ("completed", "failed", "cancelled")

    def is_of(self, key: Key | None) -> bool:
        """Return whether a client with this key may see the run; None for the server's own key."""
        return key is None or self.record.key == key.name

    def view(self) -> RunRecord:
        """Return the current record of the run."""
        return replace(self.record, status="parked") if self.state == "parked" else self.record

    def cancel(self, error: ApiError) -> None:
        """End the run from outside its request; its client gets the error."""
        if self.cancelled_by is None:
            self.cancelled_by = error
            self.scope.cancel(reason=error.message)

    def log_fields(self) -> dict[str, object]:
        """Return the fields of `http.request` about the run; times in ms, None for what is not known (yet)."""
        usage = self.record.usage or {}
        waited_ms, first_s = self.record.waited_ms, self.meter.first_token_s
        return {
            "run_id": self.id,
            "conversation": self.record.conversation,
            "waited_ms": self._age_ms() if waited_ms is None else waited_ms,
            "ttft_ms": None if first_s is None else round(first_s * 1000, 1),
            "prompt_tokens": usage.get("prompt_tokens"),
            "completion_tokens": usage.get("completion_tokens"),
        }

    def note_running(self) -> None:
        self.record.waited_ms = self._age_ms()
        self.record.status = "running"
        self.record.waiting_for = None
        if self.trace is not None:
            self.trace.note_slot()
        self._keep({"type": "running"})

    def note(self, event: Event, log: Log) -> None:
        """Update the run, its log and its capture from the next event of its turn."""
        self.meter.note(event)
        if self.recording is not None:
            self.recording.note(event)
        match event:
            case TextDelta(text):
                self.tail = (self.tail + text)[-TAIL_CHARS:]
                if self.capture is not None:
                    self.capture.put_text("text", text)
            case ReasoningDelta():
                self._note_reasoning(event, log)
            case SearchStarted(query=query):
                self._note_reasoning(ReasoningDelta(f"\n[WebSearch: {query}]\n", tool="WebSearch"), log)
            case SearchEnded():
                log.debug("sdk.web_search", sources=len(event.sources), failed=event.failed)
            case ToolCall():
                self._keep(record_of_event(event))
                size = len(event.arguments.encode(errors="surrogatepass"))
                self._trace(event)
                log.debug("sdk.structured_tool_call", id=event.id, name=event.name, argument_bytes=size)
                log.trace("sdk.tool_arguments", id=event.id, arguments=event.arguments)
            case TurnStarted():
                self.answering = True
                self.record.conversation = event.conversation
                self._keep(record_of_event(event))
                self._trace(event)
                log.debug("run.answering", claude_model=event.model, conversation=event.conversation)
            case TurnCompleted():
                self.record.usage = usage_object(event.usage)
                self._trace(event)
                self.note_end("completed", finish_reason=event.finish_reason)
                log.debug("openai.response", finish_reason=event.finish_reason, usage=event.usage)
            case TurnFailed(error):
                # A turn that Claude has begun to answer is billed: clients must not retry it automatically.
                error.may_retry = error.may_retry and not self.answering
                self.error = error
                self.note_end("failed" if self.cancelled_by is None else "cancelled", error)
                why = "; ".join(getattr(error, "__notes__", ()))
                log.warning("run.failed", **error.body()["error"], status=error.status, why=why)

    def note_cache(self, report: CacheReport, log: Log) -> None:
        self.record.cache = report.to_json()
        log.debug("run.cache", **self.record.cache)

    def note_spent(self, spent: Spent) -> None:
        self.record.spend(spent.usd, sum(each.estimated_usd for each in spent.by_model.values()))

    def _note_reasoning(self, event: ReasoningDelta, log: Log) -> None:
        if self.capture is not None:
            self.capture.put_text("reasoning", event.text)
        if event.tool:
            self._trace(event)
            log.debug("sdk.own_tool", name=event.tool)

    def note_end(
        self,
        status: Literal["completed", "failed", "cancelled"],
        error: ApiError | None = None,
        finish_reason: FinishReason | None = None,
    ) -> None:
        record = self.record
        record.status = status
        record.waiting_for = None
        self.meter.end(status, error)
        if self.recording is not None:
            self.recording.end()
        if self.trace is not None:
            self.trace.note_end()
        record.error = None if error is None else error.body()["error"]
        self.hint = "" if error is None else error.hint
        if record.ended_at is None:
            record.ended_at = record.started_at + trio.current_time() - self._began
        self._keep({"type": "end", **record.to_json(), "finish_reason": finish_reason}, last=True)

    def _trace(self, event: ReasoningDelta | ToolCall | TurnStarted | TurnCompleted) -> None:
        if self.trace is not None:
            self.trace.note(event)

    def _age_ms(self) -> int:
        return round((trio.current_time() - self._began) * 1000)

    def _keep(self, what: dict[str, Any], *, last: bool = False) -> None:
        if self.capture is not None:
            self.capture.put(what, last=last)


def lost_end(run: Run) -> TurnFailed:
    """Return the last event of a run whose channel has ended without one.

    The last event of a stopped run is lost if its client reads too slowly, because the channel is full.
    """
    return TurnFailed(run.error or InternalError("The backend stopped without a final event."))
