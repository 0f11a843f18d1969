"""One message of Claude while it is streamed: its blocks, and which of them stand when it ends.

A stream can break off. Claude Code then says from which block index on the message is void; the blocks before it stand,
and Claude will see them. So text that is not shown at once is kept by block, and calls wait for the message's end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from claude_openai.protocol.events import ReasoningDelta, TextDelta
from claude_openai.protocol.stop import StopCutter
from claude_openai.protocol.surrogates import PairJoiner, paired

__all__ = ["CallBlock", "Message"]


@dataclass(slots=True)
class CallBlock:
    """A tool_use block. `name` is the client's name of the tool, None for a tool that is not the client's."""

    id: str
    name: str | None
    claude_name: str
    fragments: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The JSON as Claude wrote it."""
        return paired("".join(self.fragments)) or "{}"


class Message:
    """A message under way.

    Args:
        live: show text as it comes. Otherwise it is kept until the message ends, and nothing that was shown is void.
        stops: stop sequences; text that is kept is shown as soon as it holds one, since the answer ends there.
        own_name: the client's name of a tool, None for one that is not the client's.

    Attributes:
        has_text: it says something.
        shown: index of the last block of which text was shown, -1 for none.
        complete: index after the last block that was ended.
    """

    def __init__(self, *, live: bool, stops: Sequence[str], own_name: Callable[[str], str | None]) -> None:
        self._live = live
        self._stop = StopCutter(stops)
        self._own_name = own_name
        self._kept: dict[int, list[str]] = {}
        self._calls: dict[int, CallBlock] = {}
        self._pairs = {kind: PairJoiner() for kind in ("text", "thinking")}
        self.has_text = False
        self.shown = -1
        self.complete = 0

    def feed(self, event: Mapping[str, Any]) -> list[TextDelta | ReasoningDelta]:
        """Take an event of one of its blocks; gives what of it is shown now."""
        match event["type"]:
            case "content_block_start":
                self._begin(event["index"], event["content_block"])
            case "content_block_delta":
                return self._delta(event["index"], event["delta"])
            case "content_block_stop":
                self.complete = max(self.complete, event["index"] + 1)
                return self._end_text(event["index"])
        return []

    def rest(self, until: int | None = None) -> list[TextDelta]:
        """The text that was kept, of the blocks before `until`; by default of all."""
        standing = [text for index, text in self._kept.items() if until is None or index < until]
        self._kept = {}
        return [TextDelta("".join(pieces)) for pieces in standing]

    def calls(self, until: int | None = None) -> list[CallBlock]:
        """Its calls, of the blocks before `until`; by default of those that were ended."""
        end = self.complete if until is None else until
        return [call for index, call in self._calls.items() if index < end]

    def _begin(self, index: int, block: Mapping[str, Any]) -> None:
        if block.get("type") == "tool_use":
            name = str(block["name"])
            self._calls[index] = CallBlock(str(block["id"]), self._own_name(name), name)

    def _delta(self, index: int, delta: Mapping[str, Any]) -> list[TextDelta | ReasoningDelta]:
        match delta.get("type"):
            case "text_delta":
                return [*self._show(index, self._pairs["text"].feed(delta["text"]))]
            case "thinking_delta":
                thinking = self._pairs["thinking"].feed(delta["thinking"])
                return [ReasoningDelta(thinking)] if thinking else []
            case "input_json_delta" if index in self._calls:
                self._calls[index].fragments.append(delta["partial_json"])
        return []

    def _end_text(self, index: int) -> list[TextDelta | ReasoningDelta]:
        thinking = self._pairs["thinking"].rest()
        return [*self._show(index, self._pairs["text"].rest()), *([ReasoningDelta(thinking)] if thinking else [])]

    def _show(self, index: int, text: str) -> list[TextDelta]:
        if not text:
            return []
        self.has_text = True
        if not self._live:
            self._kept.setdefault(index, []).append(text)
            self._stop.feed(text)
            if not self._stop.found:
                return []
            self._live, self.shown = True, index
            return self.rest()
        self.shown = index
        return [TextDelta(text)]
