"""Which of Claude's types of errors each failure is."""

import pytest

from claude_openai.errors import (
    ApiError,
    BadRequest,
    ClaudeMissing,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    ModelNotFound,
    Overloaded,
    QueueFull,
    QuotaExhausted,
    RequestTooLarge,
    RunCancelled,
    TurnTimeout,
    Unauthorized,
    UnsupportedMediaType,
    UpstreamAuth,
    UpstreamError,
)
from claude_openai.protocol.anthropic.errors import error_object


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (BadRequest, "invalid_request_error"),
        (MethodNotAllowed, "invalid_request_error"),
        (UnsupportedMediaType, "invalid_request_error"),
        (Unauthorized, "authentication_error"),
        (Forbidden, "permission_error"),
        (UpstreamAuth, "permission_error"),
        (ModelNotFound, "not_found_error"),
        (RequestTooLarge, "request_too_large"),
        (QueueFull, "rate_limit_error"),
        (QuotaExhausted, "rate_limit_error"),
        (InternalError, "api_error"),
        (UpstreamError, "api_error"),
        (ClaudeMissing, "api_error"),
        (RunCancelled, "api_error"),
        (Overloaded, "overloaded_error"),
        (TurnTimeout, "timeout_error"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(kind: type[ApiError], name: str) -> None:
    error = kind("It failed", hint="Do this.")
    inner = {"type": name, "message": "It failed. Do this."}
    assert error_object(error, "req_1") == {"type": "error", "error": inner, "request_id": "req_1"}
