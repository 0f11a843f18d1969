"""Reads the token counts in Claude Code's records."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from claude_openai.protocol.turn.events import Usage

__all__ = ["OF_A_MODEL", "TurnUsage", "counted", "difference", "sum_of"]

# Fields of `Usage`, and their names in the counts of a model.
OF_A_MODEL: Final = {
    "input_tokens": "inputTokens",
    "cache_read_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheCreationInputTokens",
    "output_tokens": "outputTokens",
    "reasoning_tokens": "thinkingTokens",
}


def sum_of(one: Usage, other: Usage) -> Usage:
    return Usage(*(getattr(one, f.name) + getattr(other, f.name) for f in fields(Usage)))


def difference(one: Usage, other: Usage) -> Usage:
    return Usage(*(getattr(one, f.name) - getattr(other, f.name) for f in fields(Usage)))


def counted(counts: Mapping[str, Any], before: Usage) -> Usage:
    """Update the usage of a message by a record. Counts are cumulative, and a record contains only some of them."""
    details = counts.get("output_tokens_details") or {}

    def count(value: object, known: int) -> int:
        return value if isinstance(value, int) else known

    return Usage(
        input_tokens=count(counts.get("input_tokens"), before.input_tokens),
        cache_read_tokens=count(counts.get("cache_read_input_tokens"), before.cache_read_tokens),
        cache_write_tokens=count(counts.get("cache_creation_input_tokens"), before.cache_write_tokens),
        output_tokens=count(counts.get("output_tokens"), before.output_tokens),
        reasoning_tokens=count(details.get("thinking_tokens"), before.reasoning_tokens),
    )


class TurnUsage:
    """The tokens of one request: of each message as it is streamed, and of other messages, from the result.

    Args:
        before: tokens already reported to earlier requests of the same turn of Claude Code.

    Attributes:
        unstreamed: the turn used subagents or web searches, whose messages are not streamed.
    """

    def __init__(self, before: Usage) -> None:
        self._known = before  # the part of the next result's counts that is already reported or in `_spent`
        self._spent = Usage()
        self._message = Usage()  # of the current message, not yet in `_spent` and `_known`
        self.unstreamed = False

    @property
    def total(self) -> Usage:
        return sum_of(self._spent, self._message)

    def begin(self, counts: Mapping[str, Any]) -> None:
        """Begin a message."""
        self._close_message()
        self._message = counted(counts, Usage())

    def add(self, counts: Mapping[str, Any]) -> None:
        """Update the counts of the current message."""
        self._message = counted(counts, self._message)

    def settle(self, models: Mapping[str, Mapping[str, Any]] | None) -> None:
        """Take the counts of all models since the last result. Counts beyond the known ones were not streamed."""
        self._close_message()
        if self.unstreamed and models:
            in_all = Usage(*(sum(model.get(name) or 0 for model in models.values()) for name in OF_A_MODEL.values()))
            rest = (max(0, getattr(in_all, f.name) - getattr(self._known, f.name)) for f in fields(Usage))
            self._spent = sum_of(self._spent, Usage(*rest))
        self._known = Usage()

    def _close_message(self) -> None:
        self._spent = sum_of(self._spent, self._message)
        self._known = sum_of(self._known, self._message)
        self._message = Usage()
