"""Makes messages of Claude's API in the form in which Claude Code sends them in a live conversation.

Replays use this form, so that they share the prompt-cache prefix of the live turns
(`tests/real/claude/transcript/test_replays.py` compares the two on the bundled CLI).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from claude_openai.protocol.claude_code.tool_names import mcp_name
from claude_openai.protocol.turn.blocks import (
    Block,
    MediaBlock,
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from claude_openai.protocol.turn.tools import MAX_NAME_CHARS

__all__ = ["content_block", "is_dropped", "is_usable_id", "made_id", "message_form"]

# Claude Code drops an answer that has only this text, and replaces it if it is the last message (2.1.332).
DROPPED: Final = "(no content)"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


def message_form(turn: Message, ident: str, calls: Sequence[ToolUseBlock] = ()) -> dict[str, Any]:
    """Return a message as Claude Code sends it in a live conversation, for a hit in the prompt cache.

    Args:
        turn: the message to convert.
        ident: a UUID for the message.
        calls: the calls of the previous message; results are put in their order.
    """
    places = {call.id: place for place, call in enumerate(calls)}

    def place(block: Block) -> int:
        # The API requires results before text; clients may have another order.
        return places.get(block.call_id, -1) if isinstance(block, ToolResultBlock) else len(places)

    names = {call.id: call.name for call in calls}
    content = [_sent_block(block, names) for block in sorted(_not_dropped(turn), key=place)]
    message: dict[str, Any] = {"role": turn.role, "content": content}
    if turn.role == "assistant":
        message |= {
            "id": f"msg_{ident.replace('-', '')[:24]}",
            "type": "message",
            # Claude Code omits thinking if its message is from another model.
            "model": next((block.model for block in turn.blocks if isinstance(block, ThinkingBlock)), "claude"),
            "stop_reason": "tool_use" if message["content"][-1]["type"] == "tool_use" else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
    return message


def is_dropped(text: str) -> bool:
    """Whether Claude Code removes an answer with this text from the conversation."""
    return text.strip() == DROPPED


def _not_dropped(turn: Message) -> Iterator[Block]:
    """Yield the blocks of a message; a text that Claude Code would drop is split into two blocks."""
    drops = turn.role == "assistant" and all(isinstance(b, TextBlock) and is_dropped(b.text) for b in turn.blocks)
    for block in turn.blocks:
        if drops and isinstance(block, TextBlock):
            begin, space, end = block.text.partition(" content")
            yield from (TextBlock(begin), TextBlock(space + end))
        else:
            yield block


def _sent_block(block: Block, names: Mapping[str, str]) -> dict[str, Any]:
    sent = content_block(block)
    if isinstance(block, ToolResultBlock) and not block.is_error and _is_blank(block) and block.call_id in names:
        sent["content"] = f"({_tool_name(names[block.call_id])} completed with no output)"
    return sent


def _is_blank(result: ToolResultBlock) -> bool:
    return all(isinstance(part, TextBlock) and not part.text.strip() for part in result.parts)


def _tool_name(name: str) -> str:
    return mcp_name(_NOT_IN_NAMES.sub("_", name)[:MAX_NAME_CHARS])


def content_block(block: Block) -> dict[str, Any]:
    """Return a block in the format of Claude's API."""
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text}
        case ThinkingBlock():
            thinking: dict[str, Any] = json.loads(block.json)
            return thinking
        case MediaBlock():
            title = {"title": block.name} if block.name else {}
            return {"type": block.kind, "source": _source(block), **title}
        case ToolUseBlock():
            arguments = json.loads(block.written or block.arguments)
            return {"type": "tool_use", "id": _safe_id(block.id), "name": _tool_name(block.name), "input": arguments}
        case ToolResultBlock():
            content = [content_block(part) for part in block.parts]
            failed = {"is_error": True} if block.is_error else {}
            return {"type": "tool_result", "tool_use_id": _safe_id(block.call_id), "content": content, **failed}


def _source(block: MediaBlock) -> dict[str, Any]:
    if not block.media_type:
        return {"type": "url", "url": block.data}
    kind = "text" if block.media_type == "text/plain" else "base64"
    return {"type": kind, "media_type": block.media_type, "data": block.data}


def _safe_id(call_id: str) -> str:
    return call_id if is_usable_id(call_id) else made_id(call_id)


def is_usable_id(call_id: str) -> bool:
    """Whether Claude's API accepts the id: letters, digits, '_' and '-' only. Other models use more characters."""
    return bool(_ID.fullmatch(call_id))


def made_id(call_id: str) -> str:
    """Return an id that Claude's API accepts, always the same for the same input."""
    return "call_" + sha256(call_id.encode()).hexdigest()[:24]
