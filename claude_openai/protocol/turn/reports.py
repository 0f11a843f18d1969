"""Reports of a turn: what it used, and the limits of the account. They are not part of the answer.

Unlike events they may come at any time, also after the end of the turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from claude_openai.protocol.turn.events import Usage

__all__ = ["AccountLimits", "ModelSpent", "Report", "Spent", "Window"]


@dataclass(frozen=True, slots=True)
class ModelSpent:
    """What was used of one model.

    Attributes:
        usage: tokens.
        cost_usd: dollars as reported by Claude Code; None if it will never report them, because its process ended.
    """

    usage: Usage
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used since the last report of the same process.

    Attributes:
        by_model: per model id of Claude, sub-agents included.
        at_list_price: the login is that of a subscription, so the dollars are what an API key would have paid.
    """

    by_model: Mapping[str, ModelSpent]
    at_list_price: bool = False

    @property
    def cost_usd(self) -> float | None:
        """The dollars reported by Claude Code, None if it reported none."""
        known = [each.cost_usd for each in self.by_model.values() if each.cost_usd is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Window:
    """A usage window of a subscription.

    Attributes:
        utilization: used share; 1.0 is all of it.
        resets_at: Unix time at which the window starts over, None if unknown.
        status: Claude's word for it, such as `allowed`, `allowed_warning` or `rejected`.
    """

    utilization: float | None
    resets_at: float | None
    status: str


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """The limits of a subscription, as Claude Code reports them with an answer.

    Attributes:
        rejected: Claude refuses requests.
        resets_at: Unix time at which the limit that applies resets, None if unknown.
        windows: by Claude's name, such as `five_hour` and `seven_day`.
        overage: Claude's word for the state of usage beyond the plan, "" if unknown.
        uses_overage: requests are paid beyond the plan.
    """

    rejected: bool = False
    resets_at: float | None = None
    windows: Mapping[str, Window] = field(default_factory=dict)
    overage: str = ""
    uses_overage: bool = False


Report: TypeAlias = Spent | AccountLimits
