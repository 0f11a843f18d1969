"""What can go wrong, as the client is told it.

Every failure that reaches a client is one of these classes, and each carries all that the answer needs: HTTP status,
OpenAI `type`, `code` and `param`, and the headers that steer a client's retries. This module knows the vocabulary of
OpenAI's error object and nothing of HTTP servers, trio or Claude. The choice of `type` is deliberate: inside a stream
OpenCode retries `server_error`, `rate_limit_error`, `overloaded_error` and `service_unavailable_error`, and nothing
else, so a turn that was already paid for must fail with a type that is not in that list.
"""

from typing import Any, ClassVar

__all__ = [
    "ApiError",
    "BadRequest",
    "ClaudeMissing",
    "ConfigError",
    "ContextTooLong",
    "Forbidden",
    "InternalError",
    "LongContextRefused",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotFound",
    "Overloaded",
    "QueueFull",
    "QuotaExhausted",
    "RateLimited",
    "RequestTooLarge",
    "RunCancelled",
    "RunEnded",
    "RunNotFound",
    "ShuttingDown",
    "StartError",
    "TurnTimeout",
    "Unauthorized",
    "UnsupportedMediaType",
    "UpstreamAuth",
    "UpstreamError",
    "leaves",
]

QUEUE_FULL_RETRY_AFTER_S = 5
UNAVAILABLE_RETRY_AFTER_S = 5


class _ShellError(Exception):
    """A failure for the person at the shell; as text it is one line, "problem; hint".

    Args:
        problem: what is wrong.
        hint: what to do about it, "" if that is not known.
    """

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{problem}; {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint


class ConfigError(_ShellError):
    """A flag or variable has a value the server cannot run with."""


class StartError(_ShellError):
    """The server cannot start here and now (port taken), or a command cannot do what it is for."""


class ApiError(Exception):
    """A failure with its place in OpenAI's error object.

    Args:
        problem: what happened, and unless there is a `hint`, what to do next.
        hint: what to do next, as a sentence of its own; `message` is "problem. hint", shown to the user as it is.
        code: OpenAI's machine-readable code, or the class's own.
        param: the field of the request at fault, like `messages[2].content`.
        retry_after_s: seconds for the `Retry-After` header.
        may_retry: False sends `x-should-retry: false`, which the OpenAI SDKs obey.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        problem: str,
        *,
        hint: str = "",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
        may_retry: bool = True,
    ) -> None:
        self.message = f"{problem}. {hint}" if hint else problem
        super().__init__(self.message)
        self.problem = problem
        self.hint = hint
        self.code = code if code is not None else self.default_code
        self.param = param
        self.retry_after_s = retry_after_s
        self.may_retry = may_retry

    def body(self) -> dict[str, Any]:
        """The error object; all four keys are always there (ErrorResponse in OpenAI's schema)."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, self.retry_after_s))
        if not self.may_retry:
            headers["x-should-retry"] = "false"
        return headers


class BadRequest(ApiError):
    """400, never 422: the SDKs raise another class for 422."""

    status = 400
    type = "invalid_request_error"


class ContextTooLong(BadRequest):
    """Must be a 400 before the stream starts: only then do OpenCode and others compact the conversation."""

    default_code = "context_length_exceeded"


class Unauthorized(ApiError):
    status = 401
    type = "invalid_request_error"
    default_code = "invalid_api_key"

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "www-authenticate": "Bearer"}


class Forbidden(ApiError):
    status = 403
    type = "permission_error"


class NotFound(ApiError):
    status = 404
    type = "invalid_request_error"
    default_code = "unknown_url"


class ModelNotFound(NotFound):
    default_code = "model_not_found"


class RunNotFound(NotFound):
    default_code = "run_not_found"


class MethodNotAllowed(ApiError):
    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class RunEnded(ApiError):
    """What was to be cancelled has ended."""

    status = 409
    type = "invalid_request_error"
    default_code = "run_ended"


class RunCancelled(ApiError):
    """Somebody at the server ended the run. 410, because clients repeat a 409, 429 and every 5xx by themselves, and a
    400 would say that the request was wrong."""

    status = 410
    type = "cancelled_error"
    default_code = "run_cancelled"


class RequestTooLarge(ApiError):
    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"


class UnsupportedMediaType(ApiError):
    status = 415
    type = "invalid_request_error"
    default_code = "unsupported_media_type"


class QueueFull(ApiError):
    status = 429
    type = "rate_limit_error"
    default_code = "queue_full"


class RateLimited(ApiError):
    """Claude's own rate limit, with the wait it named."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class QuotaExhausted(ApiError):
    """The account does not pay for it, now or at all: retrying at once cannot help."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"


class LongContextRefused(QuotaExhausted):
    """The account has no credits for a context beyond 200,000 tokens; without it the turn may go through."""


class Overloaded(ApiError):
    status = 503
    type = "service_unavailable_error"
    default_code = "server_is_overloaded"


class ShuttingDown(ApiError):
    status = 503
    type = "service_unavailable_error"
    default_code = "shutting_down"


class UpstreamAuth(ApiError):
    """Claude refuses the login. 403 and not 401, which would look as if the key for this server were wrong."""

    status = 403
    type = "authentication_error"
    default_code = "upstream_authentication_error"


class UpstreamError(ApiError):
    """Claude Code failed: it died, spoke garbage, or its upstream did."""

    status = 502
    type = "upstream_error"
    default_code = "upstream_error"


class ClaudeMissing(UpstreamError):
    """There is no Claude Code to run. The next turn looks again, so that installing one mends it."""

    status = 503
    default_code = "claude_not_found"


class TurnTimeout(ApiError):
    status = 504
    type = "timeout_error"
    default_code = "timeout"


class InternalError(ApiError):
    """A bug of ours."""

    default_code = "internal_error"


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, and in the groups in it; one that is no group is alone."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
