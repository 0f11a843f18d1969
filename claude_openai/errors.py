"""The errors that clients and users see.

Every failure that reaches a client is an `ApiError`. It holds the whole error response: the HTTP status, OpenAI's
`type`, `code` and `param`, and the headers that control a client's retries. The choice of `type` matters: inside a
stream OpenCode retries only `server_error`, `rate_limit_error`, `overloaded_error` and `service_unavailable_error`, so
a turn that was already paid for must fail with a type that is not in this list.
"""

from typing import Any, ClassVar

__all__ = [
    "ApiError",
    "BadRequest",
    "ClaudeMissing",
    "ConfigError",
    "ContextTooLong",
    "Forbidden",
    "IdempotencyKeyReused",
    "InternalError",
    "LongContextRefused",
    "MethodNotAllowed",
    "ModelNotFound",
    "NotFound",
    "Overloaded",
    "PortInUse",
    "QueueFull",
    "QuotaExhausted",
    "RateLimited",
    "RequestTooLarge",
    "RunCancelled",
    "RunEnded",
    "RunNotFound",
    "RunsElsewhere",
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
    """An error printed by a command; `str()` is one line, "problem; hint".

    Args:
        problem: what is wrong.
        hint: how to fix it, "" if unknown.
    """

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{problem}; {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint


class ConfigError(_ShellError):
    """A flag or variable has an invalid value."""


class StartError(_ShellError):
    """The server cannot start, for example because its port is in use, or a command cannot do its work."""


class PortInUse(StartError):
    """Another program listens on the port.

    Args:
        host: host of the config.
        port: port of the config.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is in use, perhaps by another claude-openai",
            hint="stop the other program, or choose another port with --port (0 for any free port)",
        )
        self.host = host
        self.port = port


class ApiError(Exception):
    """A failure that is sent to the client as OpenAI's error object.

    Args:
        problem: what happened, and unless there is a `hint`, what to do next.
        hint: what to do next, a whole sentence. `message` is "problem. hint"; clients show it to their users.
        code: machine-readable code; by default `default_code` of the class.
        param: the invalid field of the request, for example `messages[2].content`.
        retry_after_s: seconds for the `Retry-After` header.
        may_retry: False sends `x-should-retry: false`, which the OpenAI SDKs obey.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = ""

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
        self.message: str = f"{problem}. {hint}" if hint else problem
        super().__init__(self.message)
        self.problem = problem
        self.hint = hint
        self.code: str | None = code if code is not None else self.default_code or None
        self.param = param
        self.retry_after_s = retry_after_s
        self.may_retry = may_retry

    def body(self) -> dict[str, Any]:
        """Return the error object. All four keys are required (ErrorResponse in OpenAI's schema)."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, self.retry_after_s))
        if not self.may_retry:
            headers["x-should-retry"] = "false"
        return headers


class BadRequest(ApiError):
    """400, never 422, for which the OpenAI SDKs raise a different class."""

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


class IdempotencyKeyReused(ApiError):
    """The idempotency key is that of another request."""

    status = 409
    type = "invalid_request_error"
    default_code = "idempotency_key_reused"


class RunsElsewhere(ApiError):
    """The response to cancel or delete is made by another server."""

    status = 409
    type = "invalid_request_error"
    default_code = "runs_elsewhere"


class RunEnded(ApiError):
    """The run to cancel has already ended."""

    status = 409
    type = "invalid_request_error"
    default_code = "run_ended"


class RunCancelled(ApiError):
    """The run was cancelled on the server.

    410, because clients retry 409, 429 and 5xx automatically, and the request was valid, which excludes 400.
    """

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
    """Claude's rate limit is reached; `retry_after_s` is Claude's wait."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class QuotaExhausted(ApiError):
    """The account's quota or credits do not cover the request; an immediate retry cannot succeed."""

    status = 429
    type = "insufficient_quota"
    default_code = "insufficient_quota"


class LongContextRefused(QuotaExhausted):
    """The account has no credits for a context of more than 200,000 tokens; the turn may succeed with a smaller one."""


class Overloaded(ApiError):
    status = 503
    type = "service_unavailable_error"
    default_code = "server_is_overloaded"


class ShuttingDown(ApiError):
    status = 503
    type = "service_unavailable_error"
    default_code = "shutting_down"


class UpstreamAuth(ApiError):
    """Claude rejected the login. 403, because a 401 would mean that the key for this server is wrong."""

    status = 403
    type = "authentication_error"
    default_code = "upstream_authentication_error"


class UpstreamError(ApiError):
    """Claude Code failed: its process died, its output was invalid, or Claude's API failed."""

    status = 502
    type = "upstream_error"
    default_code = "upstream_error"


class ClaudeMissing(UpstreamError):
    """Claude Code is not installed. Each turn searches again, so installing it is enough; no restart is needed."""

    status = 503
    default_code = "claude_not_found"


class TurnTimeout(ApiError):
    status = 504
    type = "timeout_error"
    default_code = "timeout"


class InternalError(ApiError):
    """A bug in this server."""

    default_code = "internal_error"


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors of an exception group, nested groups included; for any other error, a list of that error."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
