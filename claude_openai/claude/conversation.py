"""One live conversation: a process, the SDK's client over it, and the history that it holds.

A conversation is started without being bound: its process waits, and learns system prompt, tools and model only from
the first request, so the same thing serves as a spare. The task in `live` owns process and client and belongs to the
server's nursery, never to a request; a run borrows the conversation, one at a time, and drives one turn with `answer`.
Between turns it is *idle*, or *parked* with tool calls that wait for the client's results; a turn that ends in any
other way leaves it broken, and whoever borrowed it closes it.
"""

import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import trio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError, Message, ResultMessage

from claude_openai.claude.base import Emit
from claude_openai.claude.client import ending, events_of
from claude_openai.claude.process import SupervisedProcess
from claude_openai.claude.toolbox import Toolbox, own_name
from claude_openai.claude.transcript import content_block
from claude_openai.claude.transport import ProcessTransport
from claude_openai.errors import InternalError, UpstreamError
from claude_openai.logs import Log
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.content import Block, TextBlock, ToolResultBlock, ToolUseBlock, canonical_arguments
from claude_openai.protocol.events import Conversation as Way
from claude_openai.protocol.events import Event, TextDelta, ToolCall, TurnCompleted, TurnFailed
from claude_openai.protocol.history import Turn
from claude_openai.protocol.request import ChatRequest

__all__ = ["Conversation", "Identity", "Spawn", "identity_of"]

# The process is gone within the kill ladder's 3 s; then the task has only to return.
CLOSE_WAIT_S = 6.0
ONE_CALL_ONLY = (
    "Only one call at a time is allowed here. This one was not made; make it again after the first, if needed."
)
MUST_CALL = "You must answer by calling a tool. Do not answer in text."

Identity = tuple[object, ...]


def identity_of(request: ChatRequest) -> Identity:
    """What must be the same, beside the history, for a request to meet a live conversation."""
    return (
        request.user,
        request.claude_model,
        request.system,
        request.tools,
        request.tool_choice,
        request.parallel_tool_calls,
        request.reasoning_effort,
    )


@dataclass(frozen=True, slots=True)
class Spawn:
    """How a process is started. `model` is what its argv names; `open` gives `supervised` for it."""

    model: str
    open: Callable[[], Any]
    login: str


@dataclass(slots=True)
class _Open:
    """A client that is connected."""

    client: ClaudeSDKClient
    messages: AsyncIterator[Message]
    process: SupervisedProcess
    transport: ProcessTransport
    toolbox: Toolbox
    reading: trio.Lock = field(default_factory=trio.Lock)


@dataclass(slots=True, eq=False)
class Conversation:
    """See the module.

    Attributes:
        history: all turns it holds, our own last answer included.
        pending: ids of the calls that wait for their results.
        waited: it was there before the request that it is to answer.
        reusable: its last turn ended so that another can follow.
        failure: why it could not be opened.
    """

    spawn: Spawn
    log: Log
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    identity: Identity = ()
    history: tuple[Turn, ...] = ()
    pending: tuple[str, ...] = ()
    failure: str = ""
    reusable: bool = False
    waited: bool = False
    _request: ChatRequest | None = None
    _open: _Open | None = None
    _bound: trio.Event = field(default_factory=trio.Event)
    _ready: trio.Event = field(default_factory=trio.Event)
    _gone: trio.Event = field(default_factory=trio.Event)
    _process: SupervisedProcess | None = None

    @property
    def alive(self) -> bool:
        running = self._process is None or self._process.running
        return running and not self._gone.is_set() and not self.scope.cancel_called

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the process and the client until the conversation is closed, expires, or its process dies."""
        try:
            with self.scope:
                await self._hold(task_status)
        except* Exception as group:  # noqa: BLE001 - whoever has borrowed it tells the client
            self.failure = "; ".join(str(error) for error in _leaves(group))
            self.log.debug("conversation.failed", error=self.failure)
        self._gone.set()
        self._ready.set()
        if self._process is None:
            task_status.started()
        self.log.debug("conversation.gone")

    async def _hold(self, task_status: trio.TaskStatus[None]) -> None:
        async with self.spawn.open() as process:
            self._process = process
            task_status.started()
            await self._until_bound(process)
            if self._request is None:
                return
            send, receive = trio.open_memory_channel[str](math.inf)
            toolbox = Toolbox(self._request.tools, send.send_nowait)
            transport = ProcessTransport(process, _binding(self._request, toolbox), self.log, toolbox.control_request)
            # With a transport of ours the SDK applies no option that is a flag; `hermetic` gives those.
            client = ClaudeSDKClient(ClaudeAgentOptions(verbatim_prompts=True), transport=transport)
            async with client, trio.open_nursery() as nursery, ending(client.receive_messages()) as messages:
                if self._request.claude_model != self.spawn.model:
                    await client.set_model(self._request.claude_model)
                nursery.start_soon(_write_all, receive, transport)
                self._open = _Open(client, messages, process, transport, toolbox)
                self._ready.set()
                await process.wait_exit()
                async with self._open.reading:  # a turn under way hears of the death from the SDK
                    nursery.cancel_scope.cancel()

    async def _until_bound(self, process: SupervisedProcess) -> None:
        async with trio.open_nursery() as nursery:

            async def died() -> None:
                await process.wait_exit()
                nursery.cancel_scope.cancel()

            nursery.start_soon(died)
            await self._bound.wait()
            nursery.cancel_scope.cancel()

    async def bind(self, request: ChatRequest) -> None:
        """Bind the waiting process to its first request; returns when it can be asked, or is gone."""
        self._request = request
        self.identity = identity_of(request)
        self._bound.set()
        await self._ready.wait()

    async def close(self) -> None:
        """End it; returns when its process is gone. Shielded and bounded."""
        self.scope.cancel(reason="the conversation is closed")
        with trio.move_on_after(CLOSE_WAIT_S, shield=True) as waiting:
            await self._gone.wait()
        if waiting.cancelled_caught:
            self.log.error("conversation.abandoned")

    async def answer(self, request: ChatRequest, way: Way, emit: Emit, *, resumed: bool) -> bool:
        """Run one turn. Afterwards `reusable` says whether another can follow.

        False, and nothing emitted, if the process had waited for this request and died meanwhile: ask another.

        Args:
            request: what to answer; its history is the one this conversation holds.
            way: how the request came here.
            emit: takes the events.
            resumed: the process goes on by itself from its transcript, which ends with the prompt.
        """
        self.reusable, self.pending = False, ()
        reader = TurnReader(self.spawn.login, conversation=way)
        if self._open is None:
            if self.waited:
                return False
            message = f"Claude Code could not be started: {self.failure}. Check --claude-command."
            await emit(TurnFailed(UpstreamError(message)))
            return True
        turn = _TurnUnderWay(request, self._open, emit)
        reader = turn.reader(self.spawn.login, way)
        try:
            await turn.run(way, resumed)
        except ClaudeSDKError as error:
            if self.waited and not reader.started:
                return False
            if not turn.ended:
                await emit(reader.gone(str(error)))
        except Exception as error:  # noqa: BLE001 - the SDK raises the bare class for a failed control request
            self.log.error("sdk.failed", error=error)
            if not turn.ended:
                await emit(TurnFailed(InternalError(f"The turn could not be run: {error}")))
        # Resuming put a text of Claude Code's own into the history, which no request has: exact histories only.
        self.reusable = turn.reusable and self.alive and not resumed
        self.history = (*request.turns, request.prompt, turn.answer())
        self.pending = turn.pending
        return True


class _TurnUnderWay:
    """One turn: what is asked, what was said, how it ended."""

    def __init__(self, request: ChatRequest, opened: _Open, emit: Emit) -> None:
        self._request = request
        self._opened = opened
        self._emit = emit
        self._text: list[str] = []
        self._held: list[Event] = []
        self._calls: list[ToolCall] = []
        self._asked_again = False
        self._finish: str | None = None
        self._over = False

    def reader(self, login: str, way: Way) -> TurnReader:
        check = self._opened.toolbox.checker.problem
        self._reader = TurnReader(login, check=check, own_name=own_name, conversation=way)
        self._login, self._way = login, way
        return self._reader

    @property
    def ended(self) -> bool:
        return self._reader.ended

    @property
    def reusable(self) -> bool:
        return self._over and self._finish in ("stop", "tool_calls")

    @property
    def pending(self) -> tuple[str, ...]:
        return tuple(call.id for call in self._calls) if self._finish == "tool_calls" else ()

    def answer(self) -> Turn:
        """The turn as the client will send it back."""
        text = "".join(self._text)
        said: list[Block] = [TextBlock(text)] if text.strip() else []
        calls = (ToolUseBlock(c.id, c.name, canonical_arguments(json.loads(c.arguments))) for c in self._calls)
        return Turn("assistant", (*said, *calls))

    async def run(self, way: Way, resumed: bool) -> None:
        self._opened.transport.turn_begins()
        if way == "parked":
            self._opened.toolbox.give([b for b in self._request.prompt.blocks if isinstance(b, ToolResultBlock)])
        elif not resumed:
            await self._ask([content_block(block) for block in self._request.prompt.blocks])
        async with self._opened.reading:
            async for message in self._opened.messages:
                events = events_of(message, self._reader)
                if self._reader.ended:
                    self._note_end(in_order=isinstance(message, ResultMessage))
                for event in events:
                    await self._say(event)
                if self._reader.ended:
                    return

    def _note_end(self, *, in_order: bool) -> None:
        self._over = in_order or self._reader.awaiting_results
        self._opened.transport.turn_ended(in_order=in_order)
        if not self._over:
            self._opened.process.kill()  # 20 ms later Claude Code makes another call

    async def _say(self, event: Event) -> None:
        must_call = self._request.tool_choice.mode == "required" and not self._calls
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
            self._opened.toolbox.give([ToolResultBlock(call.id, (ONE_CALL_ONLY,))])
            return
        self._calls.append(call)
        held, self._held = self._held, []
        for event in held:
            await self._say(event)
        await self._emit(call)

    async def _ask_again(self) -> None:
        if self._asked_again:
            message = "Claude answered in text although 'tool_choice' demands a call, and did so again when asked."
            await self._emit(TurnFailed(UpstreamError(message, code="tool_choice_not_followed", may_retry=True)))
            return
        self._asked_again = True
        self._held.clear()
        self._reader.ask_again()
        await self._ask([{"type": "text", "text": MUST_CALL}])

    async def _ask(self, blocks: Sequence[dict[str, Any]]) -> None:
        async with aclosing(_user_message(blocks)) as prompt:
            await self._opened.client.query(prompt)


def _binding(request: ChatRequest, toolbox: Toolbox) -> dict[str, Any]:
    must = [MUST_CALL] if request.tool_choice.mode == "required" else []
    return {"systemPrompt": [request.system, *must], **toolbox.bind()}


async def _user_message(blocks: Sequence[dict[str, Any]]) -> AsyncGenerator[dict[str, Any], None]:
    yield {"type": "user", "message": {"role": "user", "content": list(blocks)}, "parent_tool_use_id": None}


async def _write_all(lines: trio.MemoryReceiveChannel[str], transport: ProcessTransport) -> None:
    async for line in lines:
        await transport.write(line)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]
