"""Characters outside the basic plane, whose two UTF-16 halves Claude's API may send in two pieces.

JSON can carry a half alone, Python holds it as a lone surrogate, and two of them side by side are still not the
character. Clients that join pieces as UTF-16 (JavaScript) never notice; others would.
"""

import re
from typing import Final

__all__ = ["PairJoiner", "paired"]

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def paired(text: str) -> str:
    """The text with each surrogate pair as one character; a lone half stays."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class PairJoiner:
    """Takes a text in pieces and gives it in pieces that end in no half which the next one may complete."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return paired(text)

    def rest(self) -> str:
        """The half that nothing completes, if there is one."""
        half, self._half = self._half, ""
        return half
