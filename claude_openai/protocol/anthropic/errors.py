"""The error object of Claude's API."""

from collections.abc import Mapping
from typing import Any, Final

from claude_openai.errors import ApiError, RunCancelled, UpstreamError

__all__ = ["error_object"]

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_object(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the body of an error response, which is also the data of an `error` event."""
    return {"type": "error", "error": {"type": _type(error), "message": error.message}, "request_id": request_id}


def _type(error: ApiError) -> str:
    if isinstance(error, UpstreamError | RunCancelled):
        return "api_error"
    return _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
