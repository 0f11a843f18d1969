"""What Claude Code writes while it answers -> events.

`TurnReader` follows one turn and turns its records into events, failures included. It does not know where the records
come from: the SDK backend feeds typed messages, the CLI backend raw ones, both through the same methods. Facts about
the records: an upstream failure looks like an answer (a synthetic assistant message, then a result that says `success`
with `is_error`); retries are announced before they are made; when the output limit is hit, Claude Code goes on by
itself with another billed call unless it is stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from claude_openai.errors import ApiError, Overloaded, RateLimited, UpstreamError
from claude_openai.protocol.agent import NO_AGENT, Agent
from claude_openai.protocol.calls import MAX_CORRECTIONS, Check, TurnCalls
from claude_openai.protocol.counts import counted, sum_of
from claude_openai.protocol.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
    Way,
)
from claude_openai.protocol.formed import STRUCTURED_OUTPUT, FormedAnswer
from claude_openai.protocol.tool_notes import tool_note
from claude_openai.protocol.upstream import Failure, broken_off, upstream_error

__all__ = ["TurnReader"]

SYNTHETIC_MODEL = "<synthetic>"

# Reasons after which Claude Code would carry on by itself, with calls the client did not ask for: the turn ends here.
# So it does when the answer has no text, whatever the reason.
_FINAL_REASONS: Mapping[str, FinishReason] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


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
        must_call: the answer must be a call: one without a word is asked for again, by Claude Code itself.
        conversation: the way the turn took.

    After `ended` is true the turn is over: stopped, or waiting with calls (`awaiting_results`) or for the next prompt.

    Attributes:
        correction: what Claude is to be told next within the turn, "" for nothing.
        asked_again: Claude was asked again, whoever did it.
        exact: what Claude has seen of the turn is what the client has: no call was refused, nothing was asked again.
    """

    def __init__(
        self,
        login: str,
        *,
        check: Check = _no_tools,
        own_name: Callable[[str], str | None] = str,
        agent: Agent = NO_AGENT,
        output: Callable[[object], str | None] | None = None,
        must_call: bool = False,
        conversation: Way = "new",
    ) -> None:
        self._login = login
        self._agent = agent
        self._formed = None if output is None else FormedAnswer(output, MAX_CORRECTIONS)
        self._must_call = must_call
        self.correction = ""
        self.asked_again = False
        self.exact = True
        self._tools_ran = False
        self._separate = False  # a text after the use of tools is a paragraph of its own
        self._conversation = conversation
        self._calls = TurnCalls(check, own_name)
        self._another_comes = False
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
                self._calls.begin(event["content_block"])
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
        self.ended, self._said_something, self.correction = False, False, ""
        self._note_asked_again()

    def _note_asked_again(self) -> None:
        self.asked_again, self._another_comes, self.exact = True, True, False

    def gone(self, why: str) -> TurnFailed:
        """The process ended, or stopped making sense, in the middle of the turn."""
        said = f"Claude Code ended before the answer was complete: {why}"
        return self._fail(broken_off(said) if self.started else UpstreamError(said))

    def _message_start(self, message: Mapping[str, Any]) -> Sequence[Event]:
        expected = self._calls.refused or self._another_comes or self._tools_ran or self._formed
        if self.started and not expected:
            return [self._fail(UpstreamError("Claude Code began a second answer within one turn."))]
        again, self._calls.refused, self._another_comes = self.started, 0, False
        self._separate = self._tools_ran and self._said_something
        self._tools_ran = False
        self._spent = sum_of(self._spent, self._usage)
        self._usage = counted(message.get("usage") or {}, Usage())
        return () if again else [self._start(str(message.get("model", "")))]

    def _block_stop(self) -> Sequence[Event]:
        call = self._calls.end()
        if call is None:
            return ()
        if call.claude_name == STRUCTURED_OUTPUT and self._formed is not None:
            self._formed.text, self._tools_ran = call.arguments, True
            return ()
        if call.name is None and self._agent.has_tools:
            self._tools_ran = True
            return (tool_note(call.claude_name, call.arguments, told=self._agent.tell_tools),)
        # Whoever answers Claude Code for the call tells Claude what is wrong with one that does not fit.
        if not self._calls.judge(call):
            self.exact = False
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
            case "input_json_delta":
                self._calls.add(delta["partial_json"])
        return ()

    def _message_delta(self, event: Mapping[str, Any]) -> Sequence[Event]:
        self._usage = counted(event.get("usage") or {}, self._usage)
        stop_reason = event["delta"].get("stop_reason") or ""
        if stop_reason == "tool_use":
            return self._tool_use()
        if stop_reason == "end_turn" and not self._said_something and self._formed is None:
            if self._must_call and not self.asked_again:
                self._note_asked_again()
                return ()
            return [self._complete("stop")]
        reason = _FINAL_REASONS.get(stop_reason)
        return () if reason is None else [self._complete(reason)]

    def _tool_use(self) -> Sequence[Event]:
        if self._calls.fitting:
            self.awaiting_results = True
            prose = self._formed.prose() if self._formed is not None else ""
            return [*([TextDelta(prose)] if prose else []), *self._calls.fitting, self._complete("tool_calls")]
        if self._tools_ran and not self._calls.refused:
            return ()
        error = self._calls.note_correction()
        return () if error is None else [self._fail(error)]

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
        if self.started and isinstance(error, Overloaded | RateLimited | UpstreamError):
            return broken_off(error.message)
        return error
