"""OpenAI message content -> the text blocks Claude is given.

Knows the shapes `content` may have (a string, an array of parts, nothing) and that an assistant's words may stand in
`refusal`. It deliberately does not know the order of messages (`history.py`) or the fields around them (`request.py`).
What it cannot carry (images, sound, files, tool calls) is refused by name: leaving it out would answer another
question.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from claude_openai.protocol.refusals import missing, shorten, unsupported_parameter, unsupported_value, wrong_type

# The Responses API names its parts input_text and output_text; clients that speak both mix them up.
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class TextBlock:
    """One piece of text, verbatim; never empty and never only whitespace."""

    text: str


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
        BadRequest: also for tool calls, a function call or a reference to earlier audio.
    """
    tool_calls = message.get("tool_calls")
    if tool_calls is not None and not isinstance(tool_calls, list):
        raise wrong_type(f"{path}.tool_calls", "an array", tool_calls)
    for key in ("tool_calls", "function_call", "audio"):
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
