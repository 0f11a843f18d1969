"""Encodes the events of a turn for the Responses API, as a stream of typed events or as one response object.

One state machine, `_AnswerSoFar`, makes the items and their events. `ResponsesStream` sends the events, and
`ResponsesObject` returns the final one, so that both have the same content. Items do not overlap, because Codex tracks
one open item. Claude's thinking is a reasoning item with one summary, which clients show. A stream ends with one of
`response.completed`, `response.incomplete` and `response.failed`. OpenAI has no event for a cancelled response: its
stream ends with `response.incomplete`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

from claude_openai.errors import ApiError, RunCancelled
from claude_openai.protocol.openai.chat.completion import REFUSED
from claude_openai.protocol.openai.citations import Citations
from claude_openai.protocol.openai.responses.objects import (
    INCOMPLETE,
    MESSAGE,
    REASONING,
    REFUSAL,
    ItemForm,
    ItemInProgress,
    ItemStatus,
    ResponsesHead,
    UnnumberedEvent,
    failure_object,
    response_usage,
)
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
from claude_openai.protocol.wire.sse import typed_frame

__all__ = ["Remember", "ResponsesObject", "ResponsesStream"]

# Called with each finished item of an answer, or with the response at its end.
Remember: TypeAlias = Callable[[Mapping[str, Any]], None]

# The end of a search that still runs when the answer ends. Claude gets its results with those of the client's tools.
STILL_RUNS: Final = SearchEnded("")


@dataclass(slots=True)
class Search:
    """A web search of the answer. `begun`: whether its item was begun."""

    query: str
    begun: bool = False
    end: SearchEnded | None = None


class _AnswerSoFar:
    """The items of one turn, built event by event.

    Args:
        head: the common fields of the objects.
        clock: returns the time, in whole seconds since 1970.
        remember: called with each finished item.

    Attributes:
        final: the final response object, None before the end of the turn.
        error: why the turn failed; None while it runs and if it completed.
        calls: names of the tools called so far.
        citations: the citations of the open text.
    """

    def __init__(self, head: ResponsesHead, clock: Callable[[], int], remember: Remember) -> None:
        self.final: dict[str, Any] | None = None
        self.error: ApiError | None = None
        self.calls: list[str] = []
        self._head = head
        self._clock = clock
        self._remember = remember
        self._output: list[dict[str, Any]] = []
        self._open: ItemInProgress | None = None
        self._searches: dict[str, Search] = {}  # those whose items have not ended
        self.citations = Citations()
        self._queued = False
        self._begun = False

    def feed(self, event: Event) -> Iterator[UnnumberedEvent]:
        """Yield the events of the Responses API for an event of the turn.

        Raises:
            RuntimeError: the turn has ended, so this is a bug of the caller.
        """
        if self.final is not None:
            raise RuntimeError(f"{type(event).__name__} after the end of the response")
        yield from self._begin()
        match event:
            case TextDelta(text):
                yield from self._delta(MESSAGE, text)
            case ReasoningDelta(text):
                yield from self._delta(REASONING, text)
            case ToolCall():
                yield from self._close_all("completed")
                yield from self._call(event)
            case SearchStarted():
                yield from self._close("completed")
                self._searches.setdefault(event.id, Search(event.query))
                yield from self._next_searches()
            case SearchEnded(sources=sources):
                self.citations.add(sources)
                if event.id in self._searches:
                    self._searches[event.id].end = event
                    yield from self._next_searches()
            case ReasoningEnd() | TurnStarted():
                pass
            case TurnCompleted():
                yield from self._complete(event)
            case TurnFailed(error):
                yield from self._fail(error)
            case _:
                assert_never(event)

    @property
    def open_text(self) -> ItemInProgress | None:
        """Return the open item of text, to which the next text is only a delta; None if there is none."""
        is_open = self.final is None and self._open is not None and self._open.form is MESSAGE
        return self._open if is_open and not self.citations.has_sources else None

    @property
    def so_far(self) -> dict[str, Any]:
        """Return the response object, with the finished items."""
        return self.final or self._head.response("in_progress" if self._begun else "queued", self._output)

    def queue(self) -> Iterator[UnnumberedEvent]:
        """Yield the first events of a response in the background, before those of its turn."""
        self._queued = True
        yield {"type": "response.created", "response": self.so_far}
        yield {"type": "response.queued", "response": self.so_far}

    def _begin(self) -> Iterator[UnnumberedEvent]:
        if self._begun:
            return
        self._begun = True
        response = self.so_far
        if not self._queued:
            yield {"type": "response.created", "response": response}
        yield {"type": "response.in_progress", "response": response}

    def _delta(self, form: ItemForm, text: str) -> Iterator[UnnumberedEvent]:
        if not text:
            return
        item = self._open
        if item is None or item.form is not form:
            yield from self._close_all("completed")
            item = self._open = ItemInProgress(form, self._head, len(self._output))
            self.citations.begin_text()
            yield from item.opened()
        yield item.delta(text)
        if form is MESSAGE:
            yield from map(item.annotated, self.citations.feed(text))

    def _close(self, status: ItemStatus) -> Iterator[UnnumberedEvent]:
        if self._open is None:
            return
        done, self._open = self._open, None
        yield from done.closed(self._finished(done.item(status)))

    def _close_all(self, status: ItemStatus) -> Iterator[UnnumberedEvent]:
        """Close the open item, and searches whose end is not part of this answer."""
        yield from self._close(status)
        for search in self._searches.values():
            search.end = search.end or STILL_RUNS
        yield from self._next_searches()

    def _next_searches(self) -> Iterator[UnnumberedEvent]:
        """Begin and end the items of searches, one after the other, up to the first that still runs."""
        for call_id, search in [*self._searches.items()]:
            if not search.begun:
                search.begun = True
                yield from self._search_begun(search.query)
            if search.end is None:
                return
            del self._searches[call_id]
            yield from self._search_done(search.query, search.end)

    def _search_begun(self, query: str) -> Iterator[UnnumberedEvent]:
        index = len(self._output)
        item = self._head.web_search_call(query, index, "in_progress")
        place = {"item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.web_search_call.in_progress", **place}
        yield {"type": "response.web_search_call.searching", **place}

    def _search_done(self, query: str, end: SearchEnded) -> Iterator[UnnumberedEvent]:
        index = len(self._output)
        status = "searching" if end is STILL_RUNS else "failed" if end.failed else "completed"
        item = self._finished(self._head.web_search_call(query, index, status, end.sources))
        if status == "completed":
            yield {"type": "response.web_search_call.completed", "item_id": item["id"], "output_index": index}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def _finished(self, item: dict[str, Any]) -> dict[str, Any]:
        self._output.append(item)
        self._remember(item)
        return item

    def _call(self, call: ToolCall) -> Iterator[UnnumberedEvent]:
        self.calls.append(call.name)
        index = len(self._output)
        item = self._finished(self._head.function_call(call, index, "completed", call.arguments))
        begun = self._head.function_call(call, index, "in_progress", "")
        place = {"item_id": item["id"], "output_index": index}
        event = "response.function_call_arguments"
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        yield {"type": f"{event}.delta", **place, "delta": call.arguments}
        yield {"type": f"{event}.done", **place, "name": item["name"], "arguments": call.arguments}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def _complete(self, end: TurnCompleted) -> Iterator[UnnumberedEvent]:
        finish_reason, usage = end.finish_reason, response_usage(end.usage, end.cost_usd)
        reason = INCOMPLETE.get(finish_reason)
        status: ItemStatus = "completed" if reason is None else "incomplete"
        if finish_reason == "content_filter":
            yield from self._refuse()
        yield from self._close_all(status)
        if all(item["type"] in ("reasoning", "web_search_call") for item in self._output):
            # An empty answer has an empty message, because clients expect one.
            item = self._open = ItemInProgress(MESSAGE, self._head, len(self._output))
            yield from item.opened()
            yield from self._close(status)
        details = None if reason is None else {"reason": reason}
        completed_at = self._clock() if reason is None else None
        ending = {"completed_at": completed_at, "incomplete_details": details, "usage": usage}
        self.final = self._head.response(status, self._output, **ending)
        yield {"type": f"response.{status}", "response": self.final}

    def _refuse(self) -> Iterator[UnnumberedEvent]:
        """Add the refusal as a separate part, so that clients do not mistake it for the text of the answer."""
        if self._open is not None and self._open.form is MESSAGE:
            yield from self._open.next_part(REFUSAL)
        else:
            yield from self._close_all("completed")
            self._open = ItemInProgress(MESSAGE, self._head, len(self._output), REFUSAL)
            yield from self._open.opened()
        yield self._open.delta(REFUSED)

    def _fail(self, error: ApiError) -> Iterator[UnnumberedEvent]:
        self.error = error
        if self._open is not None:
            self._output.append(self._open.item("incomplete"))
        for search in self._searches.values():
            if search.begun:
                index = len(self._output)
                self._output.append(self._head.web_search_call(search.query, index, "failed"))
        if (
            self._head.echo.get("background")
            and isinstance(error, RunCancelled)
            and error.code == RunCancelled.default_code
        ):
            self.final = self._head.response("cancelled", self._output)
            yield {"type": "response.incomplete", "response": self.final}
            return
        self.final = self._head.response("failed", self._output, error=failure_object(error))
        error_object = error.body()["error"]
        # OpenAI's schema has the fields in the event itself; the OpenAI SDKs raise an error only for an `error` object.
        flat = {key: error_object[key] for key in ("code", "message", "param")}
        yield {"type": "error", **flat, "error": error_object}
        yield {"type": "response.failed", "response": self.final}


class ResponsesStream:
    """One turn as server-sent events: `feed` each event in order and send what it returns.

    Args:
        head: the common fields of the objects.
        clock: returns the time, in whole seconds since 1970.
        remember: called with each finished item.
        keep: called with the response when it has ended, before its last frame is returned.
    """

    def __init__(
        self, head: ResponsesHead, clock: Callable[[], int], remember: Remember, keep: Remember = lambda _: None
    ) -> None:
        self._answer = _AnswerSoFar(head, clock, remember)
        self._keep = keep
        self._sent = 0

    @property
    def calls(self) -> list[str]:
        """Return the names of the tools called so far."""
        return self._answer.calls

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed, so that there is nothing more to send."""
        return self._answer.final is not None

    def feed(self, event: Event) -> bytes:
        """Return the frames of `event`, which may be empty.

        Raises:
            RuntimeError: the stream has ended.
        """
        if isinstance(event, TextDelta) and event.text and (item := self._answer.open_text) is not None:
            self._sent += 1
            self._answer.citations.feed(event.text)
            return item.delta_frame(event.text, self._sent - 1)
        return b"".join(self.frames(event))

    def frames(self, event: Event) -> list[bytes]:
        """Return the frames of `event` one by one: the index of each in the stream is its sequence number.

        Raises:
            RuntimeError: the stream has ended.
        """
        frames = self._numbered(self._answer.feed(event))
        if self._answer.final is not None:
            self._keep(self._answer.final)
        return frames

    def queue(self) -> list[bytes]:
        """Return the first frames of a response in the background, before those of its turn."""
        return self._numbered(self._answer.queue())

    @property
    def so_far(self) -> dict[str, Any]:
        """Return the response object, with the items that are finished."""
        return self._answer.so_far

    def _numbered(self, steps: Iterator[UnnumberedEvent]) -> list[bytes]:
        frames = []
        for step in steps:
            frames.append(typed_frame({**step, "sequence_number": self._sent}))
            self._sent += 1
        return frames


class ResponsesObject:
    """One turn as one response: `feed` each event in order, then take the `result`. Arguments as `ResponsesStream`."""

    def __init__(self, head: ResponsesHead, clock: Callable[[], int], remember: Remember) -> None:
        self._answer = _AnswerSoFar(head, clock, remember)

    @property
    def ended(self) -> bool:
        """Return whether the final event was fed."""
        return self._answer.final is not None

    def feed(self, event: Event) -> None:
        """Take the next event.

        Raises:
            RuntimeError: the turn has ended.
        """
        for _ in self._answer.feed(event):
            pass

    def result(self) -> dict[str, Any]:
        """Return the response object.

        Raises:
            ApiError: the turn failed.
            RuntimeError: the turn has not ended yet.
        """
        if self._answer.error is not None:
            raise self._answer.error
        if self._answer.final is None:
            raise RuntimeError("the turn has not ended")
        return self._answer.final
