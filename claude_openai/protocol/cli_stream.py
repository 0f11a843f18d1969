"""What Claude Code writes during one turn -> what is to be done. The states, and a drawing of them: `turn_states`.

The reader returns effects and calls nothing that acts; it does not know where the records come from. What the records
mean was seen with Claude Code 2.1.200 to 2.1.332:

- A failure looks like an answer: a synthetic assistant message, then a result that says `success` with `is_error`.
- A stream that broke off ends in a `message_stop` that says from which block on the message is void. Then Claude Code
  makes the calls that stand, has Claude continue a text that stands, or asks again. Before 2.1.300, and where the turn
  fails with the stream, a `message_stop` without a stop reason before it means that all is void; before 2.1.300 a
  message with a complete call has none until the call is answered, but a synthetic message tells of the break.
- After the output limit, a refusal or an answer without text Claude Code goes on by itself, with a billed call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from claude_openai.errors import UpstreamError
from claude_openai.protocol.agent import NO_AGENT, Agent
from claude_openai.protocol.calls import Check
from claude_openai.protocol.counts import TurnUsage
from claude_openai.protocol.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.events import FinishReason, TurnCompleted, TurnFailed, TurnStarted, Usage, Way
from claude_openai.protocol.message import CallBlock, Message
from claude_openai.protocol.turn_content import TurnContent
from claude_openai.protocol.turn_states import ENDS, TRANSITIONS, Input, State
from claude_openai.protocol.upstream import Failure, begun_error, broken_off, upstream_error

__all__ = ["TurnReader"]

SYNTHETIC_MODEL: Final = "<synthetic>"
NOT_FOR_AGENTS: Final = "This tool cannot be called by an agent. Say what you need, and who started you can call it."
STREAM_ENDED: Final = "the stream of its API ended before the answer was complete."
NOTHING: Final = Usage()

# Reasons after which Claude Code would go on by itself, with calls that the client did not ask for.
_FINAL_REASONS: Final[Mapping[str, FinishReason]] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
# Reasons that are no end of an answer even without a call.
_UNFINISHED_REASONS: Final = ("tool_use", "pause_turn")


def _no_tools(name: str, arguments: str) -> str | None:
    return "There are no tools."


class TurnReader:
    """Follows one turn. Feed it what the records say, in order; each method gives the effects.

    Args:
        login: the command that logs Claude Code in, for messages.
        check: what is wrong with a call of a tool.
        own_name: the client's name of a tool; None for one that is not the client's.
        agent: which tools of its own Claude Code runs within the turn.
        output: what is wrong with an answer that must have a form; None for an answer in text.
        must_call: the answer must be a call: one without a word is asked for again, by Claude Code itself.
        conversation: the way the turn took.
        live: the client is shown text as it comes, so that it cannot be taken back.
        stops: stop sequences, for an answer that is not live.
        counted: what earlier turns were told of Claude Code's turn that goes on here.

    Attributes:
        state: where the turn is.
        started: Claude has begun to answer.
        asked_again: Claude was asked again, whoever did it.
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
        live: bool = True,
        stops: Sequence[str] = (),
        counted: Usage = NOTHING,
    ) -> None:
        self._login = login
        self._own_name = own_name
        self._content = TurnContent(check, agent, output)
        self._must_call = must_call
        self._conversation = conversation
        self._live = live and output is None
        self._stops = stops if output is None else ()
        self._usage = TurnUsage(counted)
        self._message: Message | None = None
        self._failure = Failure()
        self._retry_after_s: int | None = None
        self.state = State.WAITING
        self.started = False
        self.asked_again = False
        self._told_claude = False

    @property
    def exact(self) -> bool:
        """What Claude has seen of the turn is what the client has: nothing was refused, asked again or added."""
        return not (self.asked_again or self._told_claude or self._content.refused)

    @property
    def ended(self) -> bool:
        return self.state in ENDS

    @property
    def usage(self) -> Usage:
        """The tokens of the turn so far."""
        return self._usage.total

    def stream_event(self, event: Mapping[str, Any], void_from: int | None = None) -> Sequence[Effect]:
        """Take a Messages API stream event.

        Args:
            event: the event.
            void_from: what the record of a `message_stop` says of a message that broke off.
        """
        match event.get("type"):
            case "message_start":
                return self._message_start(event["message"])
            case "message_delta" if self._message is not None:
                return self._message_delta(self._message, event)
            case "message_stop" if self._message is not None:
                return self._break_off(self._message, void_from or 0)
            case str(kind) if kind.startswith("content_block_") and self._message is not None:
                return self._content.shown(self._message.feed(event))
        return ()

    def assistant(self, *, model: str, error: str | None, text: str, status: int | None = None) -> Sequence[Effect]:
        """Take a whole assistant message: only a synthetic one says what the stream events did not."""
        if error is None and model != SYNTHETIC_MODEL:
            return ()
        self._failure = Failure(error or "", status, text)
        if self._message is not None and self._message.calls():
            return self._break_off(self._message, self._message.complete)
        return ()

    def told_claude(self) -> None:
        """Claude Code has added a message to the conversation by itself."""
        self._told_claude = True

    def agent_works(self, calls: Sequence[tuple[str, str]] = ()) -> Sequence[Effect]:
        """An agent that Claude has started is at work, and calls tools, by their ids and names. The client's wait for
        results, which nobody would bring to an agent."""
        self._usage.agents = True
        return [AnswerCall(call_id, NOT_FOR_AGENTS) for call_id, name in calls if self._own_name(name) is not None]

    def retry(self, *, status: int | None, delay_ms: float, kind: str) -> Sequence[Effect]:
        """Take an announced retry. Before the answer, one that cannot help ends the turn."""
        if self._message is not None:
            return self._break_off(self._message, 0)
        if status not in (401, 429) or not self._go(Input.RETRY_REFUSED):
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
        """Take the result record: the turn is over, unless Claude is to be asked again.

        Args:
            is_error: it is a failure.
            status: HTTP status of the failed call to Claude.
            reason: why the CLI ended the turn.
            text: the answer, or the CLI's words for the failure.
            usage: tokens of Claude's own messages.
            models: tokens by model since the last result, those of agents included.
            structured: the answer that has a form.
        """
        failure = self._failure
        if is_error:
            failure = Failure(failure.kind, status, text or failure.text, reason)
        # A call that stands after a break is told with a failure, and can be all that was needed.
        if is_error or (failure.kind and structured is None):
            return [self._failed(failure)] if self._go(Input.FAILURE) else ()
        kept = [] if self._message is None else self._message.rest()
        if not self._go(Input.RESULT):
            return ()
        self._usage.settle(models)
        effects: list[Effect] = [*self._content.shown(kept)]
        if not self.started:  # an answer that came whole, never in pieces
            self._usage.add(usage or {})
            effects.append(self._start(SYNTHETIC_MODEL))
        effects += self._content.result(text, structured)
        if not effects or not isinstance(effects[-1], AskClaude | TurnFailed):
            effects.append(self._completed("stop"))
        return effects

    def ask_again(self) -> None:
        """Claude was sent another message: the turn's end was not the end."""
        if self._go(Input.ASKED_AGAIN):
            self._content.has_text = False
            self.asked_again = True

    def gone(self, why: str) -> TurnFailed:
        """The process ended, or stopped making sense, in the middle of the turn."""
        self._go(Input.GONE)
        said = f"Claude Code ended before the answer was complete: {why}"
        return TurnFailed(broken_off(said) if self.started else UpstreamError(said))

    def _go(self, what: Input) -> bool:
        """Take a transition; False if there is none, and then nothing is to be done."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            return False
        self.state = after
        if after is not State.MESSAGE:
            self._message = None
        return True

    def _message_start(self, message: Mapping[str, Any]) -> Sequence[Effect]:
        if self._message is not None:  # it has no end: it broke off, and nobody says how much of it stands
            effects = self._break_off(self._message, 0)
            if effects:
                return effects
        if not self._go(Input.MESSAGE_START):
            return ()
        if self.state is State.STOPPED:
            return [TurnFailed(broken_off("Claude Code began a second answer within one turn."))]
        self._failure = Failure()
        self._usage.begin(message.get("usage") or {})
        self._message = Message(live=self._live, stops=self._stops, own_name=self._own_name)
        return () if self.started else [self._start(str(message.get("model", "")))]

    def _message_delta(self, message: Message, event: Mapping[str, Any]) -> Sequence[Effect]:
        self._usage.add(event.get("usage") or {})
        reason = event["delta"].get("stop_reason")
        if not reason:
            return ()  # it broke off; `message_stop` says how much of it stands
        said = self._content.shown(message.rest())
        finish = _FINAL_REASONS.get(reason)
        if finish is not None:
            return [*said, *self._finish(finish)]
        calls = message.calls()
        if calls:
            return [*said, *self._end_with(calls)]
        if self._content.formed or reason in _UNFINISHED_REASONS:
            self._go(Input.GOES_ON)
        elif message.has_text:
            self._go(Input.ANSWER)
        elif self._must_call and not self.asked_again:
            self._go(Input.GOES_ON)
            self.asked_again = True
        else:
            return self._finish("stop")
        return said

    def _break_off(self, message: Message, void_from: int) -> Sequence[Effect]:
        if message.shown >= void_from:
            self._go(Input.WITHDRAWN)
            return [self._failed(self._failure) if self._failure.text else TurnFailed(broken_off(STREAM_ENDED))]
        said = self._content.shown(message.rest(until=void_from))
        calls = message.calls(until=void_from)
        if calls:
            return [*said, *self._end_with(calls)]
        self._go(Input.BROKEN_OFF)
        return said

    def _end_with(self, calls: Sequence[CallBlock]) -> Sequence[Effect]:
        what, effects = self._content.end_with(calls)
        self._go(what)
        return [*effects, self._completed("tool_calls")] if what is Input.CALLS else effects

    def _start(self, model: str) -> TurnStarted:
        self.started = True
        return TurnStarted(model, self._conversation, self._usage.total)

    def _finish(self, reason: FinishReason) -> Sequence[Effect]:
        self._go(Input.FINISHED)
        return [self._completed(reason)]

    def _completed(self, reason: FinishReason) -> TurnCompleted:
        return TurnCompleted(reason, self._usage.total)

    def _failed(self, failure: Failure) -> TurnFailed:
        known = Failure(failure.kind, failure.status, failure.text, failure.reason, self._retry_after_s)
        error = upstream_error(known, login=self._login)
        return TurnFailed(begun_error(error) if self.started else error)
