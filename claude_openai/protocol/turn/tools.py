"""The client's tools, and the tool choice."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from claude_openai.protocol.json_schema.validation import ArgumentValidator

__all__ = ["MAX_NAME_CHARS", "ChoiceMode", "Tool", "ToolChoice"]


ChoiceMode: TypeAlias = Literal["auto", "none", "required"]
# Claude's API takes 128, of which the prefix of an MCP server takes some.
MAX_NAME_CHARS: Final = 112


@dataclass(frozen=True, slots=True)
class Tool:
    """A function of the client.

    Attributes:
        parameters: its JSON Schema as compact JSON with the client's own order of keys.
        validator: checks arguments against it.
        said_anew: the same schema by draft 2020-12, "" if it is valid by that already.
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
