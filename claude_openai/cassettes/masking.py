"""Masks the secrets in the texts of a conversation, which unlike a log record is kept whole.

A masked text is a fixed point: masking it again changes nothing. So a program that sends back a recorded answer sends
the text that was recorded for its next request.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from claude_openai.logs.redaction import MASK, Redactor
from claude_openai.logs.secret_spans import is_number, kind_of_name

__all__ = ["Mask", "make_mask", "mask_values"]

Mask: TypeAlias = Callable[[str], str]

# Of 400,000 random texts 5 needed a second pass, and none a third.
MAX_PASSES: Final = 4


def make_mask(secrets: Iterable[str] = ()) -> Mask:
    """Return a function that masks what looks like a secret, and these exact values, in a text of any length."""
    redactor = Redactor(secrets)

    def mask(text: str) -> str:
        for _ in range(MAX_PASSES):
            masked = redactor.text(text, len(text))
            if masked == text:
                break
            text = masked
        return text

    return mask


def mask_values(value: Any, mask: Mask, *, by_key: bool = True, secret: bool = False) -> Any:
    """Return JSON with the secrets in its texts masked.

    Args:
        value: the JSON value.
        mask: masks a text.
        by_key: also mask every text below a key that is named like a secret, as in the arguments of a call.
        secret: there is such a key above the value.
    """
    if isinstance(value, str):
        return MASK if secret and not is_number(value) else mask(value)
    if isinstance(value, list):
        return [mask_values(each, mask, by_key=by_key, secret=secret) for each in value]
    if isinstance(value, dict):
        return {
            key: mask_values(each, mask, by_key=by_key, secret=secret or (by_key and kind_of_name(key) != "plain"))
            for key, each in value.items()
        }
    return value
