"""Sorts the tool calls of a message: for the client, rejected, or of Claude Code's own tools.

Calls are validated as Claude wrote them, and only when their message has ended: if the stream of a message breaks off,
Claude Code may never make its calls.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from claude_openai.errors import UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall
from claude_openai.protocol.claude_code.streamed_message import CallBlock
from claude_openai.protocol.turn.events import ToolCall

__all__ = ["MAX_CORRECTIONS", "ArgumentCheck", "CallJudge", "Judged"]

# How often Claude may correct calls with invalid arguments within one turn.
MAX_CORRECTIONS: Final = 3

# Takes the name of the tool and the arguments as Claude wrote them. Returns a message for Claude, None if valid.
ArgumentCheck: TypeAlias = Callable[[str, str], str | None]


@dataclass(slots=True)
class Judged:
    """The calls of one message: calls for the client, answers to invalid calls, calls of Claude Code's own tools."""

    fitting: list[ToolCall] = field(default_factory=list)
    refused: list[AnswerCall] = field(default_factory=list)
    own: list[CallBlock] = field(default_factory=list)


class CallJudge:
    """Judges the calls of one turn.

    Args:
        check: see `ArgumentCheck`.
        is_own: whether a name that is not the client's is that of a tool of Claude Code, and so not an error.
    """

    def __init__(self, check: ArgumentCheck, *, is_own: Callable[[str], bool]) -> None:
        self._check = check
        self._is_own = is_own
        self._corrections = 0

    def judge(self, calls: Iterable[CallBlock]) -> Judged:
        judged = Judged()
        for call in calls:
            name = call.claude_name if call.name is None else call.name
            if call.name is None and self._is_own(name):
                judged.own.append(call)
            elif (problem := self._check(name, call.arguments)) is None:
                judged.fitting.append(ToolCall(call.id, name, call.arguments))
            else:
                judged.refused.append(AnswerCall(call.id, problem))
        return judged

    def note_correction(self) -> UpstreamError | None:
        """Count a message without a valid call, which Claude will correct. Return an error after too many."""
        self._corrections += 1
        if self._corrections <= MAX_CORRECTIONS:
            return None
        return UpstreamError("Claude's tool calls do not match the schemas of the tools after several attempts.")
