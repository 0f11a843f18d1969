"""The frames that send Claude Code a message to answer."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from claude_openai.claude.transcript.message_form import content_block
from claude_openai.protocol.turn.blocks import Message, ToolResultBlock

__all__ = ["message_of", "user_frame"]

# Claude Code does not send a blank text, so Claude answers the end of the transcript.
BLANK_TEXT: Final = {"type": "text", "text": " "}


def message_of(prompt: Message) -> list[dict[str, Any]]:
    """Return the content blocks of the prompt, without tool results, which are part of the transcript."""
    blocks = [content_block(block) for block in prompt.blocks if not isinstance(block, ToolResultBlock)]
    return blocks or [dict(BLANK_TEXT)]


def user_frame(content: Sequence[Mapping[str, Any]], ident: str = "") -> dict[str, Any]:
    """Return the frame of a user message.

    Args:
        content: the blocks of the message.
        ident: message id, by which the conversation can be rewound to before it; "" for none.
    """
    # Without `client_composed` Claude Code would expand '@file' and '/command' in the text.
    return {
        "type": "user",
        "message": {"role": "user", "content": list(content)},
        "parent_tool_use_id": None,
        "session_id": "default",
        "client_composed": True,
        **({"uuid": ident} if ident else {}),
    }
