"""Selects the messages of a request that a process resumes from."""

from claude_openai.protocol.turn.blocks import Message, ToolResultBlock
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["past_of"]


def past_of(request: TurnRequest) -> tuple[Message, ...]:
    """Return the messages that a new process resumes from.

    Tool results of the prompt are included: in a prompt message Claude Code would drop them.
    """
    results = tuple(block for block in request.prompt.blocks if isinstance(block, ToolResultBlock))
    return (*request.turns, Message("user", results)) if results else request.turns
