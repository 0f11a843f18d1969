"""Reads the text of an answer from the bytes of its body: of each API, whole or streamed, complete or not."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["answered_text", "has_error_event", "is_last_event"]

_LAST_EVENT: Final = re.compile(
    rb"^(data: \[DONE\]|event: (message_stop|response\.(completed|incomplete|failed)))$", re.MULTILINE
)

_ERROR_EVENT: Final = re.compile(rb'^(data: \{"error":|event: (error|response\.failed)$)', re.MULTILINE)


def has_error_event(data: bytes) -> bool:
    """Return whether a part of a stream has an error instead of an answer."""
    return _ERROR_EVENT.search(data) is not None


def is_last_event(data: bytes) -> bool:
    """Return whether a part of a stream has the event after which clients read no further."""
    return _LAST_EVENT.search(data) is not None


def answered_text(body: bytes) -> str:
    """Return the text of an answer, as far as it was sent."""
    if body.startswith(b"{"):
        whole = _object(body)
        return "".join(_whole_texts(whole))
    return "".join(text for line in body.split(b"\n") if line.startswith(b"data: {") for text in _deltas(line[6:]))


def _deltas(data: bytes) -> Iterator[str]:
    event = _object(data)
    if event.get("type") == "response.output_text.delta":
        yield str(event.get("delta"))
    if event.get("type") == "content_block_delta" and event["delta"].get("type") == "text_delta":
        yield str(event["delta"]["text"])
    for choice in event.get("choices") or ():
        text = (choice.get("delta") or choice).get("content", choice.get("text"))
        if isinstance(text, str):
            yield text


def _whole_texts(answer: Mapping[str, Any]) -> Iterator[str]:
    for choice in answer.get("choices") or ():
        text = (choice.get("message") or choice).get("content", choice.get("text"))
        if isinstance(text, str):
            yield text
    for item in (answer, *(answer.get("output") or ())):
        for part in item.get("content") or ():
            if part.get("type") in ("text", "output_text"):
                yield str(part.get("text"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
