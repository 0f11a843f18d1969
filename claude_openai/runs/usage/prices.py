"""Estimates the dollars of turns that ended before Claude Code could report them, such as cancelled ones.

A model's price is learnt from the turns whose dollars are known: dollars per weighted token, with the weights of
Anthropic's price list, where cached tokens cost a tenth, written ones a quarter more, and output five times as much.
They are approximate: cached tokens of the newest models are cheaper.
"""

from dataclasses import dataclass, field
from typing import Final

from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import ModelSpent

__all__ = ["Prices"]

CACHE_READ: Final = 0.1
CACHE_WRITE: Final = 1.25
OUTPUT: Final = 5.0


@dataclass(slots=True)
class Prices:
    """The dollars and weighted tokens of each model so far."""

    _known: dict[str, tuple[float, float]] = field(default_factory=dict)

    def learn(self, model: str, spent: ModelSpent) -> None:
        """Take what was used of a model; ignored without dollars."""
        if spent.cost_usd:
            cost, weight = self._known.get(model, (0.0, 0.0))
            self._known[model] = (cost + spent.cost_usd, weight + _weight(spent.usage))

    def estimate(self, model: str, usage: Usage) -> float:
        """Return the dollars that the tokens cost about; 0 if the model's price is unknown."""
        cost, weight = self._known.get(model, (0.0, 0.0))
        return cost / weight * _weight(usage) if weight else 0.0


def _weight(usage: Usage) -> float:
    prompt = usage.input_tokens + CACHE_READ * usage.cache_read_tokens + CACHE_WRITE * usage.cache_write_tokens
    return prompt + OUTPUT * usage.output_tokens
