"""Converts the content of OpenAI's messages to blocks for Claude.

`content` may be a string, an array of parts, or absent; the text of an assistant may be in `refusal`. Parts in the
format of Claude's own API are accepted too, because some clients send them. Audio is rejected, because an answer that
ignores it would be wrong. Pictures and files are read by `media.py`.
"""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.budget import Budget, TooMuchWork
from claude_openai.protocol.limits.json_size import marks
from claude_openai.protocol.turn.blocks import (
    Block,
    MediaBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_openai.protocol.wire import content as common
from claude_openai.protocol.wire.bad_request import unsupported_parameter, unsupported_value, wrong_type
from claude_openai.protocol.wire.content import Part, Readers, as_json, read_content, text_in, tool_result, tool_use
from claude_openai.protocol.wire.json_body import load_finite
from claude_openai.protocol.wire.media import anthropic_media, file_part, image_part

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
    return tuple(block.text for block in read_content(content, place, _SYSTEM_PARTS) if isinstance(block, TextBlock))


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
    return common.result_block(call_id, id_place, content, place, _RESULT_PARTS)


def _blocks(message: Mapping[str, Any], path: str, readers: Readers) -> tuple[Block, ...]:
    return read_content(message.get("content"), f"{path}.content", readers)


def _json(part: Part, where: str) -> TextBlock:
    """Convert a part with JSON, or a link of an MCP server, to text."""
    value = next((part[key] for key in ("json", "value", "data") if key in part), part)
    return TextBlock(value if isinstance(value, str) else as_json(value))


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


def _nothing(part: Part, where: str) -> None:
    """Drop thinking that a client sends back: Claude's API accepts it only with its signature."""


# The Responses API names its parts input_text and output_text; clients that speak both mix them up.
_SYSTEM_PARTS: Final[Readers] = dict.fromkeys(("text", "input_text", "output_text"), text_in("text"))
_RESULT_PARTS: Final[Readers] = {
    **_SYSTEM_PARTS,
    **dict.fromkeys(("image_url", "input_image"), image_part),
    **dict.fromkeys(("file", "input_file"), file_part),
    "image": _picture,
    "document": anthropic_media,
    "resource": _mcp_resource,
    **dict.fromkeys(("json", "resource_link"), _json),
}
_USER_PARTS: Final[Readers] = {
    **_SYSTEM_PARTS,
    **dict.fromkeys(("image_url", "input_image"), image_part),
    **dict.fromkeys(("file", "input_file"), file_part),
    **dict.fromkeys(("image", "document"), anthropic_media),
    "tool_result": tool_result(_RESULT_PARTS),
}
_ASSISTANT_PARTS: Final[Readers] = {
    **_SYSTEM_PARTS,
    "refusal": text_in("refusal"),
    "tool_use": tool_use,
    **dict.fromkeys(("thinking", "redacted_thinking", "reasoning"), _nothing),
}
