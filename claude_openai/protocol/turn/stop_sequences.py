"""Applies stop sequences to a streamed answer.

The result does not depend on how the text is split into deltas: the text is cut before the stop sequence that is
complete first, and if two are complete at the same character, before the longer one.
"""

from collections.abc import Sequence
from dataclasses import replace

from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    ReasoningEnd,
    SearchEnded,
    SearchStarted,
    TextDelta,
    TurnCompleted,
    TurnStarted,
    Usage,
)

__all__ = ["StopSequenceEvents", "StopSequenceFilter"]

# For the estimate of a turn that is stopped: Claude reports the tokens at the end of a turn.
CHARS_PER_TOKEN = 4


class StopSequenceFilter:
    """Takes deltas of text and returns the text that may be sent.

    Args:
        stops: the sequences; none of them empty.

    Attributes:
        found: the sequence that was found, None before; after it nothing more is shown.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Return the text to send after this delta. An end that may begin a stop sequence is held back."""
        if self.found is not None:
            return ""
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            end, start = min(ends)
            self.found, self._held = text[start:end], ""
            return text[:start]
        held = max(map(len, (_beginning(text, stop) for stop in self._stops)), default=0)
        shown, self._held = text[: len(text) - held], text[len(text) - held :]
        return shown

    def rest(self) -> str:
        """Return the text that was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held


def _beginning(text: str, stop: str) -> str:
    """Return the longest end of the text that is a beginning of the stop sequence, which the text does not contain."""
    longest = min(len(text), len(stop) - 1)
    return next((stop[:size] for size in range(longest, 0, -1) if text.endswith(stop[:size])), "")


class StopSequenceEvents:
    """Filters the events of a turn. After the cut, the last event is the end of the turn.

    The output tokens of a turn that was cut are an estimate.

    Attributes:
        found: the stop sequence that was found, so that the turn must be stopped; None before.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._text = StopSequenceFilter(stops)
        self._cuts = bool(stops)
        self._chars = 0
        self._usage = Usage()

    @property
    def found(self) -> str | None:
        return self._text.found

    def feed(self, event: Event) -> list[Event]:
        if not self._cuts:
            return [event]
        match event:
            case TextDelta(text):
                shown = self._text.feed(text)
                self._chars += len(text)
                found = self.found
                end = [] if found is None else [TurnCompleted("stop", self._spent(), stop_sequence=found)]
                return [*([TextDelta(shown)] if shown else []), *end]
            case TurnStarted():
                self._usage = event.usage
                return [event]
            case ReasoningDelta(text):  # not part of the text, so a sequence may continue after it
                self._chars += len(text)
                return [event]
            case ReasoningEnd() | SearchStarted() | SearchEnded():
                return [event]
        held = self._text.rest()
        return [TextDelta(held), event] if held else [event]

    def _spent(self) -> Usage:
        return replace(self._usage, output_tokens=max(self._usage.output_tokens, -(-self._chars // CHARS_PER_TOKEN)))
