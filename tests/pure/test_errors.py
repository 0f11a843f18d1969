"""Every failure that a client can get: its status, its place in the error object, the headers that steer retries."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai import errors
from claude_openai.errors import ApiError
from tests.openai_schema import validate

# status, type, code
TABLE: dict[type[ApiError], tuple[int, str, str | None]] = {
    errors.ApiError: (500, "server_error", None),
    errors.BadRequest: (400, "invalid_request_error", None),
    errors.ContextTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    errors.Unauthorized: (401, "invalid_request_error", "invalid_api_key"),
    errors.Forbidden: (403, "permission_error", None),
    errors.NotFound: (404, "invalid_request_error", "unknown_url"),
    errors.ModelNotFound: (404, "invalid_request_error", "model_not_found"),
    errors.RunNotFound: (404, "invalid_request_error", "run_not_found"),
    errors.IdempotencyKeyReused: (409, "invalid_request_error", "idempotency_key_reused"),
    errors.RunEnded: (409, "invalid_request_error", "run_ended"),
    errors.RunsElsewhere: (409, "invalid_request_error", "runs_elsewhere"),
    errors.RunCancelled: (410, "cancelled_error", "run_cancelled"),
    errors.MethodNotAllowed: (405, "invalid_request_error", "method_not_allowed"),
    errors.RequestTooLarge: (413, "invalid_request_error", "request_too_large"),
    errors.UnsupportedMediaType: (415, "invalid_request_error", "unsupported_media_type"),
    errors.QueueFull: (429, "rate_limit_error", "queue_full"),
    errors.RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    errors.QuotaExhausted: (429, "insufficient_quota", "insufficient_quota"),
    errors.LongContextRefused: (429, "insufficient_quota", "insufficient_quota"),
    errors.Overloaded: (503, "service_unavailable_error", "server_is_overloaded"),
    errors.ShuttingDown: (503, "service_unavailable_error", "shutting_down"),
    errors.UpstreamAuth: (403, "authentication_error", "upstream_authentication_error"),
    errors.UpstreamError: (502, "upstream_error", "upstream_error"),
    errors.ClaudeMissing: (503, "upstream_error", "claude_not_found"),
    errors.TurnTimeout: (504, "timeout_error", "timeout"),
    errors.InternalError: (500, "server_error", "internal_error"),
}
# Inside a stream OpenCode sends the whole request again for these, and so pays for the turn again.
RETRIED_IN_A_STREAM = {"server_error", "rate_limit_error", "overloaded_error", "service_unavailable_error"}

kinds = st.sampled_from(list(TABLE))


def test_the_table_has_every_kind_of_error() -> None:
    found = {value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, ApiError)}
    assert set(TABLE) == found
    assert {kind.__name__ for kind in found} | {"ConfigError", "PortInUse", "StartError", "leaves"} == set(
        errors.__all__
    )


@pytest.mark.parametrize("kind", TABLE)
def test_an_error_has_the_status_type_and_code_of_its_kind(kind: type[ApiError]) -> None:
    error = kind("what happened")
    assert (error.status, error.type, error.code) == TABLE[kind]
    assert str(error) == "what happened"


@given(kinds, st.text(), st.none() | st.text(), st.none() | st.text())
def test_the_object_always_has_all_four_keys(kind: type[ApiError], said: str, code: str | None, param: str) -> None:
    body = kind(said, code=code, param=param).body()
    assert body == {
        "error": {
            "message": said,
            "type": kind.type,
            "param": param,
            "code": (kind.default_code or None) if code is None else code,
        }
    }
    validate("ErrorResponse", body)


@given(kinds, st.none() | st.integers(-5, 10**6), st.booleans())
def test_the_headers_say_when_and_whether_to_try_again(
    kind: type[ApiError], retry_after_s: int | None, may_retry: bool
) -> None:
    headers = kind("no", retry_after_s=retry_after_s, may_retry=may_retry).headers()
    if retry_after_s is None:
        assert "retry-after" not in headers
    else:
        # Clients read 0 as "at once", in a hot loop.
        assert int(headers["retry-after"]) == max(1, retry_after_s)
    assert headers.get("x-should-retry") == (None if may_retry else "false")


def test_missing_key_error_says_how_to_send_one() -> None:
    assert errors.Unauthorized("no").headers() == {"www-authenticate": "Bearer"}


@pytest.mark.parametrize("kind", [errors.TurnTimeout, errors.UpstreamError, errors.UpstreamAuth, errors.QuotaExhausted])
def test_a_turn_that_was_paid_for_does_not_fail_with_a_type_that_is_retried_in_a_stream(kind: type[ApiError]) -> None:
    assert kind.type not in RETRIED_IN_A_STREAM


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ConfigError("a; b", hint="c"), "a; b; c"),
        (errors.StartError("a; b", hint="c"), "a; b; c"),
        (errors.ClaudeMissing("a; b", hint="C."), "a; b. C."),
    ],
)
def test_error_with_a_hint_keeps_both_parts_and_prints_them_together(
    error: errors.ConfigError | errors.StartError | ApiError, text: str
) -> None:
    assert (error.problem, error.hint.lower().rstrip("."), str(error)) == ("a; b", "c", text)


def test_error_without_a_hint_is_its_problem() -> None:
    assert (str(errors.StartError("a")), errors.StartError("a").hint, str(ApiError("a."))) == ("a", "", "a.")
