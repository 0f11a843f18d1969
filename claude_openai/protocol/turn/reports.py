"""Reports of a turn: what it has used, and the limits of the account. They are not part of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from claude_openai.protocol.turn.events import Usage

__all__ = ["AccountLimits", "ModelSpent", "Report", "Spent", "Window"]

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class ModelSpent:
    """What was used of one model.

    Attributes:
        usage: tokens that Claude Code has reported with their dollars.
        cost_usd: these dollars.
        estimated_usage: tokens that it has not reported yet; negative when they are replaced by reported ones.
        estimated_usd: estimated dollars of these tokens; negative in the same case.
    """

    usage: Usage = NOTHING
    cost_usd: float = 0.0
    estimated_usage: Usage = NOTHING
    estimated_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used since the last report of the same process. The sum of all reports is what it has used.

    Attributes:
        by_model: per model id of Claude, sub-agents included.
        at_list_price: the login is that of a subscription, so the dollars are what an API key would have paid.
    """

    by_model: Mapping[str, ModelSpent]
    at_list_price: bool = False

    @property
    def usd(self) -> float:
        """All dollars, the estimated ones included."""
        return sum(each.cost_usd + each.estimated_usd for each in self.by_model.values())


@dataclass(frozen=True, slots=True)
class Window:
    """A usage window of a subscription.

    Attributes:
        utilization: used share; 1.0 is all of it. None if unknown.
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
        windows: by Claude's name, such as `five_hour` and `seven_day`; a report has only some of them.
        overage: Claude's word for the state of usage beyond the plan, "" if unknown.
        uses_overage: requests are paid beyond the plan.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    overage: str = ""
    uses_overage: bool = False


Report: TypeAlias = Spent | AccountLimits
