"""Structured output of one turn: validates it, and composes the corrections for Claude.

Claude Code makes Claude return it by calling the tool `StructuredOutput`, and validates a simplified schema. The output
is validated here against the client's whole schema. Text beside it is dropped, unless the message calls tools of the
client: then it is sent with the calls.
"""

from collections.abc import Callable

from claude_openai.errors import UpstreamError
from claude_openai.protocol.limits.budget import CHECK_STEPS, Budget
from claude_openai.protocol.turn.output_format import OutputFormat

__all__ = ["STRUCTURED_OUTPUT", "StructuredAnswer", "output_check"]

# The tool that Claude Code adds.
STRUCTURED_OUTPUT = "StructuredOutput"


class StructuredAnswer:
    """The structured output of one turn.

    Args:
        problem_of: returns a message for Claude about invalid output, None if it is valid.
        corrections: how often Claude may correct output that Claude Code has accepted.

    Attributes:
        text: the output as Claude wrote it, JSON.
    """

    def __init__(self, problem_of: Callable[[object], str | None], corrections: int) -> None:
        self._problem_of = problem_of
        self._left = corrections
        self._prose: list[str] = []
        self.text = ""

    def hold(self, text: str) -> None:
        """Buffer text beside the output."""
        self._prose.append(text)

    def prose(self) -> str:
        """Return the buffered text and empty the buffer."""
        prose, self._prose = "".join(self._prose), []
        return prose

    def correction(self, output: object) -> str:
        """Return the message for Claude about output that Claude Code has accepted, "" if it is valid.

        Raises:
            UpstreamError: there is no output, or it is invalid and there are no corrections left.
        """
        if output is None:
            raise _not_followed(
                "Claude did not return the output that 'response_format' requires, also when asked again."
            )
        problem = self._problem_of(output)
        if problem is None:
            return ""
        self._left -= 1
        if self._left < 0:
            raise _not_followed(f"Claude's output does not match 'response_format' after several attempts: {problem}")
        self._prose.clear()
        return f"The output does not match its JSON Schema: {problem}. Call the tool again with output that matches."


def _not_followed(message: str) -> UpstreamError:
    return UpstreamError(message, code="response_format_not_followed")


def output_check(form: OutputFormat | None, clock: Callable[[], float]) -> Callable[[object], str | None] | None:
    """Return the validator of structured output, None if the answer is text.

    Args:
        form: the required format of the answer.
        clock: returns seconds; it bounds the time of a schema's patterns.

    Returns:
        A function that returns a message for Claude about invalid output, None if the output is valid.
    """
    if form is None:
        return None
    validator = form.validator

    def check(answer: object) -> str | None:
        if not isinstance(answer, dict):
            return "it must be a JSON object"
        return validator.problem(answer, Budget(CHECK_STEPS, clock))

    return check
