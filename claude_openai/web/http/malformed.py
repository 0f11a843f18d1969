"""The answer to what never became a request: bytes that are no HTTP, headers that are too long, WebSockets.

It never reaches the app, and has all the same an error object, an id, and a line in the log. Knows no connection.
"""

import uuid
from collections.abc import Mapping
from typing import Final

from claude_openai.errors import ApiError, BadRequest, Forbidden
from claude_openai.logs.log import Log
from claude_openai.protocol.openai.sse import encode_json

__all__ = ["NO_WEBSOCKETS", "malformed_response"]

NO_WEBSOCKETS: Final = Forbidden(
    "There are no WebSockets here. Send POST requests; with 'stream': true the answer comes as server-sent events.",
    code="no_websockets",
)
_NO_HTTP: Final = BadRequest(
    "Malformed HTTP/1.1 request. This server does not speak TLS: use http://.", code="invalid_http"
)
# By h11's hint at a status. Its 501 would be a failure of the server's, which clients repeat.
_REASONS: Final[Mapping[int, tuple[int, ApiError]]] = {
    431: (
        431,
        BadRequest("The headers of the request are too long. Send fewer, or shorter ones.", code="headers_too_long"),
    ),
    501: (
        400,
        BadRequest("Only the transfer encoding 'chunked' is known here. Send that, or a length.", code="invalid_http"),
    ),
}


def malformed_response(
    hint: int, log: Log, error: ApiError | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body.

    Args:
        hint: h11's at the status.
        log: told of it.
        error: what is said; by default what the hint means.
    """
    status, said = (error.status, error) if error else _REASONS.get(hint, (400, _NO_HTTP))
    request_id = f"req_{uuid.uuid4().hex}"
    log.bind(request_id=request_id).debug(
        "http.error", status=status, message=said.message, code=said.code, param=said.param
    )
    body = encode_json(said.body())
    headers = {"content-type": "application/json", "content-length": str(len(body)), "x-request-id": request_id}
    return status, [(name.encode(), value.encode()) for name, value in headers.items()], body
