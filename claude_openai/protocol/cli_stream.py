"""What Claude Code writes while it answers -> events.

`TurnReader` follows one turn and turns its records into events, failures included. It does not know where the records
come from: the SDK backend feeds typed messages, the CLI backend raw ones, both through the same methods. Facts about
the records: an upstream failure looks like an answer (a synthetic assistant message, then a result that says `success`
with `is_error`); retries are announced before they are made; when the output limit is hit, Claude Code goes on by
itself with another billed call unless it is stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from claude_openai.errors import ApiError, Overloaded, RateLimited, UpstreamError
from claude_openai.protocol.agent import NO_AGENT, Agent
from claude_openai.protocol.counts import counted, sum_of
from claude_openai.protocol.events import (
    Conversation,
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.formed import STRUCTURED_OUTPUT, FormedAnswer
from claude_openai.protocol.tool_notes import tool_note
from claude_openai.protocol.upstream import Failure, upstream_error

__all__ = ["TurnReader"]

SYNTHETIC_MODEL = "<synthetic>"

# Reasons after which Claude Code would carry on by itself, with calls the client did not ask for: the turn ends here.
# So it does when the answer has no text, whatever the reason.
_FINAL_REASONS: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


# How often Claude may correct calls whose arguments do not fit, within one turn.
MAX_CORRECTIONS = 3


def _no_tools(call_id: str, name: str, arguments: str) -> str | None:
    return "There are no tools."


class TurnReader:
    """Follows one turn. Feed it records in order; each method gives the events they mean.

    Args:
        login: the command that logs Claude Code in, for messages.
        check: what is wrong with a call of a tool, given its id, name and arguments as Claude wrote them; None if
            nothing is. Whoever answers Claude Code when it makes the call must go by this.
        own_name: the client's name of a tool; None for one that is not the client's.
        agent: which tools of its own Claude Code runs within the turn.
        output: what is wrong with an answer that must have a form; None for an answer in text.
        conversation: the way the turn took.

    After `ended` is true the turn is over: stopped, or waiting with calls (`awaiting_results`) or for the next prompt.
    """

    def __init__(
        self,
        login: str,
        *,
        check: Callable[[str, str, str], str | None] = _no_tools,
        own_name: Callable[[str], str | None] = str,
        agent: Agent = NO_AGENT,
        output: Callable[[object], str | None] | None = None,
        conversation: Conversation = "new",
    ) -> None:
        self._login = login
        self._check = check
        self._own_name = own_name
        self._agent = agent
        self._formed = None if output is None else FormedAnswer(output, MAX_CORRECTIONS)
        self.correction = ""
        self._tools_ran = False
        self._separate = False  # a text after the use of tools is a paragraph of its own
        self._conversation = conversation
        self._call: _OpenCall | None = None
        self._calls: list[ToolCall] = []
        self._refused = 0
        self._corrections = 0
        self._asked_again = False
        self.awaiting_results = False
        self._failure = Failure()
        self._retry_after_s: int | None = None
        self._spent = Usage()  # by the upstream calls of this turn before the one under way
        self._usage = Usage()
        self._said_something = False
        self.started = False
        self.ended = False

    def stream_event(self, event: Mapping[str, Any]) -> Sequence[Event]:
        """Take one Messages API stream event."""
        match event.get("type"):
            case "content_block_delta":
                return self._delta(event["delta"])
            case "content_block_start":
                self._block_start(event["content_block"])
            case "content_block_stop":
                return self._block_stop()
            case "message_start":
                return self._message_start(event["message"])
            case "message_delta":
                return self._message_delta(event)
        return ()

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
        self,
        *,
        is_error: bool,
        status: int | None,
        reason: str,
        text: str,
        usage: Mapping[str, Any] | None,
        structured: object = None,
    ) -> list[Event]:
        """Take the result record, which ends the turn, unless `correction` says what Claude is to be told then."""
        if is_error:
            said = text or self._failure.text
            return [self._fail(self._error(Failure(self._failure.kind, status, said, reason)))]
        if self._failure.kind:
            return [self._fail(self._error(self._failure))]
        if self._formed is not None:
            return self._formed_end(self._formed, structured)
        events: list[Event] = []
        if not self.started:  # an answer that came whole, never in pieces
            self._usage = counted(usage or {}, self._usage)
            events.append(self._start(SYNTHETIC_MODEL))
        if text and not self._said_something:
            events.append(TextDelta(text))
        events.append(self._complete("stop"))
        return events

    def _formed_end(self, formed: FormedAnswer, structured: object) -> list[Event]:
        try:
            self.correction = formed.correction(structured)
        except UpstreamError as error:
            return [self._fail(error)]
        return [] if self.correction else [TextDelta(formed.text), self._complete("stop")]

    def ask_again(self) -> None:
        """The turn goes on with another message to Claude: its end was not the end."""
        self.ended, self._asked_again, self._said_something, self.correction = False, True, False, ""

    def gone(self, why: str) -> TurnFailed:
        """The process ended, or stopped making sense, in the middle of the turn."""
        return self._fail(UpstreamError(f"Claude Code ended before the answer was complete: {why}"))

    def _message_start(self, message: Mapping[str, Any]) -> Sequence[Event]:
        expected = self._refused or self._asked_again or self._tools_ran or self._formed
        if self.started and not expected:
            return [self._fail(UpstreamError("Claude Code began a second answer within one turn."))]
        again, self._refused, self._asked_again = self.started, 0, False
        self._separate = self._tools_ran and self._said_something
        self._tools_ran = False
        self._spent = sum_of(self._spent, self._usage)
        self._usage = counted(message.get("usage") or {}, Usage())
        return () if again else [self._start(str(message.get("model", "")))]

    def _block_start(self, block: Mapping[str, Any]) -> None:
        if block.get("type") == "tool_use":
            name = str(block["name"])
            self._call = _OpenCall(str(block["id"]), self._own_name(name), name)

    def _block_stop(self) -> Sequence[Event]:
        call, self._call = self._call, None
        if call is None:
            return ()
        arguments = "".join(call.fragments) or "{}"
        if call.claude_name == STRUCTURED_OUTPUT and self._formed is not None:
            self._formed.text, self._tools_ran = arguments, True
            return ()
        if call.name is None and self._agent.has_tools:
            self._tools_ran = True
            return (tool_note(call.claude_name, arguments, told=self._agent.tell_tools),)
        name = call.claude_name if call.name is None else call.name
        if self._check(call.id, name, arguments) is None:
            self._calls.append(ToolCall(call.id, name, arguments))
        else:
            self._refused += 1
        return ()

    def _delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        match delta.get("type"):
            case "text_delta" if self._formed is not None:
                self._formed.hold(delta["text"])
            case "text_delta" if delta["text"]:
                self._said_something = True
                separator, self._separate = "\n\n" if self._separate else "", False
                return (TextDelta(separator + delta["text"]),)
            case "thinking_delta" if delta["thinking"]:
                return (ReasoningDelta(delta["thinking"]),)
            case "input_json_delta" if self._call is not None:
                self._call.fragments.append(delta["partial_json"])
        return ()

    def _message_delta(self, event: Mapping[str, Any]) -> Sequence[Event]:
        self._usage = counted(event.get("usage") or {}, self._usage)
        stop_reason = event["delta"].get("stop_reason") or ""
        if stop_reason == "tool_use":
            return self._tool_use()
        if stop_reason == "end_turn" and not self._said_something and self._formed is None:
            return [self._complete("stop")]
        reason = _FINAL_REASONS.get(stop_reason)
        return () if reason is None else [self._complete(reason)]

    def _tool_use(self) -> Sequence[Event]:
        if self._calls:
            self.awaiting_results = True
            prose = self._formed.prose() if self._formed is not None else ""
            return [*([TextDelta(prose)] if prose else []), *self._calls, self._complete("tool_calls")]
        if self._tools_ran and not self._refused:
            return ()
        self._corrections += 1
        if self._corrections > MAX_CORRECTIONS:
            message = "Claude kept calling tools with arguments that do not fit their schemas."
            return [self._fail(UpstreamError(message))]
        return ()

    def _start(self, model: str) -> TurnStarted:
        self.started = True
        return TurnStarted(model, self._conversation, self._usage)

    def _complete(self, reason: FinishReason) -> TurnCompleted:
        self.ended = True
        return TurnCompleted(reason, sum_of(self._spent, self._usage))

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


@dataclass(slots=True)
class _OpenCall:
    """A tool_use block while it is written."""

    id: str
    name: str | None
    claude_name: str
    fragments: list[str] = field(default_factory=list)
