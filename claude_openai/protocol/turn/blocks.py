"""Messages and their blocks, as Claude gets them, independent of the client's API.

Blocks are compared to find the conversation that a request continues, so equal content must be equal blocks.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from claude_openai.protocol.limits.json_values import with_whole_numbers

__all__ = [
    "Block",
    "MediaBlock",
    "Message",
    "ResultPart",
    "Role",
    "TextBlock",
    "ThinkingBlock",
    "ToolResultBlock",
    "ToolUseBlock",
    "canonical_arguments",
]


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A text, verbatim. It is never empty, and never only whitespace except in the result of a tool."""

    text: str


@dataclass(frozen=True, slots=True)
class MediaBlock:
    """A picture or a document.

    Attributes:
        media_type: the type of `data`; "" if it is a URL.
        data: base64; for text/plain the text itself; or an https URL, which Claude fetches.
        name: the name of the file, "" if unknown.
    """

    kind: Literal["image", "document"]
    media_type: str
    data: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A call of the assistant.

    Attributes:
        arguments: compact JSON in canonical form, so that equal calls compare equal.
        written: the same JSON with the keys in the order of the request. It is sent to Claude, because the prompt cache
            contains the order in which Claude wrote them. "" if equal to `arguments`; not compared.
    """

    id: str
    name: str
    arguments: str
    written: str = field(default="", compare=False)

    @classmethod
    def of(cls, call_id: str, name: str, arguments: Mapping[str, Any]) -> "ToolUseBlock":
        canonical, written = canonical_arguments(arguments), _AS_WRITTEN.encode(arguments)
        return cls(call_id, name, canonical, "" if written == canonical else written)


ResultPart: TypeAlias = TextBlock | MediaBlock


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """The result of a call: texts, verbatim and not empty, and pictures; it may be empty.

    `is_error` is only known for results in the format of Claude's API; OpenAI's API has no field for it.
    """

    call_id: str
    parts: tuple[ResultPart, ...]
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """Claude's own thinking, signed, as the JSON of the block; never compared.

    `model` is the full id of the model that produced it; it is not sent to other models. From a client, which does not
    name it, it is the model of the request.
    """

    json: str
    model: str


Block: TypeAlias = ThinkingBlock | TextBlock | MediaBlock | ToolUseBlock | ToolResultBlock


# Above this, JavaScript's numbers cannot represent every integer.
_EXACT = 2**53
# Shared, because `json.dumps` with these arguments creates an encoder for each call.
_AS_WRITTEN = json.JSONEncoder(separators=(",", ":"))
_CANONICAL = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)


Role: TypeAlias = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """The content of adjacent messages of one role; each text is a separate block."""

    role: Role
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        """Return the texts, without calls and results."""
        return "".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    @property
    def has_results(self) -> bool:
        return any(isinstance(block, ToolResultBlock) for block in self.blocks)


def canonical_arguments(arguments: Mapping[str, Any]) -> str:
    """Return compact JSON with sorted keys, and with whole floats as integers, as JavaScript clients send them back.

    Raises:
        ValueError: a number is not finite.
    """
    return _CANONICAL.encode(with_whole_numbers(arguments, below=_EXACT))
