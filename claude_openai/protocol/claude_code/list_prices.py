"""Estimates the dollars of tokens whose price Claude Code has not reported yet."""

from typing import Final

from claude_openai.protocol.turn.events import Usage

__all__ = ["estimated_usd"]

# Dollars of 10^6 input tokens, by a part of the model id; the first one counts. As in Claude Code 2.1.332.
_INPUT: Final = {
    "haiku-5-5": 0.1,
    "haiku": 1.0,
    "sonnet-5": 2.0,
    "sonnet": 3.0,
    "opus-5-5": 4.0,
    "opus": 5.0,
    "fable-5-2": 8.0,
    "fable": 10.0,
}
# The prices of other tokens, as multiples of that.
_OUTPUT: Final = 5.0
# The newest models take half as much or less.
_CACHE_READ: Final = 0.1
_CACHE_WRITE: Final = 1.25
# Claude Code lets a subscription's cache live for an hour.
_CACHE_WRITE_1H: Final = 2.0


def estimated_usd(model: str, usage: Usage, *, long_cache: bool) -> float:
    """Return about what the tokens cost. An unknown model counts as the most expensive one.

    Args:
        model: Claude's model id.
        usage: tokens.
        long_cache: written tokens stay in the prompt cache for an hour, not for five minutes.
    """
    price = next((price for name, price in _INPUT.items() if name in model), max(_INPUT.values()))
    written = (_CACHE_WRITE_1H if long_cache else _CACHE_WRITE) * usage.cache_write_tokens
    prompt = usage.input_tokens + _CACHE_READ * usage.cache_read_tokens + written
    return price / 1e6 * (prompt + _OUTPUT * usage.output_tokens)
