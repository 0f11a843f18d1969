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
    """The answer must be a call. Text is held back until there is one; without one Claude is asked once more."""

    def __init__(self) -> None:
        self._held: list[Effect] = []
        self._called = False

    def filter(self, effect: Effect, *, asked_again: bool) -> list[Effect]:
        """Filter one effect of the turn.

        Args:
            effect: the effect.
            asked_again: Claude was asked once more already, by this filter or by Claude Code.
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
            case TurnCompleted():  # at the output limit, or refused: the text is all there is
                return [*self._release(), effect]
        return [effect]

    def _release(self) -> list[Effect]:
        held, self._held = self._held, []
        return held


class OneCallOnly:
    """Only the first call reaches the client. The others are answered in its place.

    Attributes:
        answered: number of calls that were answered.
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
    message = "Claude made no call although 'tool_choice' demands one, and made none when asked again."
    return TurnFailed(UpstreamError(message, code="tool_choice_not_followed"))
