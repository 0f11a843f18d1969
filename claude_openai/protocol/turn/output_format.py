"""The form that an answer must have."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["OutputFormat"]


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The form of an answer: a JSON object that fits a schema.

    Attributes:
        schema: the client's, as compact JSON.
        adapted: as Claude Code takes it, as JSON too.
        validator: checks answers against the client's.
    """

    schema: str
    adapted: str = field(compare=False, repr=False)
    validator: "ArgumentValidator" = field(compare=False, repr=False)

    def for_claude(self) -> dict[str, Any]:
        """The schema as Claude Code takes it."""
        schema: dict[str, Any] = json.loads(self.adapted)
        return schema
