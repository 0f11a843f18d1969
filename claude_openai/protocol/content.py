"""OpenAI message content -> the text blocks Claude is given.

Knows the shapes `content` may have (a string, an array of parts, nothing) and that an assistant's words may stand in
`refusal`. It deliberately does not know the order of messages (`history.py`) or the fields around them (`request.py`).
What it cannot carry (images, sound, files, tool calls) is refused by name: leaving it out would answer another
question.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from claude_openai.protocol.refusals import missing, shorten, unsupported_parameter, unsupported_value, wrong_type

# The Responses API names its parts input_text and output_text; clients that speak both mix them up.
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class TextBlock:
    """One piece of text, verbatim; never empty and never only whitespace."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A call of the assistant. `arguments` is compact JSON with sorted keys, so that equal calls are equal."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a call gave: texts, verbatim, none of them empty; there may be none."""

    call_id: str
    texts: tuple[str, ...]


Block: TypeAlias = TextBlock | ToolUseBlock | ToolResultBlock


def content_blocks(message: Mapping[str, Any], path: str) -> tuple[TextBlock, ...]:
    """The texts of one message's `content`, in order; none if it is null, absent or blank.

    Blank texts are left out because Claude's API refuses text blocks without a visible character.

    Args:
        message: the message object; its role decides whether `refusal` parts are allowed.
        path: where it stands in the request, like `messages[2]`.

    Raises:
        BadRequest: naming the exact place of what is malformed or cannot be carried.
    """
    content = message.get("content")
    if content is None:
        return ()
    if isinstance(content, str):
        return _without_blanks([content])
    if isinstance(content, list):
        return _without_blanks(_part_texts(content, f"{path}.content", message.get("role") == "assistant"))
    raise wrong_type(f"{path}.content", "a string or an array of text parts", content)


def assistant_blocks(message: Mapping[str, Any], path: str) -> tuple[TextBlock, ...]:
    """The texts an assistant message said; its `refusal` stands in when there is no other text.

    Raises:
        BadRequest: also for a function call or a reference to earlier audio.
    """
    for key in ("function_call", "audio"):
        if message.get(key):
            advice = (
                f"{key!r} in messages is not supported yet by this version. Send only text, or leave the message out."
            )
            raise unsupported_parameter(f"{path}.{key}", advice)
    blocks = content_blocks(message, path)
    refusal = message.get("refusal")
    if blocks or refusal is None:
        return blocks
    if not isinstance(refusal, str):
        raise wrong_type(f"{path}.refusal", "a string", refusal)
    return _without_blanks([refusal])


def tool_use_blocks(message: Mapping[str, Any], path: str) -> tuple[ToolUseBlock, ...]:
    """The calls of an assistant message, in order.

    Raises:
        BadRequest: naming the exact place of what is malformed.
    """
    calls = message.get("tool_calls")
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise wrong_type(f"{path}.tool_calls", "an array", calls)
    return tuple(_tool_use(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(calls))


def _tool_use(call: Any, where: str) -> ToolUseBlock:
    if not isinstance(call, dict):
        raise wrong_type(where, "an object", call)
    if call.get("type", "function") != "function":
        raise unsupported_value(f"{where}.type", "Only calls of type 'function' can be carried.")
    function = call.get("function")
    if not isinstance(function, dict):
        raise wrong_type(f"{where}.function", "an object with 'name' and 'arguments'", function)
    for place, value in ((f"{where}.id", call.get("id")), (f"{where}.function.name", function.get("name"))):
        if not isinstance(value, str) or not value:
            raise wrong_type(place, "a string", value)
    return ToolUseBlock(call["id"], function["name"], _arguments(function.get("arguments"), where))


def _arguments(text: Any, where: str) -> str:
    if text is not None and not isinstance(text, str):
        raise wrong_type(f"{where}.function.arguments", "a string of JSON", text)
    try:
        loaded = json.loads(text or "{}")
        json.dumps(loaded, allow_nan=False)  # ValueError for numbers that Python reads and JSON does not have
    except (ValueError, RecursionError):
        loaded = None
    # Other models write arguments that are no JSON object; Claude's API takes nothing else.
    return canonical_arguments(loaded if isinstance(loaded, dict) else {"arguments": text})


def canonical_arguments(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, separators=(",", ":"), sort_keys=True)


def tool_result_block(message: Mapping[str, Any], path: str) -> ToolResultBlock:
    """The result in a message of role `tool`.

    Raises:
        BadRequest: naming the exact place of what is malformed or cannot be carried.
    """
    call_id, content = message.get("tool_call_id"), message.get("content")
    if call_id is None:
        raise missing(f"{path}.tool_call_id", "Send the id of the call that this is the result of.")
    if not isinstance(call_id, str):
        raise wrong_type(f"{path}.tool_call_id", "a string", call_id)
    if content is not None and not isinstance(content, (str, list)):
        raise wrong_type(f"{path}.content", "a string or an array of text parts", content)
    texts = [content] if isinstance(content, str) else _part_texts(content or [], f"{path}.content", False)
    return ToolResultBlock(call_id, tuple(text for text in texts if text))


def _without_blanks(texts: Iterator[str] | list[str]) -> tuple[TextBlock, ...]:
    return tuple(TextBlock(text) for text in texts if text.strip())


def _part_texts(parts: list[Any], path: str, from_assistant: bool) -> Iterator[str]:
    for index, part in enumerate(parts):
        where = f"{path}[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object like {'type': 'text', 'text': ...}", part)
        key = _text_key(part, where, from_assistant)
        text = part.get(key)
        if text is None:
            raise missing(f"{where}.{key}", "Send the text of the part.")
        if not isinstance(text, str):
            raise wrong_type(f"{where}.{key}", "a string", text)
        yield text


def _text_key(part: Mapping[str, Any], where: str, from_assistant: bool) -> str:
    """The key that holds the part's text."""
    kind = part.get("type")
    if kind is None:
        raise missing(f"{where}.type", "Send 'text'.")
    if not isinstance(kind, str):
        raise wrong_type(f"{where}.type", "a string", kind)
    if kind in _TEXT_PARTS:
        return "text"
    if kind == "refusal" and from_assistant:
        return "refusal"
    message = (
        f"Content parts of type {shorten(kind)} are not supported here by this version. Send parts of type 'text'."
    )
    raise unsupported_value(f"{where}.type", message)
