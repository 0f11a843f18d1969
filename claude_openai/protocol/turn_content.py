"""What the client gets of the messages of one turn, and what Claude Code is told about its calls.

Knows paragraphs, the form that an answer must have, notes of Claude Code's own tools, and which calls fit. It knows
neither states nor usage: `cli_stream` says when a message ends, and how.
"""

from collections.abc import Callable, Sequence
from typing import Final

from claude_openai.errors import UpstreamError
from claude_openai.protocol.agent import Agent
from claude_openai.protocol.calls import MAX_CORRECTIONS, CallJudge, Check
from claude_openai.protocol.effects import AskClaude, Effect
from claude_openai.protocol.events import Event, ReasoningDelta, TextDelta, TurnFailed
from claude_openai.protocol.formed import STRUCTURED_OUTPUT, FormedAnswer
from claude_openai.protocol.message import CallBlock
from claude_openai.protocol.tool_notes import tool_note
from claude_openai.protocol.turn_states import Input

__all__ = ["TurnContent"]

PARAGRAPH: Final = "\n\n"


class TurnContent:
    """The content of one turn.

    Args:
        check: what is wrong with a call of a tool.
        agent: which tools of its own Claude Code runs within the turn.
        output: what is wrong with an answer that must have a form; None for an answer in text.

    Attributes:
        formed: the answer must have a form.
        has_text: the client has text.
        refused: a call was refused.
    """

    def __init__(self, check: Check, agent: Agent, output: Callable[[object], str | None] | None) -> None:
        self._agent = agent
        self._judge = CallJudge(check, own_tools=agent.has_tools)
        self._form = None if output is None else FormedAnswer(output, MAX_CORRECTIONS)
        self._new_paragraph = False
        self.formed = output is not None
        self.has_text = False
        self.refused = False

    def shown(self, pieces: Sequence[TextDelta | ReasoningDelta]) -> list[Event]:
        """What the client gets of these pieces of a message."""
        shown: list[Event] = []
        for piece in pieces:
            if not isinstance(piece, TextDelta):
                shown.append(piece)
            elif self._form is not None:
                self._form.hold(piece.text)
            else:
                shown.append(TextDelta(PARAGRAPH + piece.text) if self._new_paragraph else piece)
                self._new_paragraph, self.has_text = False, True
        return shown

    def end_with(self, calls: Sequence[CallBlock]) -> tuple[Input, list[Effect]]:
        """A message ends with calls, one at least, which Claude Code makes: how that ends it, and the effects."""
        judged = self._judge.judge(call for call in calls if not self._is_output(call))
        notes = [tool_note(call.claude_name, call.arguments, told=self._agent.tell_tools) for call in judged.own]
        self.refused = self.refused or bool(judged.refused)
        if judged.fitting:
            prose = "" if self._form is None else self._form.prose()
            words = [TextDelta(prose)] if prose else []
            return Input.CALLS, [*notes, *judged.refused, *words, *judged.fitting]
        error = self._judge.note_correction() if judged.refused else None
        if error is not None:
            return Input.FINISHED, [TurnFailed(error)]
        self._new_paragraph = self.has_text
        return Input.GOES_ON, [*notes, *judged.refused]

    def result(self, text: str, structured: object) -> list[Effect]:
        """What is left to say when the result comes; nothing follows if Claude must be asked again, or it failed.

        Args:
            text: the answer in text, for one that was not streamed.
            structured: the answer that has a form.
        """
        if self._form is None:
            return [TextDelta(text)] if text and not self.has_text else []
        try:
            correction = self._form.correction(structured)
        except UpstreamError as error:
            return [TurnFailed(error)]
        return [AskClaude(correction)] if correction else [TextDelta(self._form.text)]

    def _is_output(self, call: CallBlock) -> bool:
        if self._form is None or call.claude_name != STRUCTURED_OUTPUT:
            return False
        self._form.text = call.arguments
        return True
