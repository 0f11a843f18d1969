"""Responses to requests that do not reach the app: malformed HTTP, headers that are too long, WebSockets.

Like the app's errors they have an error object, a request id, and a line in the log.
"""

from collections.abc import Mapping
from typing import Final

from claude_openai.errors import ApiError, BadRequest, Forbidden
from claude_openai.logs.log import Log
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.web.http.request_id import new_request_id

__all__ = ["NOT_STARTED", "NO_WEBSOCKETS", "malformed_response"]

# Header of each error for which no turn was begun: the request can be sent to another server without paying twice.
NOT_STARTED: Final[dict[str, str]] = {"x-claude-openai-started": "no"}

NO_WEBSOCKETS: Final = Forbidden(
    "WebSockets are not supported",
    hint="Send POST requests; with 'stream': true the response is a stream of server-sent events.",
    code="no_websockets",
)
_MALFORMED: Final = BadRequest(
    "Malformed HTTP/1.1 request", hint="This server does not speak TLS: use http://.", code="invalid_http"
)
# By h11's `error_status_hint`. A 501 becomes a 400, because clients retry every 5xx.
_REASONS: Final[Mapping[int, tuple[int, ApiError]]] = {
    431: (
        431,
        BadRequest(
            "The request headers are too long", hint="Send fewer headers, or shorter ones.", code="headers_too_long"
        ),
    ),
    501: (
        400,
        BadRequest(
            "Unsupported Transfer-Encoding; expected 'chunked'",
            hint="Send 'chunked', or a Content-Length.",
            code="invalid_http",
        ),
    ),
}


def malformed_response(
    hint: int, log: Log, error: ApiError | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return the status, headers and body of a response, and log it.

    Args:
        hint: h11's `error_status_hint`.
        log: gets the `http.error` line.
        error: the error; by default the one for `hint`.
    """
    status, problem = (error.status, error) if error else _REASONS.get(hint, (400, _MALFORMED))
    request_id = new_request_id()
    log.bind(request_id=request_id).debug(
        "http.error", status=status, message=problem.message, code=problem.code, param=problem.param
    )
    body = encode_json(problem.body())
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": request_id,
    } | NOT_STARTED
    return status, [(name.encode(), value.encode()) for name, value in headers.items()], body
