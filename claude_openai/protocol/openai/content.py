"""Converts the content of OpenAI's messages to blocks for Claude.

`content` may be a string, an array of parts, or absent; the text of an assistant may be in `refusal`. Parts in the
format of Claude's own API are accepted too, because some clients send them. Audio is rejected, because an answer that
ignores it would be wrong. Pictures and files are read by `media.py`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from claude_openai.protocol.limits.json_size import marks
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.openai.bad_request import missing, unsupported_parameter, unsupported_value, wrong_type
from claude_openai.protocol.openai.json_body import load_finite
from claude_openai.protocol.openai.media import anthropic_media, file_part, image_part
from claude_openai.protocol.turn.blocks import (
    Block,
    MediaBlock,
    ResultPart,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)

__all__ = [
    "assistant_blocks",
    "call_arguments",
    "result_block",
    "system_texts",
    "texts_of",
    "tool_result_block",
    "tool_use_blocks",
    "user_blocks",
]

# Steps of the budget for each value in the arguments of a call.
MARK_STEPS: Final = 2

Part: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Part, str], Block | None]


def system_texts(message: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """Return the texts of a system or developer message.

    Raises:
        BadRequest: a part is malformed or unsupported; `param` names it.
    """
    return texts_of(message.get("content"), f"{path}.content")


def texts_of(content: Any, place: str) -> tuple[str, ...]:
    """Return the texts of content that may only contain text, without blank ones.

    Raises:
        BadRequest: a part is malformed or unsupported; `param` names it.
    """
    return tuple(block.text for block in _content_blocks(content, place, _SYSTEM_PARTS) if isinstance(block, TextBlock))


def user_blocks(message: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    """Return the texts, pictures and files of a user message, in order; none if its content is null, absent or blank.

    Blank texts are omitted because Claude's API rejects text blocks without a visible character.

    Args:
        message: the message object.
        path: its path in the request, like `messages[2]`.

    Raises:
        BadRequest: a part is malformed or unsupported; `param` names it.
    """
    return _blocks(message, path, _USER_PARTS)


def assistant_blocks(message: Mapping[str, Any], path: str) -> tuple[Block, ...]:
    """Return the content of an assistant message, or its `refusal` if there is no content.

    Raises:
        BadRequest: also for a reference to earlier audio.
    """
    if message.get("audio"):
        raise unsupported_parameter(f"{path}.audio", "Earlier audio is not stored. Send its transcript as text.")
    blocks = _blocks(message, path, _ASSISTANT_PARTS)
    refusal = message.get("refusal")
    if blocks or refusal is None:
        return blocks
    if not isinstance(refusal, str):
        raise wrong_type(f"{path}.refusal", "a string", refusal)
    return (TextBlock(refusal),) if refusal.strip() else ()


def tool_use_blocks(message: Mapping[str, Any], path: str, budget: Budget) -> tuple[ToolUseBlock, ...]:
    """Return the tool calls of an assistant message, in order.

    Args:
        message: the message object.
        path: its path in the request.
        budget: the budget of the request.

    Raises:
        BadRequest: a call is malformed; `param` names the part.
    """
    calls = message.get("tool_calls")
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise wrong_type(f"{path}.tool_calls", "an array", calls)
    return tuple(_tool_use(call, f"{path}.tool_calls[{index}]", budget) for index, call in enumerate(calls))


def _tool_use(call: Any, where: str, budget: Budget) -> ToolUseBlock:
    if not isinstance(call, dict):
        raise wrong_type(where, "an object", call)
    if (call.get("type") or "function") != "function":
        raise unsupported_value(f"{where}.type", "Only calls of type 'function' are supported.")
    function = call.get("function")
    if not isinstance(function, dict):
        raise wrong_type(f"{where}.function", "an object with 'name' and 'arguments'", function)
    for place, value in ((f"{where}.id", call.get("id")), (f"{where}.function.name", function.get("name"))):
        if not isinstance(value, str) or not value:
            raise wrong_type(place, "a string", value)
    arguments = call_arguments(function.get("arguments"), f"{where}.function.arguments", budget)
    return ToolUseBlock.of(call["id"], function["name"], arguments)


def call_arguments(text: Any, place: str, budget: Budget) -> dict[str, Any]:
    """Return the arguments of a call. A value that is not a JSON object is wrapped under the key `arguments`.

    Raises:
        BadRequest: `text` is neither a string, nor an object, nor null, or has too many values for the budget of the
            request.
    """
    if isinstance(text, dict):
        return text
    if text is not None and not isinstance(text, str):
        raise wrong_type(place, "a string of JSON", text)
    text = text or "{}"
    try:
        budget.spend(MARK_STEPS * marks(text) + len(text) // 100)
        loaded = load_finite(text)
    except TooMuchWork:
        message = f"'{place}' has too many values, together with the arguments of the calls before it. Send fewer."
        raise BadRequest(message, code="invalid_value", param=place) from None
    except (ValueError, RecursionError):
        loaded = None
    # Other models write arguments that are not a JSON object; Claude's API accepts only objects.
    return loaded if isinstance(loaded, dict) else {"arguments": text}


def tool_result_block(message: Mapping[str, Any], path: str) -> ToolResultBlock:
    """Return the result in a message of role `tool`.

    Raises:
        BadRequest: a part is malformed or unsupported; `param` names it.
    """
    place = f"{path}.content"
    return result_block(message.get("tool_call_id"), f"{path}.tool_call_id", message.get("content"), place)


def result_block(call_id: Any, id_place: str, content: Any, place: str) -> ToolResultBlock:
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
        text = content if isinstance(content, str) else _as_json(content)
        return ToolResultBlock(call_id, (TextBlock(text),) if text else ())
    read = _read_parts(content, place, _RESULT_PARTS)
    return ToolResultBlock(
        call_id, tuple(part for part in read if isinstance(part, ResultPart) and part != TextBlock(""))
    )


def _blocks(message: Mapping[str, Any], path: str, readers: Mapping[str, Reader]) -> tuple[Block, ...]:
    return _content_blocks(message.get("content"), f"{path}.content", readers)


def _content_blocks(content: Any, place: str, readers: Mapping[str, Reader]) -> tuple[Block, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextBlock(content),) if content.strip() else ()
    if not isinstance(content, list):
        raise wrong_type(place, "a string or an array of parts", content)
    blocks = _read_parts(content, place, readers)
    return tuple(block for block in blocks if not isinstance(block, TextBlock) or block.text.strip())


def _read_parts(parts: list[Any], path: str, readers: Mapping[str, Reader]) -> Iterator[Block]:
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


def _kinds(readers: Mapping[str, Reader]) -> str:
    return f"Send one of type {', '.join(map(repr, readers))}."


def _text(key: str) -> Reader:
    def read(part: Part, where: str) -> TextBlock:
        text = part.get(key)
        if text is None:
            raise missing(f"{where}.{key}", "Send the text of the part.")
        if not isinstance(text, str):
            raise wrong_type(f"{where}.{key}", "a string", text)
        return TextBlock(text)

    return read


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and bool(value.get("type") or "text" in value)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json(part: Part, where: str) -> TextBlock:
    """Convert a part with JSON, or a link of an MCP server, to text."""
    value = next((part[key] for key in ("json", "value", "data") if key in part), part)
    return TextBlock(value if isinstance(value, str) else _as_json(value))


def _mcp_resource(part: Part, where: str) -> Block:
    """Read an embedded resource of an MCP server: a text, or a file in base64."""
    resource, place = part.get("resource"), f"{where}.resource"
    if not isinstance(resource, dict):
        raise wrong_type(place, "an object with 'text' or 'blob'", resource)
    if isinstance(resource.get("text"), str):
        return TextBlock(resource["text"])
    source = {"data": resource.get("blob"), "media_type": resource.get("mimeType")}
    return anthropic_media({"type": "document", "source": source}, place)


def _picture(part: Part, where: str) -> MediaBlock:
    """Read a picture in the format of Claude's API or of MCP servers."""
    if part.get("source") is None and part.get("data") is not None:
        return anthropic_media({"type": "image", "source": {"data": part["data"]}}, where)
    return anthropic_media(part, where)


def _anthropic_tool_use(part: Part, where: str) -> ToolUseBlock:
    for key in ("id", "name"):
        if not isinstance(part.get(key), str) or not part[key]:
            raise wrong_type(f"{where}.{key}", "a string", part.get(key))
    if not isinstance(part.get("input"), dict):
        raise wrong_type(f"{where}.input", "an object", part.get("input"))
    return ToolUseBlock.of(part["id"], part["name"], part["input"])


def _anthropic_tool_result(part: Part, where: str) -> ToolResultBlock:
    block = result_block(part.get("tool_use_id"), f"{where}.tool_use_id", part.get("content"), f"{where}.content")
    return replace(block, is_error=part.get("is_error") is True)


def _nothing(part: Part, where: str) -> None:
    """Drop thinking that a client sends back: Claude's API accepts it only with its signature."""


# The Responses API names its parts input_text and output_text; clients that speak both mix them up.
_SYSTEM_PARTS: Final[Mapping[str, Reader]] = dict.fromkeys(("text", "input_text", "output_text"), _text("text"))
_USER_PARTS: Final[Mapping[str, Reader]] = {
    **_SYSTEM_PARTS,
    **dict.fromkeys(("image_url", "input_image"), image_part),
    **dict.fromkeys(("file", "input_file"), file_part),
    **dict.fromkeys(("image", "document"), anthropic_media),
    "tool_result": _anthropic_tool_result,
}
_ASSISTANT_PARTS: Final[Mapping[str, Reader]] = {
    **_SYSTEM_PARTS,
    "refusal": _text("refusal"),
    "tool_use": _anthropic_tool_use,
    **dict.fromkeys(("thinking", "redacted_thinking", "reasoning"), _nothing),
}
_RESULT_PARTS: Final[Mapping[str, Reader]] = {
    **_SYSTEM_PARTS,
    **dict.fromkeys(("image_url", "input_image"), image_part),
    **dict.fromkeys(("file", "input_file"), file_part),
    "image": _picture,
    "document": anthropic_media,
    "resource": _mcp_resource,
    **dict.fromkeys(("json", "resource_link"), _json),
}
