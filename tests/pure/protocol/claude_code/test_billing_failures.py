"""Refusals about money: what Claude Code reports, and that the client gets a remedy and does not repeat the request."""

from typing import Any

import pytest

from claude_openai.errors import LongContextRefused, QuotaExhausted
from claude_openai.protocol.claude_code.billing_failures import resets_at
from claude_openai.protocol.claude_code.failures import _READ_AS_PASSING, Failure, upstream_error

LOGIN = "claude auth login"


@pytest.mark.parametrize(
    ("wait_s", "told"),
    [(121, "3 min"), (3600, "1 h"), (86_400, "1 days"), (300_000, "3 days 11 h"), (None, None), (0, "a minute")],
)
def test_reset_is_shown_in_the_two_largest_units(wait_s: int | None, told: str | None) -> None:
    error = upstream_error(Failure("usage_limit_reached", 429, "", "", wait_s), login=LOGIN)
    assert ("It resets in about" in error.message) == (told is not None)
    assert told is None or f"It resets in about {told}." in error.message
    assert error.retry_after_s == wait_s


LONG_CONTEXT, THIRD_PARTY = "for a context of more than 200,000 tokens", "one of a third-party app"
MODEL, SPENDING, USED_UP = "This model requires usage credits", "A spend limit", "The extra usage of the account"
BALANCE, PLAN = "The credit balance of the account", "The usage limit of the plan"
# What Claude Code 2.1.332 makes of the answers of Claude's API that public reports have, logged in and with a key; and
# what earlier versions made of them.
MONEY: list[tuple[str, int | None, str, str]] = [
    ("long_context_credits_required", 429, "API Error: Usage credits required for 1M context · turn on usage credits "
     "at https://claude.ai/settings/usage (they take effect in a new session)", LONG_CONTEXT),
    ("rate_limit", 429, "API Error: Request rejected (429) · Extra usage is required for long context requests.",
     LONG_CONTEXT),
    ("rate_limit", 429, "Usage credits are required for long context requests.", LONG_CONTEXT),
    ("rate_limit", 429, "API Error: Extra usage is required for 1M context · run /extra-usage to enable, or /model "
     "to switch to standard context", LONG_CONTEXT),
    ("unknown", 400, "API Error: 400 Third-party apps now draw from your extra usage, not your plan limits. Add more "
     "at claude.ai/settings/usage and keep going.", THIRD_PARTY),
    ("unknown", 400, "API Error: 400 Third-party apps now draw from extra usage, not plan limits. We've added a credit "
     "to your organization to get you started.", THIRD_PARTY),
    ("model_requires_usage_credits", 429, "You're out of usage credits. /model to switch models.", MODEL),
    ("rate_limit", 429, "API Error: Request rejected (429) · Usage credits are required for this model.", MODEL),
    ("rate_limit", 429, "Fable 5 requires usage credits · /model to change", MODEL),
    ("usage_limit_reached", 429, "You've hit your org's monthly spend limit · ask your admin to raise it at "
     "https://claude.ai/admin-settings/usage · your 5-hour limit resets 4:04pm (UTC)", SPENDING),
    ("rate_limit", 429, "You've hit your monthly spend limit · raise it at claude.ai/settings/usage", SPENDING),
    ("rate_limit", 429, "You've hit your org's monthly usage limit", SPENDING),
    ("unknown", 400, "API Error: 400 You have reached your specified workspace API usage limits. You will regain "
     "access on 2026-06-01 at 00:00 UTC.", SPENDING),
    ("unknown", 400, "API Error: 400 You have reached your specified API usage limits.", SPENDING),
    ("unknown", 400, "API Error: 400 You're out of extra usage. Add more at claude.ai/settings/usage and keep going.",
     USED_UP),
    ("usage_limit_reached", 429, "You're out of usage credits", USED_UP),
    ("unknown", None, "API Error: Usage credits ran out before the response was finished.", USED_UP),
    ("billing_error", 400, "Credit balance is too low", BALANCE),
    ("", 400, "Your credit balance is too low to access the Anthropic API.", BALANCE),
    ("", None, "Credit balance too low · Add funds: https://platform.claude.com/settings/billing", BALANCE),
    ("unknown", 402, "API Error: 402 Payment required.", BALANCE),
    ("usage_limit_reached", 429, "You've hit your 5-hour limit · resets 4:04pm (UTC)", PLAN),
    ("usage_limit_reached", 429, "", PLAN),
    ("rate_limit", 429, "You've hit your weekly limit · resets Jul 31, 2am (UTC)", PLAN),
    ("rate_limit", 429, "You've hit your Opus limit · resets Nov 30, 2:24am (UTC)", PLAN),
    ("rate_limit", 429, "You've hit your limit · resets 11pm (America/Anchorage)", PLAN),
    ("rate_limit", 429, "Opus weekly limit reached ∙ resets Oct 31, 9am", PLAN),
    ("rate_limit", 429, "Session limit reached ∙ resets 8pm", PLAN),
    ("", None, "Claude AI usage limit reached|1760004000", PLAN),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "text", "says"), MONEY)
def test_billing_failure_has_its_type_and_no_retry(kind: str, status: int | None, text: str, says: str) -> None:
    error = upstream_error(Failure(kind, status, text, "api_error", 7200), login=LOGIN)
    assert isinstance(error, QuotaExhausted)
    assert isinstance(error, LongContextRefused) == (says == LONG_CONTEXT)
    assert says in error.message
    assert "It resets in about 2 h." in error.message
    assert error.headers() == {"retry-after": "7200", "x-should-retry": "false"}
    # OpenCode repeats a request for ever whose error has one of these words.
    assert not _READ_AS_PASSING.search(error.message)


def test_billing_text_is_quoted_unless_it_invites_a_retry() -> None:
    text = "API Error: Request rejected (429) · Extra usage is required for long context requests."
    assert (
        "(Claude's message: Extra usage is required for long"
        in upstream_error(Failure("", 429, text), login=LOGIN).message
    )
    text = "Your credit balance is too low; try again with more than $500."
    error = upstream_error(Failure("", 400, text), login=LOGIN)
    assert "Claude's message" not in error.message
    assert error.__notes__ == [text]


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("rate_limit", 429, "This request would exceed your account's rate limit. Please try again later."),
        ("rate_limit", 429, "Number of requests has exceeded your per-minute rate limit."),
        ("rate_limit", 429, "API Error: Server is temporarily limiting requests (not your usage limit)"),
        ("rate_limit", 429, "You have reached your rate limit."),
        ("server_error", 500, "credit balance too low"),
        ("model_not_found", 404, "no extra usage of third-party apps"),
        ("invalid_request", 400, "messages: at least one message is required"),
    ],
)
def test_what_is_not_about_money_is_no_quota(kind: str, status: int, text: str) -> None:
    assert not isinstance(upstream_error(Failure(kind, status, text), login=LOGIN), QuotaExhausted)


WEEK, HOURS = {"resetsAt": 9e9, "status": "rejected"}, {"resetsAt": 8e9, "status": "allowed"}


@pytest.mark.parametrize(
    ("info", "at"),
    [
        ({"status": "allowed", "resetsAt": 7e9}, None),
        ({"status": "rejected", "isUsingOverage": False}, None),
        ({"status": "rejected", "resetsAt": 7e9, "overageResetsAt": 1e10, "unifiedWindows": {"seven_day": WEEK}}, 7e9),
        ({"status": "rejected", "unifiedWindows": {"seven_day": WEEK, "five_hour": HOURS}}, 9e9),
        ({"status": "rejected", "unifiedWindows": {"five_hour": HOURS}, "overageResetsAt": 1e10}, 1e10),
    ],
)
def test_when_a_limit_resets(info: dict[str, Any], at: float | None) -> None:
    assert resets_at(info) == at
