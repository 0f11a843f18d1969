"""The limits of usage that the operator has set."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from claude_openai.errors import QuotaExhausted
from claude_openai.runs.usage.account import AccountWindows

__all__ = ["UsageLimits"]


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """The operator's limits; None for no limit.

    Attributes:
        max_cost_usd: dollars of a local day.
        stop_at: utilization of a window, from 0 to 1.
    """

    max_cost_usd: float | None = None
    stop_at: float | None = None

    def cost_refusal(self, spent_usd: float, now: float) -> QuotaExhausted | None:
        """Return the error for the next turn if the day's dollars are used up.

        Args:
            spent_usd: dollars of today.
            now: Unix time.
        """
        if self.max_cost_usd is None or spent_usd < self.max_cost_usd:
            return None
        today = datetime.fromtimestamp(now).astimezone()
        midnight = datetime.combine(today.date() + timedelta(days=1), datetime.min.time()).astimezone()
        return QuotaExhausted(
            f"This server has used ${spent_usd:.2f} today, and its limit is ${self.max_cost_usd:g} a day "
            "(--max-cost-per-day)",
            hint="Wait until tomorrow, or start the server with a higher limit.",
            retry_after_s=max(1, round(midnight.timestamp() - now)),
            may_retry=False,
        )

    def window_refusal(self, windows: AccountWindows, now: float) -> QuotaExhausted | None:
        """Return the error for the next turn if a window has reached the limit."""
        stop_at = self.stop_at
        if stop_at is None:
            return None
        full = [(name, window) for name, window in windows.current(now) if (window.utilization or 0) >= stop_at]
        if not full:
            return None
        name, window = max(full, key=lambda each: each[1].resets_at or 0)
        wait_s = None if window.resets_at is None else max(1, round(window.resets_at - now))
        until = "" if wait_s is None else f" until the window resets, in {-(-wait_s // 60)} min"
        return QuotaExhausted(
            f"The window {name} of the account is {window.utilization or 0:.0%} used, and this server stops at "
            f"{stop_at:.0%} (--stop-at-utilization)",
            hint=f"It accepts no turns{until}.",
            retry_after_s=wait_s,
            may_retry=False,
        )

    def to_json(self) -> dict[str, float | None]:
        return {"max_cost_per_day_usd": self.max_cost_usd, "stop_at_utilization": self.stop_at}
