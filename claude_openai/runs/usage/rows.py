"""The rows of the usage table: sums by day, model and key. And the summary that users see.

Prompts and answers are never part of a row.
"""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import ModelSpent
from claude_openai.runs.capture.records import USD_DIGITS

__all__ = ["AMOUNT_NAMES", "DAYS_SHOWN", "Amounts", "RowKey", "Rows", "add_row", "amounts_of", "summary", "total"]

DAYS_SHOWN: Final = 7


class RowKey(NamedTuple):
    """What a row is about.

    Attributes:
        day: local date, `2026-11-27`.
        model: Claude's model id, as reported by Claude Code.
        key: name of the caller's key.
    """

    day: str
    model: str
    key: str


@dataclass(frozen=True, slots=True)
class Amounts:
    """The sums of a row. The kinds of tokens do not overlap, but `thinking` is part of `output`.

    Attributes:
        cost_usd: dollars as reported by Claude Code.
        estimated_usd: dollars of tokens that it has not reported, such as those of a turn that was cancelled.
        at_list_price_usd: the part of `cost_usd` that a subscription covers: an API key would have paid it.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    thinking: int = 0
    cost_usd: float = 0.0
    estimated_usd: float = 0.0
    at_list_price_usd: float = 0.0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(getattr(self, name) + getattr(other, name) for name in AMOUNT_NAMES))

    @property
    def usd(self) -> float:
        """All dollars, the estimated ones included."""
        return self.cost_usd + self.estimated_usd

    def to_json(self) -> dict[str, Any]:
        return {
            "cost_usd": round(self.usd, USD_DIGITS),
            "estimated_usd": round(self.estimated_usd, USD_DIGITS),
            "at_list_price_usd": round(self.at_list_price_usd, USD_DIGITS),
            "input_tokens": self.input + self.cache_read + self.cache_write,
            "cache_read_tokens": self.cache_read,
            "cache_write_tokens": self.cache_write,
            "output_tokens": self.output,
            "thinking_tokens": self.thinking,
        }


Rows = MutableMapping[RowKey, Amounts]
AMOUNT_NAMES: Final = tuple(field.name for field in fields(Amounts))


def amounts_of(spent: ModelSpent, *, at_list_price: bool = False) -> Amounts:
    covered = spent.cost_usd if at_list_price else 0.0
    dollars = Amounts(cost_usd=spent.cost_usd, estimated_usd=spent.estimated_usd, at_list_price_usd=covered)
    return _tokens(spent.usage) + _tokens(spent.estimated_usage) + dollars


def _tokens(usage: Usage) -> Amounts:
    return Amounts(
        input=usage.input_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
        output=usage.output_tokens,
        thinking=usage.reasoning_tokens,
    )


def add_row(rows: Rows, key: RowKey, amounts: Amounts) -> None:
    rows[key] = rows.get(key, Amounts()) + amounts


def total(rows: Iterable[Amounts]) -> Amounts:
    return sum(rows, Amounts())


def summary(rows: Mapping[RowKey, Amounts], today: date) -> dict[str, Any]:
    """Return the usage of today and of the last 7 days, by day, model and key."""
    first = (today - timedelta(days=DAYS_SHOWN - 1)).isoformat()
    shown = {key: amounts for key, amounts in rows.items() if first <= key.day <= today.isoformat()}
    of_today = {key: amounts for key, amounts in shown.items() if key.day == today.isoformat()}
    days = _groups("day", shown, lambda item: item[0])
    return {"today": _period(of_today), "last_7_days": _period(shown), "days": days}


def _period(rows: Mapping[RowKey, Amounts]) -> dict[str, Any]:
    return {
        **total(rows.values()).to_json(),
        "by_model": _groups("model", rows, lambda item: item[1].usd),
        "by_key": _groups("key", rows, lambda item: item[1].usd),
    }


def _groups(
    name: str, rows: Mapping[RowKey, Amounts], order: Callable[[tuple[str, Amounts]], Any]
) -> list[dict[str, Any]]:
    sums: dict[str, Amounts] = {}
    for key, amounts in rows.items():
        group = getattr(key, name)
        sums[group] = sums.get(group, Amounts()) + amounts
    found = [{name: group, **amounts.to_json()} for group, amounts in sorted(sums.items(), key=order, reverse=True)]
    # Estimates can be of another model id than what replaces them; nothing is left of such a row.
    return [group for group in found if any(value for key, value in group.items() if key != name)]
