"""`tool_choice` and `parallel_tool_calls`, for which Claude Code has no flags: filters on the effects of a turn."""

from typing import Final

from claude_openai.errors import UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.turn.events import TextDelta, ToolCall, TurnCompleted, TurnFailed

__all__ = ["MUST_CALL", "ONE_CALL_ONLY", "CallRequired", "OneCallOnly"]

MUST_CALL: Final = "You must answer by calling a tool. Do not answer in text."
ONE_CALL_ONLY: Final = (
    "Only one tool call is allowed at a time. This call was not executed; repeat it after the first one, if needed."
)


class CallRequired:
    """Requires a tool call. Text is buffered until there is a call; without one Claude gets one more message."""

    def __init__(self) -> None:
        self._held: list[Effect] = []
        self._called = False

    def filter(self, effect: Effect, *, asked_again: bool) -> list[Effect]:
        """Filter one effect of the turn.

        Args:
            effect: the effect.
            asked_again: Claude already got another message, by this filter or by Claude Code.
        """
        match effect:
            case _ if self._called:
                return [effect]
            case TextDelta():
                self._held.append(effect)
                return []
            case ToolCall():
                self._called = True
                return [*self._release(), effect]
            case TurnCompleted("stop"):
                self._release()
                return [_not_followed() if asked_again else AskClaude(MUST_CALL)]
            case TurnCompleted():  # output limit or refusal: there will be no call
                return [*self._release(), effect]
        return [effect]

    def _release(self) -> list[Effect]:
        held, self._held = self._held, []
        return held


class OneCallOnly:
    """Passes only the first call on to the client. The others are answered in the client's place.

    Attributes:
        answered: number of calls that were answered here.
    """

    def __init__(self) -> None:
        self._called = False
        self.answered = 0

    def filter(self, effect: Effect) -> list[Effect]:
        if not isinstance(effect, ToolCall):
            return [effect]
        if not self._called:
            self._called = True
            return [effect]
        self.answered += 1
        return [AnswerCall(effect.id, ONE_CALL_ONLY, is_error=False)]


def _not_followed() -> TurnFailed:
    message = "Claude did not call a tool although 'tool_choice' requires it, also after a second request."
    return TurnFailed(UpstreamError(message, code="tool_choice_not_followed"))
