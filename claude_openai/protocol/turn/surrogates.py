"""Joins UTF-16 surrogate pairs whose halves Claude's API sent in two deltas.

JSON can express a half, which Python decodes as a lone surrogate; two adjacent ones do not become the character.
JavaScript clients, which join deltas as UTF-16, are not affected; others are.
"""

import re
from typing import Final

__all__ = ["PairJoiner", "paired"]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def paired(text: str) -> str:
    """Return the text with each surrogate pair as one character, and each lone surrogate as U+FFFD."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class PairJoiner:
    """Moves the first half of a pair at the end of a delta to the next delta."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return paired(text)

    def rest(self) -> str:
        """Return U+FFFD if the first half of a pair is held back, otherwise ""."""
        half, self._half = self._half, ""
        return paired(half)
