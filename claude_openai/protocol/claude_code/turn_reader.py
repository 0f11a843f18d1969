"""Reads the records of one turn of Claude Code and returns effects. See `turn_states` for the state machine.

The meaning of the records was observed with Claude Code 2.1.200, 2.1.300 and 2.1.332:

- A failure looks like an answer: a synthetic assistant message, then a result of subtype `success` with `is_error`.
- The `message_stop` of a stream that broke off carries the index from which on its blocks are abandoned. The blocks
  before it are kept: Claude Code runs the calls among them, or has Claude continue the text, and otherwise asks again.
- Before 2.1.300, and in a turn that fails with its stream, there is no such index: a `message_stop` without a stop
  reason before it means that all blocks are abandoned. Before 2.1.300 a message with a complete call gets no
  `message_stop` until the call has its result; a synthetic message shows that it broke off.
- After the output limit, a refusal, or an answer without text Claude Code makes another, billed call automatically.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from claude_openai.errors import BadRequest, UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.claude_code.failures import Failure, begun_error, interrupted_error, upstream_error
from claude_openai.protocol.claude_code.streamed_message import CallBlock, StreamedMessage
from claude_openai.protocol.claude_code.tool_calls import ArgumentCheck
from claude_openai.protocol.claude_code.turn_content import TurnContent
from claude_openai.protocol.claude_code.turn_states import ENDS, TRANSITIONS, Input, State
from claude_openai.protocol.claude_code.usage import TurnUsage
from claude_openai.protocol.claude_code.web_searches import WEB_SEARCH
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, ClaudeOptions
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningEnd,
    Route,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)

__all__ = ["TurnReader"]

SYNTHETIC_MODEL: Final = "<synthetic>"
NOT_FOR_AGENTS: Final = "Sub-agents cannot call this tool. Report what you need: your parent agent can call it."
STREAM_ENDED: Final = "the stream of its API ended before the answer was complete."
NO_SEARCH: Final = "Claude Code has no web search with this model or provider. Send the request without it."
NO_USAGE: Final = Usage()

# Stop reasons after which Claude Code would make another, billed call.
_FINAL_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
# Stop reasons that do not end the turn, even if the message has no call.
_UNFINISHED_REASONS: Final = ("tool_use", "pause_turn")


def _no_tools(name: str, arguments: str) -> str | None:
    return "No tools are available."


class TurnReader:
    """Follows one turn. Feed it the records in order; each method returns the effects.

    Args:
        login: the command that logs Claude Code in, for error messages.
        check: validates the arguments of a tool call.
        own_name: maps Claude's name of a tool to the client's; None for a tool that is not the client's.
        options: which tools of its own Claude Code runs within the turn.
        output: validates structured output; None if the answer is text.
        must_call: the answer must be a tool call. After an empty answer Claude Code may make one more call to Claude.
        conversation: the route of the turn.
        live: text is sent to the client as it arrives, so it cannot be withdrawn.
        stops: stop sequences; used when not `live`.
        counted: tokens already reported to earlier requests of the same turn of Claude Code.

    Attributes:
        state: current state of the turn.
        started: Claude has begun to answer.
        asked_again: Claude was sent a second message within the turn, by the server or by Claude Code.
    """

    def __init__(
        self,
        login: str,
        *,
        check: ArgumentCheck = _no_tools,
        own_name: Callable[[str], str | None] = str,
        options: ClaudeOptions = NO_CLAUDE_OPTIONS,
        output: Callable[[object], str | None] | None = None,
        must_call: bool = False,
        conversation: Route = "new",
        live: bool = True,
        stops: Sequence[str] = (),
        counted: Usage = NO_USAGE,
    ) -> None:
        self._login = login
        self._own_name = own_name
        self._content = TurnContent(check, options, output)
        self._must_call = must_call
        self._conversation = conversation
        self._live = live and output is None
        self._stops = stops if output is None else ()
        self._usage = TurnUsage(counted)
        self._message: StreamedMessage | None = None
        self._failure = Failure()
        self._retry_after_s: int | None = None
        self.state = State.WAITING
        self.started = False
        self.asked_again = False
        self._injected = False
        self._searched: list[Event] = []  # searches that ended before the answer began

    @property
    def exact(self) -> bool:
        """Return whether Claude's view of the turn equals the client's.

        It does not if a call was rejected, a message was added, or the answer was the call of a tool that the client
        does not have, as structured output is.
        """
        return not (self.asked_again or self._injected or self._content.refused or self._content.has_output)

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    @property
    def usage(self) -> Usage:
        """Return the tokens of the turn so far."""
        return self._usage.total

    def begun(self, tools: Sequence[str]) -> Sequence[Effect]:
        """Take the beginning of Claude Code's turn, with the names of the tools that Claude gets.

        Claude Code leaves out its web search where Claude's API has none; an answer without it would be wrong.
        """
        if not self._content.needs_search or WEB_SEARCH in tools or not self._transition(Input.LACKS_TOOL):
            return ()
        return [TurnFailed(BadRequest(NO_SEARCH, code="web_search_not_available"))]

    def stream_event(self, event: Mapping[str, Any], abandoned_from: int | None = None) -> Sequence[Effect]:
        """Take a Messages API stream event.

        Args:
            event: the event.
            abandoned_from: index of the first abandoned block, from the record of a `message_stop`.
        """
        match event.get("type"):
            case "message_start":
                return self._message_start(event["message"])
            case "message_delta" if self._message is not None:
                return self._message_delta(self._message, event)
            case "message_stop" if self._message is not None:
                return self._break_off(self._message, abandoned_from or 0)
            case str(kind) if kind.startswith("content_block_") and self._message is not None:
                return self._content.show(self._message.feed(event))
        return ()

    def assistant(self, *, model: str, error: str | None, text: str, status: int | None = None) -> Sequence[Effect]:
        """Take a whole assistant message. Only a synthetic one adds something to the stream events: a failure."""
        if error is None and model != SYNTHETIC_MODEL:
            return ()
        self._failure = Failure(error or "", status, text)
        if self._message is not None and self._message.calls():
            return self._break_off(self._message, self._message.complete)
        return ()

    def note_injected_message(self) -> None:
        """Note that Claude Code added a user message of its own to the conversation."""
        self._injected = True

    def tool_results(self, record: Mapping[str, Any]) -> Sequence[Effect]:
        """Take a record with results of tools. Only those of web searches are reported."""
        ended = self._content.tool_results(record)
        if ended:
            self._usage.unstreamed = True
        if self.started:
            return ended
        self._searched += ended
        return ()

    def note_subagent(self, calls: Sequence[tuple[str, str]] = ()) -> Sequence[Effect]:
        """Take a record of a subagent, with the ids and names of the tools that it calls.

        A subagent cannot use the client's tools: their results come with the client's next request, after this turn.
        """
        self._usage.unstreamed = True
        return [AnswerCall(call_id, NOT_FOR_AGENTS) for call_id, name in calls if self._own_name(name) is not None]

    def retry(self, *, status: int | None, delay_ms: float, kind: str) -> Sequence[Effect]:
        """Take the announcement that Claude Code will retry a call.

        Before the answer has begun, a rejected login or a rate limit ends the turn: the client gets the error at once
        and decides about the wait.
        """
        if self._message is not None:
            return self._break_off(self._message, 0)
        if status not in (401, 429) or not self._transition(Input.RETRY_REFUSED):
            return ()
        self._retry_after_s = self._retry_after_s or max(1, int(delay_ms // 1000))
        return [self._failed(Failure(kind, status, f"Claude answered {status} ({kind})"))]

    def rate_limit(self, *, rejected: bool, resets_in_s: float | None) -> None:
        """Take the state of a usage limit, as the CLI reports it when it changes."""
        if rejected and resets_in_s is not None:
            self._retry_after_s = max(1, int(resets_in_s))

    def result(
        self,
        *,
        is_error: bool,
        status: int | None,
        reason: str,
        text: str,
        usage: Mapping[str, Any] | None,
        models: Mapping[str, Any] | None = None,
        structured: object = None,
    ) -> Sequence[Effect]:
        """Take the result record, which ends Claude Code's turn.

        Args:
            is_error: the turn failed.
            status: HTTP status of the failed call to Claude's API.
            reason: why Claude Code ended the turn.
            text: the answer, or the error message.
            usage: tokens of Claude's messages.
            models: tokens by model since the last result, including those of subagents.
            structured: the structured output.
        """
        failure = self._failure
        if is_error:
            failure = Failure(failure.kind, status, text or failure.text, reason)
        # If the stream breaks off after a complete call, Claude Code reports a failure although the call may be the
        # structured output.
        if is_error or (failure.kind and structured is None):
            return [self._failed(failure)] if self._transition(Input.FAILURE) else ()
        kept = [] if self._message is None else self._message.rest()
        if not self._transition(Input.RESULT):
            return ()
        self._usage.settle(models)
        effects: list[Effect] = [*self._content.show(kept)]
        if not self.started:  # the answer was not streamed
            self._usage.add(usage or {})
            effects.append(self._start(SYNTHETIC_MODEL))
        effects += self._content.result(text, structured)
        if not effects or not isinstance(effects[-1], AskClaude | TurnFailed):
            effects.append(self._completed("stop"))
        return effects

    def ask_again(self) -> None:
        """Note that Claude is sent another message, so the turn goes on."""
        if self._transition(Input.ASKED_AGAIN):
            self._content.has_text = False
            self.asked_again = True

    def gone(self, why: str) -> TurnFailed:
        """Return the failure of a turn whose process ended or wrote something unreadable."""
        self._transition(Input.GONE)
        message = f"Claude Code ended before the answer was complete: {why}"
        return TurnFailed(interrupted_error(message) if self.started else UpstreamError(message))

    def _transition(self, what: Input) -> bool:
        """Take a transition. Return False if there is none; then there is no effect either."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            return False
        self.state = after
        if after is not State.MESSAGE:
            self._message = None
        return True

    def _message_start(self, message: Mapping[str, Any]) -> Sequence[Effect]:
        if self._message is not None:  # it had no end, so its stream broke off
            effects = self._break_off(self._message, 0)
            if effects:
                return effects
        if not self._transition(Input.MESSAGE_START):
            return ()
        if self.state is State.STOPPED:
            return [TurnFailed(interrupted_error("Claude Code began a second answer within one turn."))]
        self._failure = Failure()
        self._usage.begin(message.get("usage") or {})
        self._message = StreamedMessage(live=self._live, stops=self._stops, own_name=self._own_name)
        return () if self.started else [self._start(str(message.get("model", ""))), *self._searched]

    def _message_delta(self, message: StreamedMessage, event: Mapping[str, Any]) -> Sequence[Effect]:
        reason = event["delta"].get("stop_reason")
        if not reason:  # made by Claude Code for a stream that broke off; a `message_stop` follows
            return ()
        self._usage.add(event.get("usage") or {})
        shown = self._content.show(message.rest())
        finish = _FINAL_REASONS.get(reason)
        if finish is not None:
            return [*shown, *self._finish(finish)]
        calls = message.calls()
        if calls:
            return [*shown, *self._end_with(calls)]
        if self._content.formed or reason in _UNFINISHED_REASONS:
            self._transition(Input.GOES_ON)
        elif message.has_text:
            self._transition(Input.ANSWER)
        elif self._must_call and not self.asked_again:
            self._transition(Input.GOES_ON)
            self.asked_again = True
        else:
            return self._finish("stop")
        return shown

    def _break_off(self, message: StreamedMessage, abandoned_from: int) -> Sequence[Effect]:
        if message.released >= abandoned_from:
            self._transition(Input.WITHDRAWN)
            return [self._failed(self._failure) if self._failure.text else TurnFailed(interrupted_error(STREAM_ENDED))]
        shown = self._content.show(message.rest(until=abandoned_from))
        if message.thinks:
            shown.append(ReasoningEnd())
        calls = message.calls(until=abandoned_from)
        if calls:
            return [*shown, *self._end_with(calls)]
        self._transition(Input.BROKEN_OFF)
        return shown

    def _end_with(self, calls: Sequence[CallBlock]) -> Sequence[Effect]:
        what, effects = self._content.end_with(calls)
        self._transition(what)
        return [*effects, self._completed("tool_calls")] if what is Input.CALLS else effects

    def _start(self, model: str) -> TurnStarted:
        self.started = True
        return TurnStarted(model, self._conversation, self._usage.total)

    def _finish(self, reason: FinishReason) -> Sequence[Effect]:
        self._transition(Input.FINISHED)
        return [self._completed(reason)]

    def _completed(self, reason: FinishReason) -> TurnCompleted:
        return TurnCompleted(reason, self._usage.total)

    def _failed(self, failure: Failure) -> TurnFailed:
        known = Failure(failure.kind, failure.status, failure.text, failure.reason, self._retry_after_s)
        error = upstream_error(known, login=self._login)
        return TurnFailed(begun_error(error) if self.started else error)
