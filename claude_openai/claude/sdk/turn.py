"""Runs one turn in a live conversation.

Writes the prompt, passes the records to `TurnReader`, carries out the effects that it returns, and keeps the answer in
the form in which the client will send it back.
"""

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import trio
from claude_agent_sdk import ClaudeSDKClient, CLIConnectionError
from claude_agent_sdk import Message as SdkMessage

from claude_openai.claude.backend import Emit
from claude_openai.claude.control.frames import message_of, user_frame
from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.control.records import RecordError, effects_of
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.sdk.conversation_state import TurnOutcome
from claude_openai.claude.sdk.messages import unwrapped
from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.claude.transcript.message_form import is_dropped
from claude_openai.claude.transcript.thinking_store import Thinking
from claude_openai.protocol.claude_code.call_policies import CallRequired, OneCallOnly
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.claude_code.spending import ProcessSpending
from claude_openai.protocol.claude_code.structured_output import output_check
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.claude_code.usage import sum_of
from claude_openai.protocol.turn.blocks import (
    Block,
    Message,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    canonical_arguments,
)
from claude_openai.protocol.turn.events import Route, TextDelta, ToolCall, TurnCompleted, Usage
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.turn.surrogates import paired

__all__ = ["ConnectedClient", "SdkTurn"]


@dataclass(slots=True)
class ConnectedClient:
    """A connected SDK client.

    Attributes:
        counted: tokens of Claude Code's current turn that were already reported to earlier requests.
        spending: what the process has used.
    """

    client: ClaudeSDKClient
    messages: AsyncIterator[SdkMessage]
    process: SupervisedProcess
    transport: ProcessTransport
    toolbox: ToolServer
    settings: TurnSettings
    counted: Usage = field(default_factory=Usage)
    spending: ProcessSpending = field(default_factory=ProcessSpending)
    reading: trio.Lock = field(default_factory=trio.Lock)


class SdkTurn:
    """One turn with a connected client.

    Args:
        request: what to answer.
        opened: the conversation's client; only this turn reads from it.
        emit: takes the events.
        route: how the turn got its process.
        login: the command that logs Claude Code in, for error messages.
    """

    def __init__(self, request: TurnRequest, opened: ConnectedClient, emit: Emit, *, route: Route, login: str) -> None:
        self._request = request
        self._opened = opened
        self._emit = emit
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._finish: str | None = None
        self._thinking = Thinking()
        self._message_id = "" if request.prompt.has_results else str(uuid.uuid4())
        self._route = route
        must_call = request.tool_choice.mode == "required"
        self._call_required = CallRequired() if must_call else None
        self._one_call_only = None if request.parallel_tool_calls else OneCallOnly()
        self.reader = TurnReader(
            login,
            check=opened.toolbox.problem,
            own_name=own_name,
            options=request.options,
            output=output_check(request.output, time.thread_time),
            must_call=must_call,
            conversation=route,
            live=request.stream and not must_call,
            stops=request.stop,
            counted=opened.counted,
        )

    def outcome(self) -> TurnOutcome:
        """Return the outcome of the turn, once it is over."""
        one_only = self._one_call_only
        dropped = not self._calls and is_dropped("".join(self._text))
        return TurnOutcome(
            answer=self._answer(),
            message_id=self._message_id,
            calls=tuple(call.id for call in self._calls) if self._finish == "tool_calls" else (),
            thinking=self._thinking.blocks(),
            exact=self.reader.exact and not dropped and not (one_only is not None and one_only.answered),
            reusable=self.reader.state in (State.IDLE, State.PARKED) and self._finish in ("stop", "tool_calls"),
        )

    def _answer(self) -> Message:
        # The canonical form of what the client will send back: all text in one block before the calls.
        text = paired("".join(self._text))
        texts: list[Block] = [TextBlock(text)] if text.strip() else []
        calls = (ToolUseBlock(c.id, c.name, canonical_arguments(json.loads(c.arguments))) for c in self._calls)
        return Message("assistant", (*texts, *calls))

    async def run(self) -> None:
        """Write the prompt and emit the answer's events; return when the turn is over.

        Raises:
            ClaudeSDKError: the process ended, or its output is invalid.
        """
        async with self._opened.reading:
            # Locked before the first write: otherwise the conversation could end between write and read.
            if not self._opened.process.running:
                raise CLIConnectionError(await self._opened.process.why_gone())
            await self._begin()
            async for message in self._opened.messages:
                record = unwrapped(message)
                if record.get("type") == "stream_event" and record.get("parent_tool_use_id") is None:
                    self._thinking.feed(record["event"])
                report = self._opened.spending.take(record)
                if report is not None:
                    self._emit.report(report)
                try:
                    effects = await effects_of(record, self.reader)
                except RecordError as error:
                    raise CLIConnectionError(str(error)) from error
                if self.reader.ended:
                    self._note_end()
                for effect in self._filtered(effects):
                    await self._carry_out(effect)
                if self.reader.ended:
                    return
            raise CLIConnectionError(await self._opened.process.why_gone())

    async def _begin(self) -> None:
        self._opened.transport.turn_begins()
        await self._apply(TurnSettings.of(self._request))
        if self._route == "parked":
            self._opened.toolbox.give([b for b in self._request.prompt.blocks if isinstance(b, ToolResultBlock)])
        else:
            await self._ask(message_of(self._request.prompt), self._message_id)

    def _note_end(self) -> None:
        state = self.reader.state
        self._opened.transport.turn_ended(in_order=state is State.IDLE)
        # The result at the end of Claude Code's own turn counts everything.
        self._opened.counted = Usage() if state is State.IDLE else sum_of(self._opened.counted, self.reader.usage)
        if state is State.STOPPED:
            self._opened.process.kill()  # 20 ms later Claude Code makes another call

    def _filtered(self, effects: Sequence[Effect]) -> Iterator[Effect]:
        required, one_only = self._call_required, self._one_call_only
        for effect in effects:
            wanted = [effect] if required is None else required.filter(effect, asked_again=self.reader.asked_again)
            for each in wanted:
                yield from [each] if one_only is None else one_only.filter(each)

    async def _carry_out(self, effect: Effect) -> None:
        match effect:
            case AnswerCall(call_id, text, is_error):
                self._opened.toolbox.give([ToolResultBlock(call_id, (TextBlock(text),), is_error)])
                return
            case AskClaude(text):
                self.reader.ask_again()
                await self._ask([{"type": "text", "text": text}])
                return
            case TextDelta(text):
                self._text.append(text)
            case ToolCall():
                self._calls.append(effect)
            case TurnCompleted(finish_reason):
                self._finish = finish_reason
        await self._emit(effect)

    async def _apply(self, settings: TurnSettings) -> None:
        # Claude Code's turn, and its span with it, goes on when it gets the results of a parked conversation.
        is_traced = bool(settings.trace_context) and self._route != "parked"
        if settings != self._opened.settings or is_traced:
            self._opened.settings = settings
            await self._opened.transport.write(json.dumps(settings.frame()) + "\n")

    async def _ask(self, blocks: Sequence[dict[str, Any]], message_id: str = "") -> None:
        self._opened.transport.turn_begins()
        async with aclosing(_stream_of(user_frame(blocks, message_id))) as prompt:
            await self._opened.client.query(prompt)


async def _stream_of(frame: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the frame: the SDK takes a message with more than text only as a stream."""
    yield frame
