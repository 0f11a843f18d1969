"""Responses with a JSON body."""

from quart import Response
from quart_trio.wrappers import TrioResponse

from claude_openai.protocol.openai.sse import encode_json

__all__ = ["json_response"]


def json_response(value: object, status: int = 200) -> Response:
    return TrioResponse(encode_json(value), status=status, headers={"content-type": "application/json"})
