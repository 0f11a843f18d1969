"""The client's tools, and the tool choice."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["MAX_NAME_CHARS", "ChoiceMode", "Tool", "ToolChoice"]


ChoiceMode: TypeAlias = Literal["auto", "none", "required"]
# Claude's API accepts 128 characters, including the 13 of `mcp__openai__`. Claude Code silently leaves out a tool
# with a longer name (2.1.332).
MAX_NAME_CHARS: Final = 115


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the client.

    Attributes:
        parameters: the JSON Schema of the arguments, as compact JSON in the client's order of keys.
        validator: validates arguments against this schema.
        claude_schema: the schema rewritten for draft 2020-12, "" if it is valid unchanged.
    """

    name: str
    description: str
    parameters: str
    validator: "ArgumentValidator" = field(compare=False, repr=False)
    claude_schema: str = field(default="", compare=False, repr=False)

    @property
    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.parameters)
        return schema


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`required` with a name requires that tool; without a name, any tool."""

    mode: ChoiceMode = "auto"
    name: str | None = None
