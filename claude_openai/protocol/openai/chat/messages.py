"""Converts OpenAI's `messages` to the system prompt, the history, and the prompt.

No text is added: a conversation that begins with the assistant's greeting keeps it, which the backend must handle. A
conversation must end with a user message, because Claude Code cannot continue a message of the assistant. If there
are only system messages, the last one is the prompt, as for OpenAI's models. A system message between other messages
keeps its position. Content is read by `content.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from claude_openai.protocol.limits.budget import Budget
from claude_openai.protocol.openai.content import (
    assistant_blocks,
    system_texts,
    texts_of,
    tool_result_block,
    tool_use_blocks,
    user_blocks,
)
from claude_openai.protocol.turn.blocks import Block, Role, TextBlock
from claude_openai.protocol.turn.history import Transcript
from claude_openai.protocol.wire.bad_request import missing, wrong_type, wrong_value
from claude_openai.protocol.wire.transcript import transcript_of
from claude_openai.protocol.wire.turns import RequestItem, alternating

ChatRole: TypeAlias = Literal["system", "user", "assistant", "tool"]

_ROLES: dict[str, ChatRole] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def system_fields(fields: Mapping[str, Any]) -> list[str]:
    """Return the texts that other fields of the request add to the front of the system prompt.

    Raises:
        BadRequest: with the invalid field in `param`.
    """
    names = ("instructions", "system")
    return [text for name in names for text in texts_of(fields.get(name), name)]


def read_messages(messages: Sequence[Any], budget: Budget, system: Iterable[str] = ()) -> Transcript:
    """Turn the `messages` array of a request into a transcript; texts stay verbatim and in order.

    Messages without text are omitted; the last user message must have text.

    Args:
        messages: the messages.
        budget: the budget of the request.
        system: texts of the system prompt before those of the messages.

    Raises:
        BadRequest: a message is malformed or unsupported; `param` names the part of it.
    """
    texts = list(system)
    pieces: list[RequestItem] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        role = _role(message, path)
        if role == "system" and not pieces:
            texts.extend(system_texts(message, path))
        else:
            pieces.append(_piece(message, role, path, budget))
    return transcript_of(texts, alternating(pieces), "messages")


def _piece(message: Mapping[str, Any], role: ChatRole, path: str, budget: Budget) -> RequestItem:
    side: Role = "user"
    blocks: tuple[Block, ...]
    match role:
        case "system":
            blocks = tuple(map(TextBlock, system_texts(message, path)))
        case "assistant":
            side = "assistant"
            blocks = assistant_blocks(message, path)
            calls = tool_use_blocks(message, path, budget)
            blocks += tuple(call for call in calls if call not in blocks)  # some clients send both forms
        case "tool":
            blocks = (tool_result_block(message, path),)
        case "user":
            blocks = _named(user_blocks(message, path), message.get("name"), path)
    return RequestItem(side, path, "tool_call_id", blocks, of_system=role == "system")


def _named(blocks: tuple[Block, ...], name: Any, path: str) -> tuple[Block, ...]:
    """Add the name of the speaker to the text, because Claude's API has no field for it."""
    if name is None or not blocks:
        return blocks
    if not isinstance(name, str):
        raise wrong_type(f"{path}.name", "a string", name)
    return (TextBlock(f"{name}:"), *blocks) if name.strip() else blocks


def _role(message: Any, path: str) -> ChatRole:
    if not isinstance(message, dict):
        raise wrong_type(path, "an object with 'role' and 'content'", message)
    role = message.get("role")
    if role is None:
        raise missing(f"{path}.role", "Send 'system', 'user' or 'assistant'.")
    if not isinstance(role, str):
        raise wrong_type(f"{path}.role", "a string", role)
    if role not in _ROLES:
        raise wrong_value(f"{path}.role", "'system', 'developer', 'user', 'assistant' or 'tool'", role)
    return _ROLES[role]
