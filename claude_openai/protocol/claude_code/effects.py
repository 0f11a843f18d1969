"""The effects of a turn: events for its client, and messages to Claude Code.

The pure core returns them in order; `claude/sdk/turn.py` and `claude/cli.py` perform them.
"""

from dataclasses import dataclass
from typing import TypeAlias

from claude_openai.protocol.turn.events import Event

__all__ = ["AnswerCall", "AskClaude", "Effect"]


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """Answer a tool call in the client's place. Claude Code may have made it already, or may make it later."""

    call_id: str
    text: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class AskClaude:
    """Send Claude another message within the turn. Claude Code is idle."""

    text: str


Effect: TypeAlias = Event | AnswerCall | AskClaude
