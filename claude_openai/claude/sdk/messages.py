"""Passes Claude Code's records through the SDK unchanged, and closes the SDK's message generator.

The SDK's typed messages lack fields that are needed here: `abandoned_blocks` of a stream event, `isSynthetic` of a user
message, `model_usage_since_last_result` of a result. System messages keep all fields, so the transport wraps each
record into one.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from claude_agent_sdk import Message, SystemMessage

__all__ = ["ending", "unwrapped", "wrapped"]

# Used neither by the SDK nor by Claude Code.
RECORD: Final = "claude_openai_record"


def wrapped(record: Mapping[str, Any]) -> dict[str, Any]:
    """Wrap a record in a message that the SDK passes on unchanged. Control messages stay as they are."""
    if record.get("type") in ("control_response", "control_request", "control_cancel_request"):
        return dict(record)
    return {"type": "system", "subtype": RECORD, "record": record}


def unwrapped(message: Message) -> Mapping[str, Any]:
    """Return the wrapped record; an empty one for a message of the SDK's own."""
    if isinstance(message, SystemMessage) and message.subtype == RECORD:
        record: Mapping[str, Any] = message.data["record"]
        return record
    return {}


@asynccontextmanager
async def ending(messages: AsyncIterator[Message]) -> AsyncIterator[AsyncIterator[Message]]:
    """Finish the SDK's generator at the end of the block.

    `aclose()` would leave the generator inside it suspended; one step under a cancelled scope unwinds both.
    """
    try:
        yield messages
    finally:
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(messages, None)
