"""Checks the arguments of tool calls against the schemas of the tools."""

from collections.abc import Callable, Sequence

from claude_openai.protocol.limits.budget import CHECK_STEPS, Budget
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.tools import Tool

__all__ = ["ArgumentChecker"]


class ArgumentChecker:
    """Checks the arguments of calls against the full schemas of the tools.

    Args:
        tools: the tools that may be called.
        clock: returns seconds; it bounds the time of a schema's patterns.
    """

    def __init__(self, tools: Sequence[Tool], clock: Callable[[], float]) -> None:
        self._validators = {tool.name: tool.validator for tool in tools}
        self._clock = clock

    def problem(self, name: str, arguments: object) -> str | None:
        """Return a message for Claude about an invalid call, None if the call is valid."""
        validator = self._validators.get(name)
        if validator is None:
            return f"Unknown tool: {shorten(name)}. Call one of the available tools."
        if not isinstance(arguments, dict):
            return "The arguments must be a JSON object."
        problem = validator.problem(arguments, Budget(CHECK_STEPS, self._clock))
        if problem is None:
            return None
        return f"The arguments do not match the tool's schema: {problem}. Call it again with arguments that match."
