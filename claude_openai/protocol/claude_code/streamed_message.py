"""One message of Claude while it is streamed, block by block.

When the stream breaks off, the blocks from some index on are abandoned: Claude will not see them. So text that need not
be sent at once is buffered by block, with the thinking after it, and calls are read only when the message has ended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

from claude_openai.protocol.turn.events import ReasoningDelta, ReasoningEnd, TextDelta
from claude_openai.protocol.turn.stop_sequences import StopSequenceFilter
from claude_openai.protocol.turn.surrogates import PairJoiner, paired

__all__ = ["AnswerDelta", "CallBlock", "StreamedMessage"]

AnswerDelta: TypeAlias = TextDelta | ReasoningDelta | ReasoningEnd


@dataclass(slots=True)
class CallBlock:
    """A `tool_use` block. `name` is the client's name of the tool, None for a tool that is not the client's."""

    id: str
    name: str | None
    claude_name: str
    fragments: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The JSON as Claude wrote it."""
        return paired("".join(self.fragments)) or "{}"


class StreamedMessage:
    """A message that is being streamed.

    Args:
        live: release text as it arrives. Otherwise it is buffered until the message ends.
        stops: stop sequences. Buffered text is released as soon as it contains one, since the answer ends there.
        own_name: maps Claude's name of a tool to the client's; None for a tool that is not the client's.

    Attributes:
        has_text: the message has text.
        released: index of the last block of which text was released, -1 for none.
        complete: index after the last block that has ended.
        thinks: a block of thinking has begun and has not ended.
    """

    def __init__(self, *, live: bool, stops: Sequence[str], own_name: Callable[[str], str | None]) -> None:
        self._live = live
        self._stop = StopSequenceFilter(stops)
        self._own_name = own_name
        self._buffered: dict[int, list[AnswerDelta]] = {}
        self._calls: dict[int, CallBlock] = {}
        self._pairs = {kind: PairJoiner() for kind in ("text", "thinking")}
        self.has_text = False
        self.released = -1
        self.complete = 0
        self.thinks = False
        self._signature = ""

    def feed(self, event: Mapping[str, Any]) -> list[AnswerDelta]:
        """Take an event of a content block. Return the deltas that can be sent to the client now."""
        match event["type"]:
            case "content_block_start":
                return self._begin(event["index"], event["content_block"])
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "content_block_stop":
                self.complete = max(self.complete, event["index"] + 1)
                return self._end_block(event["index"])
        return []

    def rest(self, until: int | None = None) -> list[AnswerDelta]:
        """Return the buffered blocks before `until`, by default all, and empty the buffer."""
        blocks = [block for index, block in self._buffered.items() if until is None or index < until]
        self._buffered = {}
        return [delta for block in blocks for delta in _joined(block)]

    def calls(self, until: int | None = None) -> list[CallBlock]:
        """Return the calls of the blocks before `until`, by default of the complete blocks."""
        end = self.complete if until is None else until
        return [call for index, call in self._calls.items() if index < end]

    def _begin(self, index: int, block: Mapping[str, Any]) -> list[AnswerDelta]:
        match block.get("type"):
            case "tool_use":
                name = str(block["name"])
                self._calls[index] = CallBlock(str(block["id"]), self._own_name(name), name)
            case "redacted_thinking":
                return self._of_thinking(index, ReasoningEnd(redacted=str(block.get("data", ""))))
        return []

    def _delta(self, index: int, delta: Mapping[str, Any]) -> list[AnswerDelta]:
        match delta.get("type"):
            case "text_delta":
                return self._text(index, self._pairs["text"].feed(delta["text"]))
            case "thinking_delta":
                return self._thinking(index, self._pairs["thinking"].feed(delta["thinking"]))
            case "signature_delta":
                self._signature = str(delta["signature"])
            case "input_json_delta" if index in self._calls:
                self._calls[index].fragments.append(delta["partial_json"])
        return []

    def _end_block(self, index: int) -> list[AnswerDelta]:
        text, thinking = self._pairs["text"].rest(), self._pairs["thinking"].rest()
        deltas = [*self._text(index, text), *self._thinking(index, thinking)]
        if self.thinks or self._signature:
            deltas += self._of_thinking(index, ReasoningEnd(self._signature))
            self.thinks, self._signature = False, ""
        return deltas

    def _text(self, index: int, text: str) -> list[AnswerDelta]:
        if not text:
            return []
        self.has_text = True
        if not self._live:
            self._buffered.setdefault(index, []).append(TextDelta(text))
            self._stop.feed(text)
            if self._stop.found is None:
                return []
            self._live, self.released = True, index
            return self.rest()
        self.released = index
        return [TextDelta(text)]

    def _thinking(self, index: int, text: str) -> list[AnswerDelta]:
        if not text:
            return []
        self.thinks = True
        return self._of_thinking(index, ReasoningDelta(text))

    def _of_thinking(self, index: int, delta: AnswerDelta) -> list[AnswerDelta]:
        if not self._buffered:
            return [delta]
        self._buffered.setdefault(index, []).append(delta)
        return []


def _joined(block: Sequence[AnswerDelta]) -> Iterator[AnswerDelta]:
    """Yield the deltas of a block with its texts in one."""
    for kind, deltas in groupby(block, key=type):
        if kind is ReasoningEnd:
            yield from deltas
        else:
            yield kind("".join(delta.text for delta in deltas if not isinstance(delta, ReasoningEnd)))
