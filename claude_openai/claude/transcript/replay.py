"""Which messages of a request a process resumes from."""

from claude_openai.protocol.turn.blocks import Message, ToolResultBlock
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["past_of"]


def past_of(request: TurnRequest) -> tuple[Message, ...]:
    """The turns that a process which has none of them resumes from.

    The results of tools are among them: in a message, Claude Code would drop them.
    """
    results = tuple(block for block in request.prompt.blocks if isinstance(block, ToolResultBlock))
    return (*request.turns, Message("user", results)) if results else request.turns
