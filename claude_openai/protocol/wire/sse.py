"""Server-sent events as bytes: the frames of a stream, and the JSON inside them.

A frame is one `data:` line and an empty line. Clients do not use `id:` or `retry:`, nor `event:` for chat completions,
so these are not written.

All JSON is compact and pure ASCII, on purpose:
- U+2028, U+2029 and U+0085 stay escaped. Clients that split decoded text with a general "split lines" would split it
  there.
- A lone surrogate, half of a pair that Claude streamed in two deltas, has no UTF-8 form. Escaped, it can be sent, and a
  client that joins the deltas as UTF-16 (JavaScript) gets the whole character.
- No character is split where the transport splits the bytes.
The cost is size for text that is mostly not ASCII: six bytes where UTF-8 takes two or three.
"""

import json
from collections.abc import Mapping
from typing import Any

from claude_openai.errors import ApiError

__all__ = ["COMMENT", "DONE", "data_frame", "encode_json", "error_frame", "typed_frame"]

DONE = b"data: [DONE]\n\n"
COMMENT = b": keep-alive\n\n"

_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def encode_json(value: object) -> bytes:
    """Encode a value as compact ASCII JSON, for frames and whole bodies.

    Raises:
        ValueError: `value` contains NaN or an infinity, which JSON cannot express.
        TypeError: `value` contains an object that JSON cannot express.
    """
    return _ENCODER.encode(value).encode("ascii")


def data_frame(payload: bytes | Mapping[str, Any]) -> bytes:
    """Return one event: `data: <payload>` and the empty line that ends it.

    Args:
        payload: a JSON object, or encoded JSON.

    Raises:
        ValueError: the bytes contain a line break, which would split the event; or see `encode_json`.
    """
    if not isinstance(payload, bytes):
        payload = encode_json(payload)
    elif b"\n" in payload or b"\r" in payload:
        raise ValueError("the data of a frame must be one line")
    return b"data: " + payload + b"\n\n"


def error_frame(error: ApiError) -> bytes:
    """Return the error object as one event, for a failure after the status line was sent."""
    return data_frame(error.body())


def typed_frame(payload: Mapping[str, Any]) -> bytes:
    """Return one event of the Responses API, with its `type` in an `event:` line too.

    Raises:
        ValueError, TypeError: as `encode_json`.
    """
    return b"event: " + str(payload["type"]).encode("ascii") + b"\n" + data_frame(payload)
