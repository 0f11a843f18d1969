"""The calls of tools within one turn: put together from their fragments, and judged when they are whole.

Knows which calls are the client's and how often Claude may correct those that do not fit. When a turn ends, and what is
said of it, is `cli_stream`'s business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from claude_openai.errors import UpstreamError
from claude_openai.protocol.events import ToolCall

__all__ = ["Check", "OpenCall", "TurnCalls"]

# How often Claude may correct calls whose arguments do not fit, within one turn.
MAX_CORRECTIONS: Final = 3

# What is wrong with a call, by its id, its name and its arguments as Claude wrote them; None if nothing is.
Check: TypeAlias = Callable[[str, str, str], str | None]


@dataclass(slots=True)
class OpenCall:
    """A tool_use block while it is written. `name` is the client's name of the tool, None for one that is not its."""

    id: str
    name: str | None
    claude_name: str
    fragments: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        return "".join(self.fragments) or "{}"


class TurnCalls:
    """The calls of one turn.

    Args:
        check: see `TurnReader`.
        own_name: see `TurnReader`.

    Attributes:
        fitting: those that the client is to make.
        refused: how many of the message under way do not fit.
    """

    def __init__(self, check: Check, own_name: Callable[[str], str | None]) -> None:
        self._check = check
        self._own_name = own_name
        self._open: OpenCall | None = None
        self._corrections = 0
        self.fitting: list[ToolCall] = []
        self.refused = 0

    def begin(self, block: Mapping[str, Any]) -> None:
        """A content block begins, of whatever type."""
        if block.get("type") == "tool_use":
            name = str(block["name"])
            self._open = OpenCall(str(block["id"]), self._own_name(name), name)

    def add(self, fragment: str) -> None:
        """A piece of the arguments."""
        if self._open is not None:
            self._open.fragments.append(fragment)

    def end(self) -> OpenCall | None:
        """A content block ends; the call, if it was one."""
        call, self._open = self._open, None
        return call

    def judge(self, call: OpenCall) -> bool:
        """Whether a call fits; the client's if it does."""
        name = call.claude_name if call.name is None else call.name
        if self._check(call.id, name, call.arguments) is None:
            self.fitting.append(ToolCall(call.id, name, call.arguments))
            return True
        self.refused += 1
        return False

    def note_correction(self) -> UpstreamError | None:
        """None of a message's calls fits, so Claude will correct them; the error if it has done so too often."""
        self._corrections += 1
        if self._corrections <= MAX_CORRECTIONS:
            return None
        return UpstreamError("Claude kept calling tools with arguments that do not fit their schemas.")
