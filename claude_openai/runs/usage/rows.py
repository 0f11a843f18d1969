"""The rows of the usage table: sums by day, model, key and kind of login. And the summary that users see.

Prompts and answers are never part of a row.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

__all__ = ["AMOUNT_NAMES", "DAYS_SHOWN", "DIGITS", "Amounts", "RowKey", "add_row", "summary", "total"]

DAYS_SHOWN: Final = 7
# Dollars are sums of floats; their noise begins at the 16th digit.
DIGITS: Final = 9


class RowKey(NamedTuple):
    """What a row is about.

    Attributes:
        day: local date, `2026-11-27`.
        model: Claude's model id, as reported by Claude Code.
        key: name of the caller's key.
        at_list_price: 1 for a subscription, whose dollars are what an API key would have paid.
    """

    day: str
    model: str
    key: str
    at_list_price: int


@dataclass(frozen=True, slots=True)
class Amounts:
    """The sums of a row; the kinds of tokens do not overlap, but `thinking` is part of `output`.

    Attributes:
        cost_usd: dollars as reported by Claude Code.
        estimated_usd: dollars of what Claude Code could not report, because it was ended before.
        unpriced: number of reports without dollars, whether estimated or not.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    thinking: int = 0
    cost_usd: float = 0.0
    estimated_usd: float = 0.0
    unpriced: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(*(getattr(self, name) + getattr(other, name) for name in AMOUNT_NAMES))

    @property
    def usd(self) -> float:
        """All dollars, the estimated ones included."""
        return self.cost_usd + self.estimated_usd

    def to_json(self) -> dict[str, Any]:
        prompt = self.input + self.cache_read + self.cache_write
        return {
            "cost_usd": round(self.usd, DIGITS),
            "estimated_usd": round(self.estimated_usd, DIGITS),
            "turns_without_cost": self.unpriced,
            "input_tokens": prompt,
            "cache_read_tokens": self.cache_read,
            "cache_write_tokens": self.cache_write,
            "output_tokens": self.output,
            "thinking_tokens": self.thinking,
            "cache_read_share": round(self.cache_read / prompt, 4) if prompt else None,
        }


AMOUNT_NAMES: Final = tuple(field.name for field in fields(Amounts))


def add_row(rows: MutableMapping[RowKey, Amounts], key: RowKey, amounts: Amounts) -> None:
    rows[key] = rows.get(key, Amounts()) + amounts


def total(rows: Iterable[Amounts]) -> Amounts:
    return sum(rows, Amounts())


def summary(rows: Mapping[RowKey, Amounts], today: date) -> dict[str, Any]:
    """Return the usage of today and of the last 7 days, by day, model and key."""
    first = (today - timedelta(days=DAYS_SHOWN - 1)).isoformat()
    shown = {key: amounts for key, amounts in rows.items() if first <= key.day <= today.isoformat()}
    of_today = {key: amounts for key, amounts in shown.items() if key.day == today.isoformat()}
    days = sorted({key.day for key in shown}, reverse=True)
    return {
        "today": _period(of_today),
        "last_7_days": _period(shown),
        "days": [{"day": day, **total(a for key, a in shown.items() if key.day == day).to_json()} for day in days],
    }


def _period(rows: Mapping[RowKey, Amounts]) -> dict[str, Any]:
    at_list_price = total(amounts for key, amounts in rows.items() if key.at_list_price)
    return {
        **total(rows.values()).to_json(),
        "at_list_price_usd": round(at_list_price.usd, DIGITS),
        "by_model": _groups("model", rows),
        "by_key": _groups("key", rows),
    }


def _groups(name: str, rows: Mapping[RowKey, Amounts]) -> list[dict[str, Any]]:
    sums: dict[str, Amounts] = {}
    for key, amounts in rows.items():
        group = getattr(key, name)
        sums[group] = sums.get(group, Amounts()) + amounts
    ordered = sorted(sums.items(), key=lambda item: (-item[1].usd, item[0]))
    return [{name: group, **amounts.to_json()} for group, amounts in ordered]
