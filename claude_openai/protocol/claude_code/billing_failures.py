"""Failures of billing: used-up plans, missing credits, spend limits.

Claude's API reports a used-up plan as a 429 and a request that the plan does not cover as a 400. Clients would take
these for a rate limit, which they retry, and for a malformed request. Claude Code names some of them (`api_error`,
2.1.332; not in earlier versions), which is more reliable than the text. The patterns match texts of Claude's API and of
Claude Code from public reports; each case cites one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.errors import LongContextRefused, QuotaExhausted

__all__ = ["MONEY_KINDS", "WINDOW", "MoneyCase", "money_case", "resets_at"]

_USAGE = "https://claude.ai/settings/usage"


@dataclass(frozen=True, slots=True)
class MoneyCase:
    """One kind of billing failure.

    Attributes:
        kinds: Claude Code's names of the failure.
        words: pattern of the text, for versions without a name.
        problem: the problem, for the client.
        hint: the advice to the client.
        error: the class of the client's error.
    """

    kinds: tuple[str, ...]
    words: re.Pattern[str]
    problem: str
    hint: str
    error: type[QuotaExhausted] = QuotaExhausted


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# A used-up window of the plan.
WINDOW: Final = MoneyCase(
    ("usage_limit_reached",),
    # "You've hit your weekly limit · resets Jul 31, 2am (UTC)" (anthropics/claude-code#81647), "Opus weekly limit
    # reached" (#10333), "Claude AI usage limit reached|1760004000" (#8835)
    _words(r"(?:hit|reached) your\b.{0,40}(?<!rate )\blimit|(?:usage|session|weekly|5-hour|opus|sonnet) limit reached"),
    "The usage limit of the plan is reached.",
    f"Wait until it resets, turn on extra usage at {_USAGE}, or, if the limit is for one model, use another model.",
)

# The first match is used: spend limits and used-up credits are `usage_limit_reached` too and differ only in their text.
_CASES: Final[Sequence[MoneyCase]] = (
    MoneyCase(
        ("long_context_credits_required",),
        # "Extra usage is required for long context requests." (anthropics/claude-code#42616)
        _words(r"(?:extra usage|usage credits)(?: is| are)? required for (?:the )?(?:long|1M) context"),
        "Claude requires usage credits for a context of more than 200,000 tokens.",
        f"Turn them on at {_USAGE}, or shorten the conversation.",
        LongContextRefused,
    ),
    MoneyCase(
        (),
        # "Third-party apps now draw from your extra usage, not your plan limits." (anthropics/claude-code#45048)
        _words(r"third-party apps\b.{0,20}\bextra usage"),
        "Anthropic treats this request as one of a third-party app. The plan does not cover it, and the account has no "
        "extra usage.",
        f"Add extra usage at {_USAGE}, or start this server with ANTHROPIC_API_KEY.",
    ),
    MoneyCase(
        ("model_requires_usage_credits",),
        _words(r"requires usage credits|usage credits are required"),
        "This model requires usage credits, and the account has none, or they are turned off.",
        f"Turn them on at {_USAGE}, or use another model.",
    ),
    MoneyCase(
        (),
        # "You've hit your org's monthly spend limit" (anthropics/claude-code#89615), "You have reached your specified
        # workspace API usage limits. You will regain access on 2026-06-01" (#55998)
        _words(r"spend(?:ing)? limit|monthly usage limit|your specified .{0,20}usage limits"),
        "A spend limit of the account or of its organization is reached.",
        f"Raise it at {_USAGE} (for an API key: https://platform.claude.com/settings/limits), or wait until it resets.",
    ),
    MoneyCase(
        (),
        # "You're out of extra usage. Add more at claude.ai/settings/usage" (earendil-works/pi#2943)
        _words(r"out of (?:extra usage|usage credits)|usage credits ran out"),
        "The extra usage of the account is used up.",
        f"Add more at {_USAGE}.",
    ),
    MoneyCase(
        ("billing_error",),
        # "Your credit balance is too low to access the Anthropic API." (anthropics/claude-code#54566)
        _words(r"credit balance (?:is )?too low"),
        "The credit balance of the account is too low, or there is a problem with its billing.",
        "See https://platform.claude.com/settings/billing. An ANTHROPIC_API_KEY in the server's environment takes "
        "precedence over its login: remove it to use the plan.",
    ),
    WINDOW,
)
# Claude Code reports these together with a less specific name, which they replace.
MONEY_KINDS: Final = frozenset(kind for case in _CASES for kind in case.kinds)

_BILLING: Final = next(case for case in _CASES if "billing_error" in case.kinds)
_PAYMENT_REQUIRED: Final = 402
# Statuses of Claude's API for billing failures; None if Claude Code rejects the request itself.
_STATUSES: Final = (None, 400, _PAYMENT_REQUIRED, 403, 429)


def money_case(kind: str, status: int | None, text: str) -> MoneyCase | None:
    """Return the case of a failure, None if it is not a billing failure.

    Args:
        kind: Claude Code's name of the failure, "" for none.
        status: status of the call to Claude's API, None if there was no response.
        text: Claude Code's error message.
    """
    for case in _CASES:
        if kind in case.kinds or (status in _STATUSES and case.words.search(text)):
            return case
    return _BILLING if status == _PAYMENT_REQUIRED else None


def resets_at(info: Mapping[str, Any]) -> float | None:
    """Return when the limit of a `rate_limit_info` resets, as a Unix time; None if it is not reached or unknown.

    Raises:
        LookupError, ValueError, TypeError, AttributeError: `info` is malformed.
    """
    if info["status"] != "rejected":
        return None
    windows = (info.get("unifiedWindows") or {}).values()
    rejected = [window["resetsAt"] for window in windows if window.get("status") == "rejected" and "resetsAt" in window]
    known = info.get("resetsAt") or max(rejected, default=None) or info.get("overageResetsAt")
    return None if known is None else float(known)
