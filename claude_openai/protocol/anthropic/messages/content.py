"""Converts the `messages` of Claude's API to the system prompt, the history, and the prompt.

Blocks of tools that Anthropic runs are left out, and so is thinking without a signature: they are in sessions that
began elsewhere, and users cannot remove them. `cache_control` is read in the module of that name.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_openai.protocol.turn.blocks import Block, MediaBlock, Role, TextBlock, ThinkingBlock
from claude_openai.protocol.turn.history import Transcript
from claude_openai.protocol.wire.bad_request import missing, unsupported_parameter, unsupported_value, wrong_type
from claude_openai.protocol.wire.content import Part, Readers, read_content, text_in, tool_result, tool_use
from claude_openai.protocol.wire.field_types import one_of
from claude_openai.protocol.wire.media import anthropic_media
from claude_openai.protocol.wire.transcript import transcript_of
from claude_openai.protocol.wire.turns import RequestItem, alternating

__all__ = ["read_messages", "system_texts"]

_ROLES: Final = ("user", "assistant", "system")
_SOURCES: Final = ("base64", "url", "text")
_LEFT_OUT: Final = (
    *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "tool_search_tool_result"),
    *("code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result"),
    *("mcp_tool_use", "mcp_tool_result", "compaction"),
)


def system_texts(content: Any, place: str) -> tuple[str, ...]:
    """Return the texts of the field `system`, or of a system message.

    Raises:
        BadRequest: a block is malformed or unsupported; `param` names it.
    """
    return tuple(block.text for block in read_content(content, place, _TEXTS) if isinstance(block, TextBlock))


def read_messages(messages: Sequence[Any], system: Sequence[str], model: str) -> Transcript:
    """Turn the `messages` of a request into a transcript; texts stay verbatim and in order.

    Args:
        messages: the messages.
        system: the texts of the field `system`.
        model: full id of the requested model, for thinking.

    Raises:
        BadRequest: a message is malformed or unsupported; `param` names the part of it.
    """
    texts = list(system)
    items: list[RequestItem] = []
    thinking = _Thinking(model)
    answers: Readers = {**_ANSWERS, "thinking": thinking, "redacted_thinking": thinking}
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role, content = _role(message, path), message.get("content")
        if role == "system":
            found = system_texts(content, f"{path}.content")
            if items:
                items.append(RequestItem("user", path, "content", tuple(map(TextBlock, found)), of_system=True))
            else:
                texts.extend(found)
            continue
        if content is None:
            raise missing(f"{path}.content", "Send a string or an array of blocks.")
        side: Role = "user" if role == "user" else "assistant"
        blocks = read_content(content, f"{path}.content", _QUESTIONS if side == "user" else answers)
        items.append(RequestItem(side, path, "content", _with_more_than_thinking(blocks)))
    return transcript_of(texts, alternating(items), "messages")


def _role(message: Any, path: str) -> str:
    if not isinstance(message, dict):
        raise wrong_type(path, "an object with 'role' and 'content'", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{path}.role", "Send 'user', 'assistant' or 'system'.")
    one_of(*_ROLES)(f"{path}.role", role)
    return str(role)


def _with_more_than_thinking(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Return the blocks, or none if they are only thinking, which is not an answer."""
    return () if all(isinstance(block, ThinkingBlock) for block in blocks) else blocks


class _Thinking:
    """Reads thinking of the model."""

    def __init__(self, model: str) -> None:
        self._model = model

    def __call__(self, part: Part, where: str) -> ThinkingBlock | None:
        keys = ("data",) if part["type"] == "redacted_thinking" else ("thinking", "signature")
        for key in keys:
            if not isinstance(part.get(key), str):
                raise wrong_type(f"{where}.{key}", "a string", part.get(key))
        if not part[keys[-1]]:
            return None
        return ThinkingBlock(json.dumps({"type": part["type"], **{key: part[key] for key in keys}}), self._model)


def _media(part: Part, where: str) -> MediaBlock:
    source = part.get("source")
    kind = source.get("type") if isinstance(source, dict) else None
    if kind is not None and kind not in _SOURCES:
        message = f"Only sources of type {', '.join(map(repr, _SOURCES))} are supported. Send the data itself."
        raise unsupported_value(f"{where}.source.type", message)
    citations = part.get("citations")
    if isinstance(citations, Mapping) and citations.get("enabled"):
        raise unsupported_parameter(f"{where}.citations", "Citations are not supported. Omit the field.")
    if part.get("context"):
        raise unsupported_parameter(f"{where}.context", "Send the context of a document as text before it.")
    return anthropic_media(part, where)


def _nothing(part: Part, where: str) -> None:
    """Leave the block out."""


_TEXTS: Final[Readers] = {"text": text_in("text")}
_RESULTS: Final[Readers] = {**_TEXTS, "image": _media, "document": _media}
_QUESTIONS: Final[Readers] = {**_RESULTS, "tool_result": tool_result(_RESULTS)}
_ANSWERS: Final[Readers] = {**_TEXTS, "tool_use": tool_use, **dict.fromkeys(_LEFT_OUT, _nothing)}
