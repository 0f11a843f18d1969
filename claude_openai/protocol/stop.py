"""Stop sequences: where an answer that comes in pieces is cut.

Knows text and nothing of turns. What a client sees is the same wherever the pieces end: the text is cut before the stop
sequence that is complete first, and of two that are complete at once before the longer one.
"""

from collections.abc import Sequence

__all__ = ["StopCutter"]


class StopCutter:
    """Takes pieces of text and gives what may be shown.

    Args:
        stops: the sequences; none of them empty.

    Attributes:
        found: a sequence was found; nothing more is shown.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What may be shown after this piece. An end that may be the beginning of a stop sequence is held back."""
        if self.found:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)[1]]
        held = max(map(len, (_beginning(text, stop) for stop in self._stops)), default=0)
        shown, self._held = text[: len(text) - held], text[len(text) - held :]
        return shown

    def rest(self) -> str:
        """What was held back, when nothing follows it."""
        held, self._held = self._held, ""
        return held


def _beginning(text: str, stop: str) -> str:
    """The longest end of the text with which the stop sequence begins; the whole sequence is not in the text."""
    longest = min(len(text), len(stop) - 1)
    return next((stop[:size] for size in range(longest, 0, -1) if text.endswith(stop[:size])), "")
