"""The limits of usage that the operator has set."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from claude_openai.errors import QuotaExhausted
from claude_openai.protocol.turn.reports import Window

__all__ = ["UsageLimits"]


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """The operator's limits, for all clients or for those with one key; None for no limit.

    Attributes:
        max_cost_usd: dollars of a local day.
        stop_at: utilization of a window, from 0 to 1.
        key: name of the key that they are for, "" for all clients.
    """

    max_cost_usd: float | None = None
    stop_at: float | None = None
    key: str = ""

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
        wait_s = max(1, ceil(midnight.timestamp() - now))
        if self.key:
            return QuotaExhausted(
                f"The key of {self.key!r} has used ${spent_usd:.2f} today, and may use ${self.max_cost_usd:g} a day",
                hint="Wait until tomorrow, or ask the operator of this server for a higher limit.",
                code="key_budget_exhausted",
                retry_after_s=wait_s,
                may_retry=False,
            )
        return QuotaExhausted(
            f"This server has used ${spent_usd:.2f} today, and its limit is ${self.max_cost_usd:g} a day "
            "(--max-cost-per-day)",
            hint="Wait until tomorrow, or start the server with a higher limit.",
            retry_after_s=wait_s,
            may_retry=False,
        )

    def window_refusal(self, windows: Iterable[tuple[str, Window]], now: float) -> QuotaExhausted | None:
        """Return the error for the next turn if a window has reached the limit.

        Args:
            windows: the windows that have not reset. One without a known reset does not count: without a turn its
                state would never change.
            now: Unix time.
        """
        if self.stop_at is None:
            return None
        full = [
            (window.resets_at, name, window.utilization)
            for name, window in windows
            if window.resets_at is not None and window.utilization is not None and window.utilization >= self.stop_at
        ]
        if not full:
            return None
        resets_at, name, utilization = max(full)
        wait_s = max(1, ceil(resets_at - now))
        return QuotaExhausted(
            f"The window {name} of the account is {utilization:.0%} used, and this server stops at {self.stop_at:.0%} "
            "(--stop-at-utilization)",
            hint=f"It accepts no turns until the window resets, in {ceil(wait_s / 60)} min.",
            retry_after_s=wait_s,
            may_retry=False,
        )

    def to_json(self) -> dict[str, float | None]:
        return {"max_cost_per_day_usd": self.max_cost_usd, "stop_at_utilization": self.stop_at}
