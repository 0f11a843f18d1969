"""What Claude Code writes while it answers -> events.

`LineFramer` cuts its standard output into lines; `TurnReader` follows one turn and turns its records into events,
failures included. Neither knows where the records come from: the SDK backend feeds typed messages, the CLI backend raw
ones, both through the same methods. Facts about the records: an upstream failure looks like an answer (a synthetic
assistant message, then a result that says `success` with `is_error`); retries are announced before they are made; when
the output limit is hit, Claude Code goes on by itself with another billed call unless it is stopped.
"""

from collections.abc import Mapping
from typing import Any

from claude_openai.errors import ApiError, Overloaded, RateLimited, UpstreamError
from claude_openai.protocol.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.upstream import Failure, upstream_error

__all__ = ["LineFramer", "LineTooLong", "TurnReader"]

# One line holds at most one message; the largest are tool results with images.
MAX_LINE_BYTES = 64 * 1024 * 1024
SYNTHETIC_MODEL = "<synthetic>"

# Reasons after which Claude Code would carry on by itself, with calls the client did not ask for: the turn ends here.
# So it does when the answer has no text, whatever the reason.
_FINAL_REASONS: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class LineTooLong(Exception):
    """A line of more than `MAX_LINE_BYTES`: whatever writes it is not Claude Code."""


class LineFramer:
    """Bytes as they come -> whole lines, without their end."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take some bytes and give the lines they complete, blank ones left out.

        Raises:
            LineTooLong: the line under way has grown beyond the limit.
        """
        head, newline, tail = data.rpartition(b"\n")
        if newline:
            self._parts.append(head)
            lines = [line for line in b"".join(self._parts).split(b"\n") if line.strip()]
            self._parts, self._size = [tail], len(tail)
        else:
            lines = []
            self._parts.append(data)
            self._size += len(data)
        if self._size > self._max:
            raise LineTooLong(f"a line of more than {self._max} bytes")
        return lines


class TurnReader:
    """Follows one turn. Feed it records in order; each method gives the events they mean.

    Args:
        login: the command that logs Claude Code in, for messages.

    After `ended` is true the turn must be stopped; further records are ignored.
    """

    def __init__(self, login: str) -> None:
        self._login = login
        self._failure = Failure()
        self._retry_after_s: int | None = None
        self._usage = Usage()
        self._said_something = False
        self.started = False
        self.ended = False

    def stream_event(self, event: Mapping[str, Any]) -> Event | None:
        """Take one Messages API stream event."""
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event["delta"])
            case "message_start":
                return self._message_start(event["message"])
            case "message_delta":
                return self._message_delta(event)
        return None

    def retry(self, *, status: int | None, delay_ms: float, kind: str) -> Event | None:
        """Take an announced retry. One that cannot help, or that would repeat what was already said, ends the turn."""
        wait = max(1, int(delay_ms // 1000))
        if self.started:
            return self._fail(UpstreamError("The connection to Claude was lost in the middle of the answer."))
        if status in (401, 429):
            self._retry_after_s = self._retry_after_s or wait
            return self._fail(self._error(Failure(kind, status, f"Claude answered {status} ({kind})")))
        return None

    def rate_limit(self, *, rejected: bool, resets_in_s: float | None) -> None:
        """Take the state of a usage limit, as the CLI reports it when it changes."""
        if rejected and resets_in_s is not None:
            self._retry_after_s = max(1, int(resets_in_s))

    def assistant(self, *, model: str, error: str | None, text: str) -> None:
        """Take a whole assistant message: only a synthetic one says what the stream events did not."""
        if error is not None or model == SYNTHETIC_MODEL:
            self._failure = Failure(kind=error or "", text=text)

    def result(
        self, *, is_error: bool, status: int | None, reason: str, text: str, usage: Mapping[str, Any] | None
    ) -> list[Event]:
        """Take the result record, which ends the turn."""
        if is_error:
            said = text or self._failure.text
            return [self._fail(self._error(Failure(self._failure.kind, status, said, reason)))]
        if self._failure.kind:
            return [self._fail(self._error(self._failure))]
        events: list[Event] = []
        if usage:
            self._usage = _usage(usage, self._usage)
        if not self.started:
            events.append(self._start(SYNTHETIC_MODEL))
        if text and not self._said_something:  # an answer that came whole, never in pieces
            events.append(TextDelta(text))
        events.append(self._complete("stop"))
        return events

    def gone(self, why: str) -> TurnFailed:
        """The process ended, or stopped making sense, in the middle of the turn."""
        return self._fail(UpstreamError(f"Claude Code ended before the answer was complete: {why}"))

    def _message_start(self, message: Mapping[str, Any]) -> Event | None:
        if self.started:
            return self._fail(UpstreamError("Claude Code began a second answer within one turn."))
        self._usage = _usage(message.get("usage") or {}, self._usage)
        return self._start(str(message.get("model", "")))

    def _delta(self, delta: Mapping[str, Any]) -> Event | None:
        match delta.get("type"):
            case "text_delta" if delta["text"]:
                self._said_something = True
                return TextDelta(delta["text"])
            case "thinking_delta" if delta["thinking"]:
                return ReasoningDelta(delta["thinking"])
        return None

    def _message_delta(self, event: Mapping[str, Any]) -> Event | None:
        self._usage = _usage(event.get("usage") or {}, self._usage)
        stop_reason = event["delta"].get("stop_reason") or ""
        if stop_reason == "end_turn" and not self._said_something:
            return self._complete("stop")
        reason = _FINAL_REASONS.get(stop_reason)
        return None if reason is None else self._complete(reason)

    def _start(self, model: str) -> TurnStarted:
        self.started = True
        return TurnStarted(model)

    def _complete(self, reason: FinishReason) -> TurnCompleted:
        self.ended = True
        return TurnCompleted(reason, self._usage)

    def _fail(self, error: ApiError) -> TurnFailed:
        self.ended = True
        return TurnFailed(error)

    def _error(self, failure: Failure) -> ApiError:
        known = Failure(failure.kind, failure.status, failure.text, failure.reason, self._retry_after_s)
        error = upstream_error(known, login=self._login)
        if self.started and isinstance(error, Overloaded | RateLimited):
            # Clients repeat these by themselves, in a stream too; a turn that has begun is paid for.
            return UpstreamError(f"Claude broke off its answer. {error.message}", may_retry=False)
        return error


def _usage(counts: Mapping[str, Any], before: Usage) -> Usage:
    """Counts are cumulative within a message, and a record repeats only some of them."""
    details = counts.get("output_tokens_details") or {}

    def count(value: object, known: int) -> int:
        return value if isinstance(value, int) else known

    return Usage(
        input_tokens=count(counts.get("input_tokens"), before.input_tokens),
        cache_read_tokens=count(counts.get("cache_read_input_tokens"), before.cache_read_tokens),
        cache_write_tokens=count(counts.get("cache_creation_input_tokens"), before.cache_write_tokens),
        output_tokens=count(counts.get("output_tokens"), before.output_tokens),
        reasoning_tokens=count(details.get("thinking_tokens"), before.reasoning_tokens),
    )
