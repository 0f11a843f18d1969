"""What is to be done about a turn: the events for its client, and what Claude Code is to be told.

The pure core returns effects, in order; `claude/turn.py` and `claude/cli.py` carry them out.
"""

from dataclasses import dataclass
from typing import TypeAlias

from claude_openai.protocol.events import Event

__all__ = ["AnswerCall", "AskClaude", "Effect"]


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """Answer a tool call in the client's place; the client never sees it.

    Claude Code makes the call as soon as its block is complete, so it may be waiting already.
    """

    call_id: str
    text: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class AskClaude:
    """Send Claude one more message within the turn. Claude Code is at rest, and is not after it."""

    text: str


Effect: TypeAlias = Event | AnswerCall | AskClaude
