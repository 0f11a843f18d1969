"""One turn of a live conversation: what is asked, what is said, how it ends.

Knows `tool_choice` and `parallel_tool_calls`, which Claude Code has no flags for, and what the client will send back as
our answer. What the SDK's messages mean is `TurnReader`'s business; whose process it is, `conversation`'s.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import trio
from claude_agent_sdk import ClaudeSDKClient, CLIConnectionError, Message, ResultMessage, StreamEvent

from claude_openai.claude.base import Emit
from claude_openai.claude.client import calls_of_an_agent, events_of
from claude_openai.claude.frames import message_of
from claude_openai.claude.hermetic import TurnSettings
from claude_openai.claude.process import SupervisedProcess
from claude_openai.claude.thoughts import Thinking
from claude_openai.claude.toolbox import Toolbox, own_name
from claude_openai.claude.transport import ProcessTransport
from claude_openai.errors import UpstreamError
from claude_openai.protocol.blocks import Block, TextBlock, ToolResultBlock, ToolUseBlock, canonical_arguments
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import Event, TextDelta, ToolCall, TurnCompleted, TurnFailed, Way
from claude_openai.protocol.history import Turn
from claude_openai.protocol.output import output_check
from claude_openai.protocol.request import ChatRequest

__all__ = ["MUST_CALL", "OpenClient", "TurnUnderWay"]

ONE_CALL_ONLY = (
    "Only one call at a time is allowed here. This one was not made; make it again after the first, if needed."
)
NOT_FOR_AGENTS = "This tool cannot be called by an agent. Say what you need, and who started you can call it."
MUST_CALL = "You must answer by calling a tool. Do not answer in text."


@dataclass(slots=True)
class OpenClient:
    """A client that is connected."""

    client: ClaudeSDKClient
    messages: AsyncIterator[Message]
    process: SupervisedProcess
    transport: ProcessTransport
    toolbox: Toolbox
    settings: TurnSettings
    reading: trio.Lock = field(default_factory=trio.Lock)


class TurnUnderWay:
    """One turn over a client.

    Args:
        request: what to answer.
        opened: the conversation's client, which nobody else reads meanwhile.
        emit: takes the events.
        way: how the request came to the conversation.
        login: the command that logs Claude Code in, for messages.
    """

    def __init__(self, request: ChatRequest, opened: OpenClient, emit: Emit, *, way: Way, login: str) -> None:
        self._request = request
        self._opened = opened
        self._emit = emit
        self._text: list[str] = []
        self._held: list[Event] = []
        self._calls: list[ToolCall] = []
        self._said_one_call_only = False
        self._finish: str | None = None
        self._over = False
        self.thinking = Thinking()
        self._way = way
        output = output_check(request.output)
        self._must_call = request.tool_choice.mode == "required"
        self.reader = TurnReader(
            login,
            check=opened.toolbox.judge,
            own_name=own_name,
            agent=request.agent,
            output=output,
            must_call=self._must_call,
            conversation=way,
        )

    @property
    def reusable(self) -> bool:
        return self._over and self._finish in ("stop", "tool_calls")

    @property
    def pending(self) -> tuple[str, ...]:
        return tuple(call.id for call in self._calls) if self._finish == "tool_calls" else ()

    @property
    def exact(self) -> bool:
        """Whether Claude has seen of this turn what the client has, and nothing more."""
        return self.reader.exact and not self._said_one_call_only

    def answer(self) -> Turn:
        """The turn as the client will send it back."""
        text = "".join(self._text)
        said: list[Block] = [TextBlock(text)] if text.strip() else []
        calls = (ToolUseBlock(c.id, c.name, canonical_arguments(json.loads(c.arguments))) for c in self._calls)
        return Turn("assistant", (*said, *calls))

    async def run(self) -> None:
        """Ask, and tell what is answered, to the end of the turn.

        Raises:
            ClaudeSDKError: the process ended, or stopped making sense.
        """
        async with self._opened.reading:
            # Locked before anything is written: else the conversation could end between the request and its reading.
            if not self._opened.process.running:
                raise CLIConnectionError(await self._opened.process.why_gone())
            await self._begin()
            async for message in self._opened.messages:
                if isinstance(message, StreamEvent) and message.parent_tool_use_id is None:
                    self.thinking.feed(message.event)
                for call_id, name in calls_of_an_agent(message):
                    if own_name(name) is not None:
                        self._opened.toolbox.refuse(call_id, NOT_FOR_AGENTS)
                events = events_of(message, self.reader)
                if self.reader.ended:
                    self._note_end(in_order=isinstance(message, ResultMessage))
                for event in events:
                    await self._say(event)
                if self.reader.correction:
                    await self._correct(self.reader.correction)
                if self.reader.ended:
                    return
            raise CLIConnectionError(await self._opened.process.why_gone())

    async def _begin(self) -> None:
        self._opened.transport.turn_begins()
        await self._apply(TurnSettings.of(self._request))
        if self._way == "parked":
            self._opened.toolbox.give([b for b in self._request.prompt.blocks if isinstance(b, ToolResultBlock)])
        else:
            await self._ask(message_of(self._request.prompt))

    def _note_end(self, *, in_order: bool) -> None:
        self._over = in_order or self.reader.awaiting_results
        self._opened.transport.turn_ended(in_order=in_order)
        if not self._over:
            self._opened.process.kill()  # 20 ms later Claude Code makes another call

    async def _say(self, event: Event) -> None:
        must_call = self._must_call and not self._calls
        match event:
            case ToolCall():
                await self._say_call(event)
            case TextDelta() if must_call:
                self._held.append(event)
            case TurnCompleted("stop") if must_call:
                await self._ask_again()
            case TextDelta():
                self._text.append(event.text)
                await self._emit(event)
            case TurnCompleted():
                self._finish = event.finish_reason
                await self._emit(event)
            case _:
                await self._emit(event)

    async def _say_call(self, call: ToolCall) -> None:
        if self._calls and not self._request.parallel_tool_calls:
            self._opened.toolbox.give([ToolResultBlock(call.id, (TextBlock(ONE_CALL_ONLY),))])
            self._said_one_call_only = True
            return
        self._calls.append(call)
        held, self._held = self._held, []
        for event in held:
            await self._say(event)
        await self._emit(call)

    async def _ask_again(self) -> None:
        if self.reader.asked_again:
            message = "Claude made no call although 'tool_choice' demands one, and made none when asked again."
            await self._emit(TurnFailed(UpstreamError(message, code="tool_choice_not_followed")))
            return
        self._held.clear()
        await self._correct(MUST_CALL)

    async def _correct(self, words: str) -> None:
        self.reader.ask_again()
        await self._ask([{"type": "text", "text": words}])

    async def _apply(self, settings: TurnSettings) -> None:
        if settings != self._opened.settings:
            self._opened.settings = settings
            await self._opened.transport.write(json.dumps(settings.frame()) + "\n")

    async def _ask(self, blocks: Sequence[dict[str, Any]]) -> None:
        self._opened.transport.turn_begins()
        async with aclosing(_user_message(blocks)) as prompt:
            await self._opened.client.query(prompt)


async def _user_message(blocks: Sequence[dict[str, Any]]) -> AsyncGenerator[dict[str, Any], None]:
    yield {"type": "user", "message": {"role": "user", "content": list(blocks)}, "parent_tool_use_id": None}
