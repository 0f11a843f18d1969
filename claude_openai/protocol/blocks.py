"""The blocks that turns are made of: what Claude is given, whichever API the client spoke.

Knows their form and nothing of where they come from. Blocks are compared to find the conversation that a request
continues, so equal content must be equal blocks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = [
    "Block",
    "MediaBlock",
    "ResultPart",
    "TextBlock",
    "ThinkingBlock",
    "ToolResultBlock",
    "ToolUseBlock",
    "canonical_arguments",
]


@dataclass(frozen=True, slots=True)
class TextBlock:
    """One piece of text, verbatim; never empty and, but in a tool's result, never only whitespace."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaBlock:
    """A picture or a document.

    Attributes:
        media_type: what `data` is; "" if it is a URL.
        data: base64; the text itself for text/plain; or an https URL that Claude is to fetch.
        name: the file's name, "" if it has none.
    """

    kind: Literal["image", "document"]
    media_type: str
    data: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A call of the assistant. `arguments` is compact JSON with sorted keys, so that equal calls are equal."""

    id: str
    name: str
    arguments: str


ResultPart: TypeAlias = TextBlock | MediaBlock


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a call gave: texts, verbatim, none of them empty, and pictures; there may be nothing."""

    call_id: str
    parts: tuple[ResultPart, ...]


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """Claude's own thinking, signed, as the JSON of the block; never from a client, and never compared.

    `model` is the full id of the model that thought: another does not get it.
    """

    json: str
    model: str


Block: TypeAlias = ThinkingBlock | TextBlock | MediaBlock | ToolUseBlock | ToolResultBlock


def canonical_arguments(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, separators=(",", ":"), sort_keys=True)
