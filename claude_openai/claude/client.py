"""One turn through a ClaudeSDKClient over a process of ours.

The only module, with `transport`, that imports the SDK, which takes half a second: `sdk` loads it when the server
listens already. Knows the client and its typed messages; what they mean is `TurnReader`'s business. One client is
opened, used and closed within one task, as the SDK demands.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import trio
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ClaudeSDKError,
    Message,
    RateLimitEvent,
    ResultMessage,
    StreamEvent,
    SystemMessage,
    TextBlock,
)

from claude_openai.claude.base import Emit
from claude_openai.claude.process import SupervisedProcess
from claude_openai.claude.transport import ProcessTransport
from claude_openai.errors import InternalError
from claude_openai.logs import Log
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import Event, TurnFailed
from claude_openai.protocol.request import ChatRequest

__all__ = ["answer", "events_of"]


async def answer(process: SupervisedProcess, request: ChatRequest, reader: TurnReader, emit: Emit, log: Log) -> None:
    """Run the turn over a process that was just started. Nothing but Cancelled leaves."""
    try:
        transport = ProcessTransport(process, {"systemPrompt": [request.system]}, log)
        # With a transport of ours the SDK applies no option that is a flag; `hermetic` gives those.
        client = ClaudeSDKClient(ClaudeAgentOptions(verbatim_prompts=True), transport=transport)
        async with client:
            async with aclosing(_prompt(request)) as prompt:
                await client.query(prompt)
            async with _ending(client.receive_messages()) as messages:
                async for message in messages:
                    for event in events_of(message, reader):
                        if reader.ended:
                            transport.turn_ended(in_order=isinstance(message, ResultMessage))
                            if isinstance(message, StreamEvent):
                                process.kill()  # 20 ms later Claude Code makes another call
                        await emit(event)
                    if reader.ended:
                        break
    except ClaudeSDKError as error:
        if not reader.ended:
            await emit(reader.gone(str(error)))
    except Exception as error:  # noqa: BLE001 - the SDK raises the bare class for a failed control request
        log.error("sdk.failed", error=error)
        if not reader.ended:
            await emit(reader.gone(f"{type(error).__name__}: {error}") if reader.started else _bug(error))


@asynccontextmanager
async def _ending(messages: AsyncIterator[Message]) -> AsyncIterator[AsyncIterator[Message]]:
    """End the SDK's generator however the block is left. Closing it would not end the one inside it."""
    try:
        yield messages
    finally:
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(messages, None)


async def _prompt(request: ChatRequest) -> AsyncGenerator[dict[str, Any], None]:
    blocks = [{"type": "text", "text": block.text} for block in request.prompt.blocks]
    yield {"type": "user", "message": {"role": "user", "content": blocks}, "parent_tool_use_id": None}


def _bug(error: Exception) -> TurnFailed:
    return TurnFailed(InternalError(f"The turn could not be run: {error}"))


def events_of(message: object, reader: TurnReader) -> list[Event]:
    """What one message of the SDK means."""
    match message:
        case StreamEvent(parent_tool_use_id=None):
            event = reader.stream_event(message.event)
            return [] if event is None else [event]
        case ResultMessage():
            return reader.result(
                is_error=message.is_error,
                status=message.api_error_status,
                reason=message.terminal_reason or "",
                text=message.result or "; ".join(message.errors or ()),
                usage=message.usage,
            )
        case AssistantMessage():
            text = "".join(block.text for block in message.content if isinstance(block, TextBlock))
            reader.assistant(model=message.model, error=message.error, text=text)
        case SystemMessage(subtype="api_retry"):
            data = message.data
            event = reader.retry(
                status=data.get("error_status"),
                delay_ms=data.get("retry_delay_ms") or 0,
                kind=data.get("error") or "unknown",
            )
            return [] if event is None else [event]
        case RateLimitEvent():
            info = message.rate_limit_info
            resets_in_s = None if info.resets_at is None else info.resets_at - time.time()
            reader.rate_limit(rejected=info.status == "rejected", resets_in_s=resets_in_s)
    return []
