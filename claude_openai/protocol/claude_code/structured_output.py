"""An answer that must have a form, while it comes: what of it counts, and what Claude is told if it does not fit.

Claude Code has Claude give it as the call of a tool of its own, and checks it as far as it can; the check against the
client's whole schema is made here, at the end. Prose beside it is nothing; before calls of tools it is what the client
is told with them. Knows no records.
"""

from collections.abc import Callable

from claude_openai.errors import UpstreamError
from claude_openai.protocol.limits.budget import CHECK_STEPS, Budget
from claude_openai.protocol.turn.output_format import OutputFormat

__all__ = ["STRUCTURED_OUTPUT", "StructuredAnswer", "output_check"]

# The tool that Claude Code adds.
STRUCTURED_OUTPUT = "StructuredOutput"


class StructuredAnswer:
    """One answer.

    Args:
        problem_of: what is wrong with it, in words for Claude; None if it fits.
        corrections: how often Claude may give it anew after Claude Code was content.

    Attributes:
        text: the answer as Claude wrote it: JSON.
    """

    def __init__(self, problem_of: Callable[[object], str | None], corrections: int) -> None:
        self._problem_of = problem_of
        self._left = corrections
        self._prose: list[str] = []
        self.text = ""

    def hold(self, text: str) -> None:
        """Take a piece of prose."""
        self._prose.append(text)

    def prose(self) -> str:
        """All of it since the last time."""
        prose, self._prose = "".join(self._prose), []
        return prose

    def correction(self, given: object) -> str:
        """What Claude is to be told about the answer that Claude Code has taken; "" if it fits.

        Raises:
            UpstreamError: there is none, or it does not fit and Claude has tried often enough.
        """
        if given is None:
            raise _not_followed(
                "Claude did not answer in the form that 'response_format' asks for, nor when asked again."
            )
        problem = self._problem_of(given)
        if problem is None:
            return ""
        self._left -= 1
        if self._left < 0:
            raise _not_followed(f"Claude kept answering in a form that does not fit 'response_format': {problem}")
        self._prose.clear()
        return f"The output does not match its JSON Schema: {problem}. Call the tool again with output that matches."


def _not_followed(message: str) -> UpstreamError:
    return UpstreamError(message, code="response_format_not_followed")


def output_check(form: OutputFormat | None, clock: Callable[[], float]) -> Callable[[object], str | None] | None:
    """What says what is wrong with an answer, in words for Claude; None for an answer in text.

    Args:
        form: that the answer must have.
        clock: seconds, for the time that the patterns of a schema take.
    """
    if form is None:
        return None
    validator = form.validator

    def check(answer: object) -> str | None:
        if not isinstance(answer, dict):
            return "it must be a JSON object"
        return validator.problem(answer, Budget(CHECK_STEPS, clock))

    return check
