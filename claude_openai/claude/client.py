"""How the records of Claude Code come through the SDK whole, and the end of the SDK's message generator.

The SDK's typed messages lack fields that a turn is read by: which blocks of a broken stream are void, that a message to
Claude is Claude Code's own, what agents spent. It hands on system messages as they are, so each record is wrapped into
one by the transport and unwrapped from the SDK's message.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from claude_agent_sdk import Message, SystemMessage

__all__ = ["ending", "unwrapped", "wrapped"]

# No subtype of the SDK's or of Claude Code's.
RECORD: Final = "claude_openai_record"


def wrapped(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as a message that the SDK hands on as it is; an answer to a control request is the SDK's."""
    if record.get("type") in ("control_response", "control_request", "control_cancel_request"):
        return dict(record)
    return {"type": "system", "subtype": RECORD, "record": record}


def unwrapped(message: Message) -> Mapping[str, Any]:
    """The record that was wrapped; an empty one for a message of the SDK's own."""
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
