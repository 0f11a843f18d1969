"""Refusals that are about money: what Claude Code calls them, what the client is told, and what helps.

To Anthropic a used-up plan is a 429 and a plan that does not pay for the request a 400, so these would read as "slow
down" and as "the request is malformed", and clients would repeat them or blame themselves. Claude Code gives some of
them a name of its own (`api_error`, 2.1.332; earlier versions do not), which is surer than the words. The words are
those of Claude's API and of Claude Code, as they stand in public reports; each case names one.
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
    """One kind of refusal.

    Attributes:
        kinds: Claude Code's names for it.
        words: what its text has, where there is no name.
        says: what is wrong, for the client.
        do: what to do about it.
        error: the class of the client's error.
    """

    kinds: tuple[str, ...]
    words: re.Pattern[str]
    says: str
    do: str
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
    f"Wait until it resets, turn on extra usage at {_USAGE}, or, if it is the limit of one model, use another.",
)

# The first that fits counts: a spend limit and used-up credits are `usage_limit_reached` too, and only the words tell.
_CASES: Final[Sequence[MoneyCase]] = (
    MoneyCase(
        ("long_context_credits_required",),
        # "Extra usage is required for long context requests." (anthropics/claude-code#42616)
        _words(r"(?:extra usage|usage credits)(?: is| are)? required for (?:the )?(?:long|1M) context"),
        "Claude wants usage credits for a context of more than 200,000 tokens.",
        f"Turn them on at {_USAGE}, or shorten the conversation.",
        LongContextRefused,
    ),
    MoneyCase(
        (),
        # "Third-party apps now draw from your extra usage, not your plan limits." (anthropics/claude-code#45048)
        _words(r"third-party apps\b.{0,20}\bextra usage"),
        "Anthropic takes this request for one of a third-party app, which the plan does not pay for, and there is no "
        "extra usage that would.",
        f"Add extra usage at {_USAGE}, or give this server ANTHROPIC_API_KEY.",
    ),
    MoneyCase(
        ("model_requires_usage_credits",),
        _words(r"requires usage credits|usage credits are required"),
        "This model is paid with usage credits, and the account has none, or has them turned off.",
        f"Turn them on at {_USAGE}, or use another model.",
    ),
    MoneyCase(
        (),
        # "You've hit your org's monthly spend limit" (anthropics/claude-code#89615), "You have reached your specified
        # workspace API usage limits. You will regain access on 2026-06-01" (#55998)
        _words(r"spend(?:ing)? limit|monthly usage limit|your specified .{0,20}usage limits"),
        "A spend limit of the account or of its organization is reached.",
        f"Raise it at {_USAGE}, for a key at https://platform.claude.com/settings/limits, or wait until it resets.",
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
        "The credit balance of the account is too low, or its billing is not in order.",
        "See https://platform.claude.com/settings/billing. An ANTHROPIC_API_KEY in the server's environment wins over "
        "its login: remove it to use the plan.",
    ),
    WINDOW,
)
# The names that stand beside a coarser one, which they replace.
MONEY_KINDS: Final = frozenset(kind for case in _CASES for kind in case.kinds)

_BILLING: Final = next(case for case in _CASES if "billing_error" in case.kinds)
_PAYMENT_REQUIRED: Final = 402
# The statuses under which Claude's API refuses for money; None is Claude Code's own refusal.
_STATUSES: Final = (None, 400, _PAYMENT_REQUIRED, 403, 429)


def money_case(kind: str, status: int | None, text: str) -> MoneyCase | None:
    """The case of a failure; None if it is not about money.

    Args:
        kind: Claude Code's name for it, "" for none.
        status: of the call to Claude's API, None if there was none.
        text: Claude Code's sentence about it.
    """
    for case in _CASES:
        if kind in case.kinds or (status in _STATUSES and case.words.search(text)):
            return case
    return _BILLING if status == _PAYMENT_REQUIRED else None


def resets_at(info: Mapping[str, Any]) -> float | None:
    """When the limit that a `rate_limit_info` tells of resets, as a Unix time; None if nothing is refused or known.

    Raises:
        LookupError, ValueError, TypeError, AttributeError: it is none.
    """
    if info["status"] != "rejected":
        return None
    windows = (info.get("unifiedWindows") or {}).values()
    rejected = [window["resetsAt"] for window in windows if window.get("status") == "rejected" and "resetsAt" in window]
    known = info.get("resetsAt") or max(rejected, default=None) or info.get("overageResetsAt")
    return None if known is None else float(known)
