"""TODO."""

from claude_openai.protocol.turn.blocks import ToolResultBlock, Turn
from claude_openai.protocol.turn.request import ChatRequest

__all__ = ["past_of"]


def past_of(request: ChatRequest) -> tuple[Turn, ...]:
    """The turns that a process which has none of them resumes from.

    The results of tools are among them: in a message, Claude Code would drop them.
    """
    results = tuple(block for block in request.prompt.blocks if isinstance(block, ToolResultBlock))
    return (*request.turns, Turn("user", results)) if results else request.turns
