"""Reads content: a string, an array of parts, or nothing; and calls and their results in the format of Claude's API.

Which parts are read where is decided by each API. Pictures and files are read by `media.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.turn.blocks import Block, ResultPart, TextBlock, ToolResultBlock, ToolUseBlock
from claude_openai.protocol.wire.bad_request import missing, unsupported_value, wrong_type

__all__ = ["Part", "Reader", "Readers", "as_json", "read_content", "result_block", "text_in", "tool_result", "tool_use"]

Part: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Part, str], Block | None]
# By the type of the part.
Readers: TypeAlias = Mapping[str, Reader]


def read_content(content: Any, place: str, readers: Readers) -> tuple[Block, ...]:
    """Return the blocks of content, without blank texts, which Claude's API rejects.

    Raises:
        BadRequest: a part is malformed or unsupported; `param` names it.
    """
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextBlock(content),) if content.strip() else ()
    if not isinstance(content, list):
        raise wrong_type(place, "a string or an array of parts", content)
    blocks = _read_parts(content, place, readers)
    return tuple(block for block in blocks if not isinstance(block, TextBlock) or block.text.strip())


def _read_parts(parts: list[Any], path: str, readers: Readers) -> Iterator[Block]:
    for index, part in enumerate(parts):
        where = f"{path}[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object like {'type': 'text', 'text': ...}", part)
        kind = part.get("type") or ("text" if "text" in part else None)
        if kind is None:
            raise missing(f"{where}.type", _kinds(readers))
        if not isinstance(kind, str):
            raise wrong_type(f"{where}.type", "a string", kind)
        if kind not in readers:
            message = f"Parts of type {shorten(kind)} are not supported here. {_kinds(readers)}"
            raise unsupported_value(f"{where}.type", message)
        block = readers[kind](part, where)
        if block is not None:
            yield block


def _kinds(readers: Readers) -> str:
    return f"Send one of type {', '.join(map(repr, readers))}."


def text_in(key: str) -> Reader:
    """Return the reader of a part whose text is in this key."""

    def read(part: Part, where: str) -> TextBlock:
        text = part.get(key)
        if text is None:
            raise missing(f"{where}.{key}", "Send the text of the part.")
        if not isinstance(text, str):
            raise wrong_type(f"{where}.{key}", "a string", text)
        return TextBlock(text)

    return read


def result_block(call_id: Any, id_place: str, content: Any, place: str, readers: Readers) -> ToolResultBlock:
    """Return the result of a call, from its id and its content.

    Raises:
        BadRequest: the id or the content is malformed or unsupported; `param` is `id_place`, or is below `place`.
    """
    if call_id is None:
        raise missing(id_place, "Send the id of the call to which this result belongs.")
    if not isinstance(call_id, str):
        raise wrong_type(id_place, "a string", call_id)
    if content in (None, []):
        return ToolResultBlock(call_id, ())
    if not isinstance(content, list) or not any(map(_is_part, content)):
        text = content if isinstance(content, str) else as_json(content)
        return ToolResultBlock(call_id, (TextBlock(text),) if text else ())
    read = _read_parts(content, place, readers)
    return ToolResultBlock(
        call_id, tuple(part for part in read if isinstance(part, ResultPart) and part != TextBlock(""))
    )


def tool_use(part: Part, where: str) -> ToolUseBlock:
    """Read a call in the format of Claude's API.

    Raises:
        BadRequest: a field is malformed; `param` names it.
    """
    for key in ("id", "name"):
        if not isinstance(part.get(key), str) or not part[key]:
            raise wrong_type(f"{where}.{key}", "a string", part.get(key))
    if not isinstance(part.get("input"), dict):
        raise wrong_type(f"{where}.input", "an object", part.get("input"))
    return ToolUseBlock.of(part["id"], part["name"], part["input"])


def tool_result(readers: Readers) -> Reader:
    """Return the reader of a result in the format of Claude's API."""

    def read(part: Part, where: str) -> ToolResultBlock:
        content = part.get("content")
        block = result_block(part.get("tool_use_id"), f"{where}.tool_use_id", content, f"{where}.content", readers)
        return replace(block, is_error=part.get("is_error") is True)

    return read


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("type") or "text" in value)


def as_json(value: Any) -> str:
    """Return a value as the text of a part."""
    return json.dumps(value, ensure_ascii=False)
