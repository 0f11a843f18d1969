"""Responses with a JSON body, and the headers of a stream of events."""

from typing import Final

from quart import Response
from quart_trio.wrappers import TrioResponse

from claude_openai.protocol.wire.sse import encode_json

__all__ = ["EVENT_STREAM", "json_response"]

EVENT_STREAM: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


def json_response(value: object, status: int = 200) -> Response:
    return TrioResponse(encode_json(value), status=status, headers={"content-type": "application/json"})
