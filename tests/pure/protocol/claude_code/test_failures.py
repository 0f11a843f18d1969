"""What Claude Code reports as failed, and the error that the client gets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import (
    ApiError,
    BadRequest,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    UpstreamAuth,
    UpstreamError,
)
from claude_openai.protocol.claude_code.failures import Failure, begun_error, upstream_error

LOGIN = "/opt/claude auth login"
KINDS = ["", "authentication_failed", "billing_error", "rate_limit", "model_not_found", "invalid_request", "overloaded",
         "server_error", "unknown", "max_output_tokens"]  # fmt: skip

TABLE: list[tuple[Failure, type[ApiError]]] = [
    (Failure(reason="prompt_too_long"), ContextTooLong),
    (Failure(reason="blocking_limit", text="Context limit reached"), ContextTooLong),
    (Failure(status=400, text="API Error: 400 prompt is too long: 210000 tokens > 200000 maximum"), ContextTooLong),
    (Failure(status=400, text="input exceeds the Context Window"), ContextTooLong),
    (Failure(kind="invalid_request", status=400, text="temperature: out of range"), BadRequest),
    (Failure(kind="authentication_failed", status=401), UpstreamAuth),
    (Failure(kind="authentication_failed"), UpstreamAuth),
    (Failure(status=403, text="not allowed for this organization"), UpstreamAuth),
    (Failure(kind="billing_error", status=400, text="Credit balance is too low"), QuotaExhausted),
    (Failure(kind="rate_limit", status=429), RateLimited),
    (Failure(status=429, retry_after_s=120), RateLimited),
    (Failure(status=429, retry_after_s=121), QuotaExhausted),
    (Failure(kind="model_not_found", status=404), ModelNotFound),
    (Failure(status=404), ModelNotFound),
    (Failure(status=413), RequestTooLarge),
    (Failure(status=529), Overloaded),
    (Failure(text="Overloaded"), Overloaded),
    (Failure(status=422), BadRequest),
    (Failure(status=500, text="Internal server error"), UpstreamError),
    (Failure(text="Connection refused"), UpstreamError),
    (Failure(), UpstreamError),
]


@pytest.mark.parametrize(("failure", "kind"), TABLE)
def test_each_failure_has_its_error(failure: Failure, kind: type[ApiError]) -> None:
    error = upstream_error(failure, login=LOGIN)
    assert type(error) is kind
    assert failure.text.strip() in error.message


def test_refused_login_says_what_to_type_and_is_not_retried() -> None:
    for status in (None, 401):
        error = upstream_error(Failure("authentication_failed", status, "OAuth token has expired"), login=LOGIN)
        assert f"`{LOGIN}`" in error.message
        assert "OAuth token has expired" in error.message
        assert error.headers() == {"x-should-retry": "false"}


def test_context_too_long_uses_the_words_that_clients_match() -> None:
    error = upstream_error(Failure(reason="prompt_too_long"), login=LOGIN)
    assert error.message.startswith("prompt is too long")
    assert (error.code, error.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(("wait_s", "told"), [(None, "5"), (0, "1"), (1, "1"), (120, "120"), (7200, "7200")])
def test_a_rate_limit_gives_its_wait(wait_s: int | None, told: str) -> None:
    error = upstream_error(Failure(status=429, retry_after_s=wait_s), login=LOGIN)
    assert error.headers()["retry-after"] == told
    assert error.may_retry == (told != "7200")


def test_used_up_quota_says_when_it_resets() -> None:
    error = upstream_error(Failure(status=429, retry_after_s=7201), login=LOGIN)
    assert "resets in about 2 h 1 min." in error.message


def test_an_overload_is_to_be_tried_again() -> None:
    assert int(upstream_error(Failure(status=529), login=LOGIN).headers()["retry-after"]) > 0


@given(
    st.builds(
        Failure,
        st.sampled_from(KINDS),
        st.none() | st.integers(300, 599),
        st.text(max_size=30),
        st.sampled_from(["", "api_error", "prompt_too_long"]),
        st.none() | st.integers(0, 100_000),
    )
)
def test_every_failure_becomes_an_error_that_can_be_sent(failure: Failure) -> None:
    error = upstream_error(failure, login=LOGIN)
    assert 400 <= error.status < 600
    assert error.message
    # 401 would look as if the key for this server were wrong.
    assert error.status != 401
    for value in error.headers().values():
        assert value.isascii()


# What OpenCode 1.18.33 was seen to repeat: by the type, and by what stands in the message or the code.
REPEATED_TYPES = {"server_error", "rate_limit_error", "overloaded_error", "service_unavailable_error"}
REPEATED_WORDS = re.compile(r"overloaded|rate.?limit|429|50[0-9]|52[0-9]|server error|unavailable|try again", re.I)


@given(
    st.sampled_from(KINDS),
    st.none() | st.sampled_from([429, 500, 502, 503, 529]),
    st.sampled_from(["Overloaded", "API Error: 529", "Connection lost mid-response. Try again.", "rate limit", "odd"]),
)
def test_failure_within_an_answer_forbids_a_retry(kind: str, status: int | None, said: str) -> None:
    error = begun_error(upstream_error(Failure(kind, status, said), login=LOGIN))
    if isinstance(error, UpstreamError):
        assert error.type not in REPEATED_TYPES
        assert not REPEATED_WORDS.search(f"{error.message} {error.code}")
        assert not error.may_retry
