"""The required format of an answer."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["OutputFormat"]


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """The format of an answer: a JSON object that matches a schema.

    Attributes:
        schema: the client's schema, as compact JSON.
        adapted: the schema rewritten for Claude Code, as JSON.
        validator: validates answers against the client's schema.
    """

    schema: str
    adapted: str = field(compare=False, repr=False)
    validator: "ArgumentValidator" = field(compare=False, repr=False)

    def for_claude(self) -> dict[str, Any]:
        """Return the schema rewritten for Claude Code."""
        schema: dict[str, Any] = json.loads(self.adapted)
        return schema
