"""The operator's limits refuse the next turn, with the time at which it may come again."""

from datetime import datetime

import pytest

from claude_openai.errors import QuotaExhausted
from claude_openai.protocol.turn.reports import Window
from claude_openai.runs.usage.limits import UsageLimits

NOON = datetime(2026, 11, 27, 12).timestamp()
FULL = Window(0.93, NOON + 90.5, "allowed_warning")
UNKNOWN = Window(None, NOON + 60, "")


def headers(refusal: QuotaExhausted | None) -> dict[str, str]:
    assert refusal is not None
    assert (refusal.status, refusal.body()["error"]["code"]) == (429, "insufficient_quota")
    return refusal.headers()


def test_without_limits_nothing_is_refused() -> None:
    assert UsageLimits().cost_refusal(1e9, NOON) is None
    assert UsageLimits().window_refusal([("five_hour", FULL)], NOON) is None


def test_dollars_of_the_day_refuse_until_local_midnight() -> None:
    limits = UsageLimits(max_cost_usd=5)
    assert limits.cost_refusal(4.99, NOON) is None
    assert headers(limits.cost_refusal(5.0, NOON)) == {"retry-after": str(12 * 3600), "x-should-retry": "false"}
    assert headers(limits.cost_refusal(6.0, NOON + 12 * 3600 - 0.5))["retry-after"] == "1"


def test_refusal_of_the_day_names_the_dollars_and_the_setting() -> None:
    refusal = UsageLimits(max_cost_usd=0.5).cost_refusal(0.514, NOON)
    assert refusal is not None
    assert refusal.message.startswith(
        "This server has used $0.51 today, and its limit is $0.5 a day (--max-cost-per-day)"
    )


def test_a_full_window_refuses_until_its_reset() -> None:
    limits = UsageLimits(stop_at=0.9)
    assert limits.window_refusal([("five_hour", Window(0.89, NOON + 60, "allowed"))], NOON) is None
    assert headers(limits.window_refusal([("five_hour", FULL)], NOON)) == {
        "retry-after": "91",
        "x-should-retry": "false",
    }


def test_of_two_full_windows_the_later_reset_counts() -> None:
    week = Window(1.0, NOON + 3600, "rejected")
    refusal = UsageLimits(stop_at=0.9).window_refusal([("seven_day", week), ("five_hour", FULL)], NOON)
    assert headers(refusal)["retry-after"] == "3600"
    assert refusal is not None
    assert "seven_day" in refusal.message


@pytest.mark.parametrize("window", [UNKNOWN, Window(1.0, None, "rejected")])
def test_a_window_of_unknown_use_or_reset_refuses_nothing(window: Window) -> None:
    assert UsageLimits(stop_at=0.5).window_refusal([("five_hour", window)], NOON) is None
