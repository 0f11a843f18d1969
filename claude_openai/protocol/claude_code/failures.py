"""What Claude Code reports as failed -> the error the client gets.

Claude Code reports a failed call to its upstream as an assistant message with the failure as its text; this table is
what keeps such a text from being taken for an answer. It knows the CLI's words (`authentication_failed`, `rate_limit`,
...), the HTTP status behind them, and OpenAI's error classes; it does not know how the records came.
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

# The OpenAI SDKs sleep up to 120 s on Retry-After and give up beyond it: a longer wait is a used-up quota to them.
MAX_RETRY_AFTER_S = 120
# What a wait is called when Claude names none.
DEFAULT_RETRY_AFTER_S = 5

# The second: Claude Code sees for itself that it is too long, and asks nobody.
_TOO_LONG_REASONS = ("prompt_too_long", "blocking_limit")
_TOO_LONG = re.compile(r"prompt is too long|context window|maximum context length", re.IGNORECASE)
_CONNECTION_LOST = re.compile(r"connection (to the api )?(was )?(lost|closed)|stream ended", re.IGNORECASE)
_OVERLOADED = re.compile(r"\boverloaded\b", re.IGNORECASE)
# OpenCode repeats what fails with one of these in its text, whatever the error's type is.
_READ_AS_PASSING = re.compile(
    r"overloaded|rate.?limit|too many requests|429|50[0-9]|52[0-9]|internal error|server error|terminated|unavailable"
    r"|try again",
    re.IGNORECASE,
)

# What Claude Code puts before the words of Claude's API.
_PREFIX = re.compile(r"^API Error:(?: \d{3})? (?:(?:Request rejected \(429\)|Server is temporarily [^·]*) · )?")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call as the CLI tells it.

    Attributes:
        kind: the CLI's own word for it (`authentication_failed`, `rate_limit`, ...), "" if it gave none.
        status: HTTP status of the call to Claude, None if there was none.
        text: the CLI's sentence about it.
        reason: why the CLI ended the turn (`api_error`, `prompt_too_long`, ...).
        retry_after_s: seconds to wait, where upstream or the CLI named them.
    """

    kind: str = ""
    status: int | None = None
    text: str = ""
    reason: str = ""
    retry_after_s: int | None = None


def upstream_error(failure: Failure, *, login: str) -> ApiError:
    """Map a failure to the client's error.

    Args:
        failure: what the CLI said.
        login: the command that logs Claude Code in, for the message.
    """
    status, said = failure.status, failure.text.strip() or "no detail was given"
    if failure.reason in _TOO_LONG_REASONS or (status == 400 and _TOO_LONG.search(said)):
        # Clients know it by these words: OpenCode by the first ones, LiteLLM by the others.
        words = "prompt is too long: this model's maximum context length is exceeded."
        return ContextTooLong(f"{words} Claude Code said: {said}", param="messages")
    case = money_case(failure.kind, status, failure.text)
    if case is not None:
        return _money_error(case, failure)
    if failure.kind == "authentication_failed" or status in (401, 403):
        return _login_error(status, said, login)
    if failure.kind == "rate_limit" or status == 429:
        return _rate_limit(failure, said)
    if failure.kind == "model_not_found" or status == 404:
        return ModelNotFound(f"{said} Ask GET /v1/models for the names that work.", param="model")
    if status == 413:
        return RequestTooLarge(f"Claude refused the request as too large: {said}")
    if status == 529 or (status is None and _OVERLOADED.search(said)):
        return Overloaded(f"Claude is overloaded; try again soon. ({said})", retry_after_s=UNAVAILABLE_RETRY_AFTER_S)
    if status is not None and 400 <= status < 500:
        return BadRequest(f"Claude refused the request: {said}")
    return UpstreamError(f"Claude Code could not answer: {said}")


def interrupted_error(why: str) -> UpstreamError:
    """The error for a turn that Claude had begun to answer: it is paid for, and no client is to repeat it by itself.

    What it may not say to the client stands in its notes, for the log.
    """
    if not _READ_AS_PASSING.search(why):
        return UpstreamError(f"Claude broke off its answer: {why}", may_retry=False)
    error = UpstreamError("Claude broke off its answer; this server's log says why.", may_retry=False)
    error.add_note(why)
    return error


def begun_error(error: ApiError) -> ApiError:
    """What a failure is to a client to which Claude had begun to answer, see `interrupted_error`."""
    if isinstance(error, Overloaded):
        # Not by its own code: OpenCode 1.18.33 repeats what has "overloaded" in its code, 6 times in two minutes.
        told = UpstreamError("Claude broke off its answer: it is too busy.", may_retry=False)
    elif isinstance(error, UpstreamError) and _CONNECTION_LOST.search(error.message):
        told = UpstreamError("Claude broke off its answer: the connection to its API was lost.", may_retry=False)
    else:
        return interrupted_error(error.message) if isinstance(error, RateLimited | UpstreamError) else error
    told.add_note(error.message)
    return told


def _login_error(status: int | None, said: str, login: str) -> ApiError:
    remedy = f"Run `{login}` on the machine of this server, or give the server ANTHROPIC_API_KEY, and try again."
    if status is None:
        return UpstreamAuth(f"Claude Code is not logged in. {remedy} ({said})", may_retry=False)
    return UpstreamAuth(f"Claude refused this server's login ({status}). {remedy} ({said})", may_retry=False)


def _money_error(case: MoneyCase, failure: Failure) -> ApiError:
    wait = failure.retry_after_s
    resets = "" if wait is None else f" It resets in about {_duration(wait)}."
    said = _PREFIX.sub("", failure.text.strip())
    quoted = f" (Claude said: {said})" if said and not _READ_AS_PASSING.search(said) else ""
    error = case.error(f"{case.says}{resets} {case.do}{quoted}", retry_after_s=wait, may_retry=False)
    if not quoted:
        error.add_note(failure.text)
    return error


def _duration(seconds: int) -> str:
    minutes = -(-seconds // 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "days"), (hours, "h"), (minutes, "min"))
    return " ".join([f"{number} {unit}" for number, unit in parts if number][:2]) or "a minute"


def _rate_limit(failure: Failure, said: str) -> ApiError:
    wait = failure.retry_after_s
    if wait is not None and wait > MAX_RETRY_AFTER_S:
        return _money_error(WINDOW, failure)
    return RateLimited(
        f"Claude's rate limit is reached; try again after the wait. ({said})",
        retry_after_s=DEFAULT_RETRY_AFTER_S if wait is None else wait,
    )
