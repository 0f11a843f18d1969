"""The lines in which Claude Code is given a message to answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_openai.claude.transcript.message_form import content_block
from claude_openai.protocol.turn.blocks import Message, ToolResultBlock

__all__ = ["message_of", "user_frame"]

# A blank is not sent: Claude answers what stands in the transcript before it.
BLANK_TEXT: Final = {"type": "text", "text": " "}


def message_of(prompt: Message) -> list[dict[str, Any]]:
    """The content of the message that follows the past of a process, in which the results of tools are already."""
    blocks = [content_block(block) for block in prompt.blocks if not isinstance(block, ToolResultBlock)]
    return blocks or [dict(BLANK_TEXT)]


def user_frame(content: Sequence[Mapping[str, Any]], ident: str = "") -> dict[str, Any]:
    """A line with a message of the user.

    Args:
        content: the blocks of the message.
        ident: the id by which a conversation can be taken back to before it; "" for none.
    """
    # Composed by the client: otherwise '@file' and '/command' in it would be obeyed.
    return {
        "type": "user",
        "message": {"role": "user", "content": list(content)},
        "parent_tool_use_id": None,
        "session_id": "default",
        "client_composed": True,
        **({"uuid": ident} if ident else {}),
    }
