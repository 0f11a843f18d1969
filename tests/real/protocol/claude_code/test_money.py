"""What Claude's API refuses for money, through the bundled CLI: told as that, with the reset, and not asked twice."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Answer, HttpError, RecordedRequest, Reply
from tests.real.call import Call, chat
from tests.real.harness import OK, Served, needs_claude, on_both_backends, serving

pytestmark = [needs_claude, pytest.mark.long]

UNIFIED = "anthropic-ratelimit-unified-"
# Only who is logged in has a plan; the token is made up.
LOGGED_IN = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-stand-in"}
LONG = HttpError(429, "rate_limit_error", "Extra usage is required for long context requests.")


def used_up(claim: str, in_s: int, **more: str) -> HttpError:
    """The answer when a window of the plan is used up."""
    at = str(int(time.time()) + in_s)
    headers = {"status": "rejected", "reset": at, "representative-claim": claim, "5h-status": "rejected", **more}
    return HttpError(
        429,
        "rate_limit_error",
        "This request would exceed your account's rate limit. Please try again later.",
        {UNIFIED + name.replace("_", "-"): value for name, value in headers.items()},
    )


def invalid(message: str) -> HttpError:
    return HttpError(400, "invalid_request_error", message)


class Refusing:
    """A Claude that refuses, and what is made of it.

    Attributes:
        refusal: what it answers now.
    """

    def __init__(self) -> None:
        self.refusal: Answer = OK

    def __call__(self, request: RecordedRequest) -> Answer:
        return self.refusal

    async def told(self, served: Served, refusal: Answer) -> tuple[str, dict[str, str], int]:
        """The message and the headers of the refusal, and the calls that it took."""
        self.refusal, before = refusal, len(served.api.requests)
        async with Call.open(served.url, chat("Hi")) as call:
            status, answer = await call.answer()
        error = answer["error"]
        assert (status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota"), error
        assert call.headers["x-should-retry"] == "false"
        return str(error["message"]), call.headers, len(served.api.requests) - before


@on_both_backends
async def test_a_plan_that_is_used_up_says_until_when(tmp_path: Path, backend: str) -> None:
    claude = Refusing()
    async with serving(tmp_path, claude, backend=backend, extra_env=LOGGED_IN) as served:
        for claim, in_s, resets in (("five_hour", 3600, r"(5\d min|1 h)\."), ("seven_day", 300_000, r"3 days 11 h\.")):
            message, headers, calls = await claude.told(served, used_up(claim, in_s))
            assert "The usage limit of the plan is reached." in message
            assert re.search(f"It resets in about {resets}", message), message
            assert in_s - 600 <= int(headers["retry-after"]) <= in_s
            assert calls == 1
        spent = used_up(
            "five_hour", 3600, overage_status="rejected", overage_disabled_reason="org_level_disabled_until"
        )
        message, _, calls = await claude.told(served, spent)
        assert "A spend limit of the account" in message
        assert calls == 1


# Of a 400 Claude Code does not know better, it asks again with fewer betas; a refusal costs nothing.
REFUSALS: list[tuple[HttpError, str, int]] = [
    (invalid("Third-party apps now draw from your extra usage, not your plan limits."), "of a third-party app", 3),
    (invalid("You're out of extra usage. Add more at claude.ai/settings/usage and keep going."), "extra usage of", 3),
    (invalid("You have reached your specified workspace API usage limits."), "A spend limit of the account", 3),
    (HttpError(402, "billing_error", "Payment required."), "The credit balance of the account", 1),
    (HttpError(429, "rate_limit_error", "Usage credits are required for this model."), "requires usage credits", 1),
]


@on_both_backends
async def test_what_is_about_money_is_told_as_that_with_a_key_too(tmp_path: Path, backend: str) -> None:
    claude = Refusing()
    async with serving(tmp_path, claude, backend=backend) as served:
        for refusal, says, most_calls in REFUSALS:
            message, headers, calls = await claude.told(served, refusal)
            assert says in message
            assert "retry-after" not in headers
            assert calls <= most_calls


def asks_for_1m(request: RecordedRequest) -> bool:
    return "context-1m" in request.headers.get("anthropic-beta", "")


MODEL_1M = "claude-sonnet-4-6[1m]"


@pytest.mark.long
@pytest.mark.parametrize("env", [{}, LOGGED_IN], ids=["with a key", "logged in"])
@on_both_backends
async def test_a_long_context_that_is_not_paid_for_is_done_without(
    tmp_path: Path, backend: str, env: dict[str, str]
) -> None:
    def reply(request: RecordedRequest) -> Answer:
        return LONG if asks_for_1m(request) else OK

    settings: dict[str, Any] = {"backend": backend, "extra_env": env, "models": (MODEL_1M,)}
    async with serving(tmp_path, reply, max_idle_sessions=4, spares=1, **settings) as served:
        messages = [{"role": "user", "content": "Hi"}]
        for more in ("And?", "So?"):
            async with Call.open(served.url, {**chat(messages), "model": MODEL_1M}) as call:
                status, answer = await call.answer()
            assert status == 200, answer
            messages += [answer["choices"][0]["message"], {"role": "user", "content": more}]
        assert [asks_for_1m(request) for request in served.api.requests] == [True, False, False]
        assert call.headers["x-claude-openai-conversation"] == ("continued" if backend == "sdk" else "replayed")
        assert (await served.whole_log()).count('"event":"run.long_context_refused"') == 1


@on_both_backends
async def test_a_conversation_that_is_longer_than_the_plan_pays_for_is_too_long_and_costs_no_second_call(
    tmp_path: Path, backend: str
) -> None:
    async with serving(tmp_path, LONG, backend=backend) as served:
        for calls in (1, 1):
            async with Call.open(served.url, chat("word " * 300_000)) as call:
                status, answer = await call.answer()
            assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
            assert "The account has no usage credits for more than 200,000 tokens" in answer["error"]["message"]
            assert len(served.api.requests) == calls


async def test_the_long_context_is_asked_for_where_nobody_refuses_it(tmp_path: Path) -> None:
    async with serving(tmp_path, Reply("ok"), models=(MODEL_1M,)) as served:
        async with Call.open(served.url, {**chat("Hi"), "model": MODEL_1M}) as call:
            assert await call.status() == 200
        assert asks_for_1m(served.api.requests[0])
