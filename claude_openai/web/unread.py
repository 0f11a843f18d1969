"""The answer to what never became a request: bytes that are no HTTP, headers that are too long, WebSockets.

It never reaches the app, and has all the same an error object, an id, and a line in the log. Knows no connection.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from claude_openai.errors import ApiError, BadRequest, Forbidden
from claude_openai.logs.log import Log
from claude_openai.protocol.sse import encode_json

__all__ = ["NO_WEBSOCKETS", "unread_answer"]

NO_WEBSOCKETS: Final = Forbidden(
    "There are no WebSockets here. Send POST requests; with 'stream': true the answer comes as server-sent events.",
    code="no_websockets",
)
_NO_HTTP: Final = BadRequest(
    "What came is no HTTP/1.1 that can be read. If the address begins with https://, take http://.", code="invalid_http"
)
_REASONS: Final[Mapping[int, ApiError]] = {
    431: BadRequest("The headers of the request are too long. Send fewer, or shorter ones.", code="headers_too_long"),
    501: BadRequest("Only the transfer encoding 'chunked' is known here. Send that, or a length.", code="invalid_http"),
}


def unread_answer(status: int, log: Log, error: ApiError | None = None) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body.

    Args:
        status: of the answer.
        log: told of it.
        error: what is said; by default what the status means.
    """
    said = error or _REASONS.get(status, _NO_HTTP)
    request_id = f"req_{uuid.uuid4().hex}"
    log.bind(request_id=request_id).debug(
        "http.error", status=status, message=said.message, code=said.code, param=said.param
    )
    body = encode_json(said.body())
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-request-id": request_id}
    return [(name.encode(), value.encode()) for name, value in headers.items()], body
