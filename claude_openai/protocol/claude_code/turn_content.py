"""The content of one turn: which parts of Claude's messages go to the client, and how invalid calls are answered.

It handles paragraphs, structured output, notes about Claude Code's own tools, and the validation of arguments. States
and usage are handled in `turn_reader`, which decides when a message ends.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from claude_openai.errors import UpstreamError
from claude_openai.protocol.claude_code.effects import AskClaude, Effect
from claude_openai.protocol.claude_code.streamed_message import AnswerDelta, CallBlock
from claude_openai.protocol.claude_code.structured_output import STRUCTURED_OUTPUT, StructuredAnswer
from claude_openai.protocol.claude_code.tool_calls import MAX_CORRECTIONS, ArgumentCheck, CallJudge
from claude_openai.protocol.claude_code.tool_notes import tool_note
from claude_openai.protocol.claude_code.turn_states import Input
from claude_openai.protocol.claude_code.web_searches import WEB_SEARCH, WebSearches
from claude_openai.protocol.turn.claude_options import ClaudeOptions
from claude_openai.protocol.turn.events import Event, TextDelta, TurnFailed

__all__ = ["TurnContent"]

PARAGRAPH: Final = "\n\n"


class TurnContent:
    """The content of one turn.

    Args:
        check: validates the arguments of a tool call.
        options: which tools of its own Claude Code runs within the turn.
        output: validates structured output; None if the answer is text.

    Attributes:
        formed: the answer must be structured output.
        has_text: text was sent to the client.
        refused: a call was rejected.
        needs_search: the request has web search.
    """

    def __init__(
        self, check: ArgumentCheck, options: ClaudeOptions, output: Callable[[object], str | None] | None
    ) -> None:
        self._options = options
        self._judge = CallJudge(check, is_own=self._is_own)
        self._form = None if output is None else StructuredAnswer(output, MAX_CORRECTIONS)
        self._new_paragraph = False
        self.formed = output is not None
        self.has_text = False
        self.refused = False
        self.needs_search = options.web_search is not None
        self._searches = WebSearches()

    @property
    def has_output(self) -> bool:
        """Return whether Claude has called the tool of structured output."""
        return self._form is not None and bool(self._form.text)

    def show(self, pieces: Sequence[AnswerDelta]) -> list[Event]:
        """Return the events for the client of some deltas of a message."""
        events: list[Event] = []
        for piece in pieces:
            if not isinstance(piece, TextDelta):
                events.append(piece)
            elif self._form is not None:
                self._form.hold(piece.text)
            else:
                events.append(TextDelta(PARAGRAPH + piece.text) if self._new_paragraph else piece)
                self._new_paragraph, self.has_text = False, True
        return events

    def end_with(self, calls: Sequence[CallBlock]) -> tuple[Input, list[Effect]]:
        """End a message that has at least one call. Return the input for the state machine, and the effects."""
        judged = self._judge.judge(call for call in calls if not self._is_output(call))
        notes = [self._note(call) for call in judged.own]
        self.refused = self.refused or bool(judged.refused)
        if judged.fitting:
            prose = "" if self._form is None else self._form.prose()
            text = [TextDelta(prose)] if prose else []
            return Input.CALLS, [*notes, *judged.refused, *text, *judged.fitting]
        error = self._judge.note_correction() if judged.refused else None
        if error is not None:
            return Input.FINISHED, [TurnFailed(error)]
        self._new_paragraph = self.has_text
        return Input.GOES_ON, [*notes, *judged.refused]

    def tool_results(self, record: Mapping[str, Any]) -> list[Event]:
        """Return the ends of the web searches whose results are in a `user` record."""
        return [*self._searches.ended(record)] if self.needs_search else []

    def result(self, text: str, structured: object) -> list[Effect]:
        """Return the effects of the result record. If the last is AskClaude or TurnFailed, the answer is not complete.

        Args:
            text: the text of the answer, in case it was not streamed.
            structured: the structured output.
        """
        if self._form is None:
            return [TextDelta(text)] if text and not self.has_text else []
        try:
            correction = self._form.correction(structured)
        except UpstreamError as error:
            return [TurnFailed(error)]
        return [AskClaude(correction)] if correction else [TextDelta(self._form.text)]

    def _is_own(self, name: str) -> bool:
        return self._options.has_tools or self._is_search(name)

    def _is_search(self, name: str) -> bool:
        return self.needs_search and name == WEB_SEARCH

    def _note(self, call: CallBlock) -> Event:
        if self._is_search(call.claude_name):
            return self._searches.started(call)
        return tool_note(call.claude_name, call.arguments, show=self._options.show_tool_use)

    def _is_output(self, call: CallBlock) -> bool:
        if self._form is None or call.claude_name != STRUCTURED_OUTPUT:
            return False
        self._form.text = call.arguments
        return True
