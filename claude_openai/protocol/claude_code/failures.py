"""Maps failures that Claude Code reports to the client's errors.

Claude Code reports a failed call to Claude's API as an assistant message whose text is the error, which must not reach
the client as an answer. The mapping uses the CLI's error name (`authentication_failed`, `rate_limit`, ...), the HTTP
status and the text.
"""

import re
from dataclasses import dataclass

from claude_openai.errors import (
    UNAVAILABLE_RETRY_AFTER_S,
    ApiError,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestTooLarge,
    UpstreamAuth,
    UpstreamError,
)
from claude_openai.protocol.claude_code.billing_failures import WINDOW, MoneyCase, money_case

__all__ = ["Failure", "begun_error", "interrupted_error", "upstream_error"]

# The OpenAI SDKs sleep for a Retry-After of up to 120 s and ignore a longer one, which is reported as a used-up quota.
MAX_RETRY_AFTER_S = 120
# `Retry-After` if Claude sends none.
DEFAULT_RETRY_AFTER_S = 5

# With `blocking_limit`, Claude Code itself finds the context too long and does not call Claude's API.
_TOO_LONG_REASONS = ("prompt_too_long", "blocking_limit")
_TOO_LONG = re.compile(r"prompt is too long|context window|maximum context length", re.IGNORECASE)
_CONNECTION_LOST = re.compile(r"connection (to the api )?(was )?(lost|closed)|stream ended", re.IGNORECASE)
_OVERLOADED = re.compile(r"\boverloaded\b", re.IGNORECASE)
# OpenCode repeats a request if the error message contains one of these, for every type of error.
_READ_AS_PASSING = re.compile(
    r"overloaded|rate.?limit|too many requests|429|50[0-9]|52[0-9]|internal error|server error|terminated|unavailable"
    r"|try again",
    re.IGNORECASE,
)

# Claude Code's prefix of an error message of Claude's API.
_PREFIX = re.compile(r"^API Error:(?: \d{3})? (?:(?:Request rejected \(429\)|Server is temporarily [^·]*) · )?")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call as reported by the CLI.

    Attributes:
        kind: the CLI's error name (`authentication_failed`, `rate_limit`, ...), "" if there is none.
        status: HTTP status of the call to Claude's API, None if there was no response.
        text: the CLI's error message.
        reason: why the CLI ended the turn (`api_error`, `prompt_too_long`, ...).
        retry_after_s: seconds to wait, from Claude's API or the CLI; None if unknown.
    """

    kind: str = ""
    status: int | None = None
    text: str = ""
    reason: str = ""
    retry_after_s: int | None = None


def upstream_error(failure: Failure, *, login: str) -> ApiError:
    """Map a failure to the client's error.

    Args:
        failure: the CLI's report.
        login: the command that logs Claude Code in, for the message.
    """
    status, text = failure.status, failure.text.strip() or "no details"
    if failure.reason in _TOO_LONG_REASONS or (status == 400 and _TOO_LONG.search(text)):
        # Clients recognize the error by its text: OpenCode by "prompt is too long", LiteLLM by the rest.
        words = "prompt is too long: this model's maximum context length is exceeded."
        return ContextTooLong(f"{words} Claude Code reported: {text}", param="messages")
    case = money_case(failure.kind, status, failure.text)
    if case is not None:
        return _money_error(case, failure)
    if failure.kind == "authentication_failed" or status in (401, 403):
        return _login_error(status, text, login)
    if failure.kind == "rate_limit" or status == 429:
        return _rate_limit(failure, text)
    if failure.kind == "model_not_found" or status == 404:
        return ModelNotFound(f"{text} GET /v1/models lists the models.", param="model")
    if status == 413:
        return RequestTooLarge(f"Claude rejected the request as too large: {text}")
    if status == 529 or (status is None and _OVERLOADED.search(text)):
        return Overloaded(f"Claude is overloaded; try again soon. ({text})", retry_after_s=UNAVAILABLE_RETRY_AFTER_S)
    if status is not None and 400 <= status < 500:
        return BadRequest(f"Claude rejected the request: {text}")
    return UpstreamError(f"Claude Code failed: {text}")


def interrupted_error(why: str) -> UpstreamError:
    """Return the error for a turn that failed after Claude had begun to answer.

    The turn is already paid for, so clients must not repeat it automatically. Details that would make them do so are in
    the notes of the error, for the log.
    """
    if not _READ_AS_PASSING.search(why):
        return UpstreamError(f"Claude broke off its answer: {why}", may_retry=False)
    error = UpstreamError("Claude broke off its answer; this server's log says why.", may_retry=False)
    error.add_note(why)
    return error


def begun_error(error: ApiError) -> ApiError:
    """Return the error to send in place of `error` once Claude has begun to answer, see `interrupted_error`."""
    if isinstance(error, Overloaded):
        # With another code: OpenCode 1.18.33 repeats errors with "overloaded" in the code, 6 times in two minutes.
        begun = UpstreamError("Claude broke off its answer: it is too busy.", may_retry=False)
    elif isinstance(error, UpstreamError) and _CONNECTION_LOST.search(error.message):
        begun = UpstreamError("Claude broke off its answer: the connection to its API was lost.", may_retry=False)
    else:
        return interrupted_error(error.message) if isinstance(error, RateLimited | UpstreamError) else error
    begun.add_note(error.message)
    return begun


def _login_error(status: int | None, text: str, login: str) -> ApiError:
    hint = f"Run `{login}` on the machine of this server, or start it with ANTHROPIC_API_KEY, and try again. ({text})"
    if status is None:
        return UpstreamAuth("Claude Code is not logged in", hint=hint, may_retry=False)
    return UpstreamAuth(f"Claude rejected this server's login ({status})", hint=hint, may_retry=False)


def _money_error(case: MoneyCase, failure: Failure) -> ApiError:
    wait = failure.retry_after_s
    resets = "" if wait is None else f" It resets in about {_duration(wait)}."
    text = _PREFIX.sub("", failure.text.strip())
    quoted = f" (Claude's message: {text})" if text and not _READ_AS_PASSING.search(text) else ""
    error = case.error(f"{case.problem}{resets} {case.hint}{quoted}", retry_after_s=wait, may_retry=False)
    if not quoted:
        error.add_note(failure.text)
    return error


def _duration(seconds: int) -> str:
    minutes = -(-seconds // 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "days"), (hours, "h"), (minutes, "min"))
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "a minute"


def _rate_limit(failure: Failure, text: str) -> ApiError:
    wait = failure.retry_after_s
    if wait is not None and wait > MAX_RETRY_AFTER_S:
        return _money_error(WINDOW, failure)
    return RateLimited(
        f"Claude's rate limit is reached; try again after the wait. ({text})",
        retry_after_s=DEFAULT_RETRY_AFTER_S if wait is None else wait,
    )
