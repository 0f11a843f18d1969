"""The SDK's typed messages -> what `TurnReader` is told, and the end of the SDK's message generator.

Knows the classes of the SDK's messages and nothing of turns.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from claude_agent_sdk import (
    AssistantMessage,
    Message,
    RateLimitEvent,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ToolUseBlock,
)

from claude_openai.claude.records import events_of_record
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import Event

__all__ = ["calls_of_an_agent", "ending", "events_of"]


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


def calls_of_an_agent(message: object) -> Sequence[tuple[str, str]]:
    """Ids and names of the tools that a message calls, if it is one of an agent that Claude has started."""
    match message:
        case AssistantMessage(parent_tool_use_id=str()):
            return [(block.id, block.name) for block in message.content if isinstance(block, ToolUseBlock)]
    return ()


def events_of(message: object, reader: TurnReader) -> Sequence[Event]:
    """What one message of the SDK means."""
    match message:
        case StreamEvent(parent_tool_use_id=None):
            return reader.stream_event(message.event)
        case ResultMessage():
            return reader.result(
                is_error=message.is_error,
                status=message.api_error_status,
                reason=message.terminal_reason or "",
                text=message.result or "; ".join(message.errors or ()),
                usage=message.usage,
                structured=message.structured_output,
            )
        case AssistantMessage():
            text = "".join(block.text for block in message.content if isinstance(block, TextBlock))
            reader.assistant(model=message.model, error=message.error, text=text)
        case SystemMessage():
            return events_of_record(message.data, reader)
        case RateLimitEvent():
            return events_of_record(
                {"type": "rate_limit_event", "rate_limit_info": message.rate_limit_info.raw}, reader
            )
    return ()
