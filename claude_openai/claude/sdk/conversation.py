"""One live conversation: a process, the SDK's client over it, and the history that it holds.

A conversation is started without being bound: its process waits, and learns system prompt, tools and model only from
the first request, so the same thing serves as a spare. The task in `live` owns process and client and belongs to the
server's nursery, never to a request; a run borrows the conversation, one at a time, and drives one turn with `answer`.
Between turns it is *idle*, or *parked* with tool calls that wait for the client's results; a turn that ends in any
other way leaves it broken, and whoever borrowed it closes it.
"""

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import trio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ClaudeSDKError

from claude_openai.claude.backend import Emit
from claude_openai.claude.control.mcp_server import ToolServer
from claude_openai.claude.process.launcher import ProcessSpec
from claude_openai.claude.process.start_errors import start_error, why_not_started
from claude_openai.claude.process.supervised import SupervisedProcess
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.sdk.messages import ending
from claude_openai.claude.sdk.transport import ProcessTransport
from claude_openai.claude.sdk.turn import ConnectedClient, SdkTurn
from claude_openai.claude.transcript.session_file import message_ids
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.errors import ApiError, InternalError, leaves
from claude_openai.logs.log import Log
from claude_openai.protocol.claude_code.call_policies import MUST_CALL
from claude_openai.protocol.turn.blocks import Message, ThinkingBlock
from claude_openai.protocol.turn.events import Route, TurnFailed
from claude_openai.protocol.turn.history import canonical
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["Conversation", "Identity", "ParkedCalls", "identity_of"]

# The process is gone within the kill ladder's 3 s; then the task has only to return.
CLOSE_WAIT_S = 6.0
# A spare needs a tenth of a second. One that hangs must not make a request wait as long as the SDK would, for a minute.
BIND_WAIT_S = 10.0
Identity = tuple[object, ...]


def identity_of(request: TurnRequest) -> Identity:
    """What must be the same, beside the history, for a request to meet a live conversation."""
    return (
        request.user,
        request.claude_model,
        request.system,
        request.tools,
        request.tool_choice,
        request.parallel_tool_calls,
        request.output,
        request.long_context,
        replace(request.options, reset_session=False),
    )


@dataclass(frozen=True, slots=True)
class ParkedCalls:
    """The calls that a conversation waits with, as the run that made them knows them; keeps nothing alive."""

    conversation: "weakref.ref[Conversation]"
    calls: tuple[str, ...]

    @property
    def waiting(self) -> bool:
        conversation = self.conversation()
        return conversation is not None and conversation.alive and conversation.pending == self.calls

    async def close(self) -> None:
        conversation = self.conversation()
        if conversation is not None and self.waiting:
            await conversation.close()


@dataclass(slots=True, eq=False, weakref_slot=True)
class Conversation:
    """See the module.

    Attributes:
        history: all turns it holds, our own last answer included.
        message_ids: for each of these turns the id of its message, "" for one that it cannot be taken back to.
        pending: ids of the calls that wait for their results.
        waited: it was kept, or is a spare: if its process has died meanwhile, the request is tried on another.
        exact: Claude has seen in it what the requests have, and nothing more. A turn that it is not exact for is played
            to its end, over all calls and results; then the history is given anew.
        reusable: its last turn ended so that another can follow.
        settings: of its last turn.
        thinking: what Claude thought before those calls.
        failure: why it could not be opened.
        refusal: the same, where it is the request's fault.
    """

    spawn: ProcessSpec
    log: Log
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    identity: Identity = ()
    history: tuple[Message, ...] = ()
    message_ids: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    settings: TurnSettings = field(default_factory=TurnSettings)
    thinking: tuple[ThinkingBlock, ...] = ()
    failure: str = ""
    refusal: ApiError | None = None
    exact: bool = True
    reusable: bool = False
    waited: bool = False
    _request: TurnRequest | None = None
    _open: ConnectedClient | None = None
    _bound: trio.Event = field(default_factory=trio.Event)
    _ready: trio.Event = field(default_factory=trio.Event)
    _gone: trio.Event = field(default_factory=trio.Event)
    _process: SupervisedProcess | None = None

    @property
    def alive(self) -> bool:
        running = self._process is None or self._process.running
        return running and not self._gone.is_set() and not self.scope.cancel_called

    def parked(self) -> ParkedCalls | None:
        """The calls of its last turn, if it waits for their results."""
        return ParkedCalls(weakref.ref(self), self.pending) if self.pending and self.alive else None

    async def live(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the process and the client until the conversation is closed, expires, or its process dies."""
        try:
            with self.scope:
                await self._hold(task_status)
        except* Exception as group:  # noqa: BLE001 - whoever has borrowed it tells the client
            self.failure = "; ".join(why_not_started(error) for error in leaves(group))
            self.refusal = next((error for error in leaves(group) if isinstance(error, ApiError)), None)
            self.log.debug("conversation.failed", error=self.failure)
        finally:
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
            ask, questions = trio.open_memory_channel[Mapping[str, Any]](math.inf)
            toolbox = ToolServer(self._request.tools, send.send_nowait)
            guard = self.spawn.guard
            take = partial(self._take, process, toolbox, ask)
            transport = ProcessTransport(process, _binding(self._request, toolbox, guard), self.log, take)
            # With a transport of ours the SDK applies no option that is a flag; `command_line` gives those.
            client = ClaudeSDKClient(ClaudeAgentOptions(verbatim_prompts=True), transport=transport)
            async with client, trio.open_nursery() as nursery, ending(client.receive_messages()) as messages:
                nursery.start_soon(_write_all, receive, transport)
                nursery.start_soon(guard.answer_all, questions, send.send_nowait)
                self._open = ConnectedClient(client, messages, process, transport, toolbox, self.spawn.settings)
                self._ready.set()
                await process.wait_exit()
                async with self._open.reading:  # a turn under way hears of the death from the SDK
                    nursery.cancel_scope.cancel()

    def _take(
        self,
        process: SupervisedProcess,
        toolbox: ToolServer,
        ask: trio.MemorySendChannel[Mapping[str, Any]],
        frame: Mapping[str, Any],
    ) -> bool:
        self.spawn.note(frame)
        if self.spawn.guard.takes(frame):
            ask.send_nowait(frame)
            return True
        if self.spawn.guard.does_not_ask(frame):
            process.kill()
        return frame.get("type") == "control_request" and toolbox.control_request(frame)

    async def _until_bound(self, process: SupervisedProcess) -> None:
        async with trio.open_nursery() as nursery:

            async def died() -> None:
                await process.wait_exit()
                nursery.cancel_scope.cancel()

            nursery.start_soon(died)
            await self._bound.wait()
            nursery.cancel_scope.cancel()

    async def bind(self, request: TurnRequest) -> None:
        """Bind the waiting process to its first request; returns when it can be asked, or is gone.

        A spare that does not answer for `BIND_WAIT_S` seconds is closed.
        """
        self._request = request
        self.identity = identity_of(request)
        self._bound.set()
        with trio.move_on_after(BIND_WAIT_S if self.waited else math.inf) as binding:
            await self._ready.wait()
        if binding.cancelled_caught:
            self.failure = f"a waiting process said nothing for {BIND_WAIT_S:g} s"
            self.log.warning("conversation.failed", error=self.failure)
            await self.close()

    async def close(self) -> None:
        """End it; returns when its process is gone. Shielded and bounded."""
        self.scope.cancel(reason="the conversation is closed")
        with trio.move_on_after(CLOSE_WAIT_S, shield=True) as waiting:
            await self._gone.wait()
        if waiting.cancelled_caught:
            self.log.error("conversation.abandoned")

    async def answer(self, request: TurnRequest, route: Route, emit: Emit) -> bool:
        """Run one turn. Afterwards `reusable` says whether another can follow.

        Returns False, with nothing emitted and the cause in `failure`, if a process that had waited for its turn died
        before anything of the prompt was written to it: Claude was not asked, and another process may be. After that
        nobody can tell whether Claude was asked, and the turn fails.

        Args:
            request: what to answer; its history is the one this conversation holds.
            way: how the request came here.
            emit: takes the events.
        """
        self.reusable, self.pending = False, ()
        if self._open is None:
            if self.waited:
                return False
            self.log.warning("sdk.error", kind="not_started", error=self.failure)
            await emit(TurnFailed(self.refusal or start_error(self.failure)))
            return True
        turn = SdkTurn(request, self._open, emit, route=route, login=self.spawn.login)
        if route == "replayed":
            self.message_ids = message_ids(self.spawn.session, request.turns)
        try:
            with self._open.transport.observed(emit):
                if route == "rewound" and not await self._rewind(self._open, len(request.turns)):
                    return False
                await turn.run()
        except ClaudeSDKError as error:
            if self.waited and not self._open.transport.asked:
                self.failure = str(error)
                return False
            self.log.warning("sdk.error", kind=type(error).__name__, error=error)
            if not turn.reader.ended:
                await emit(turn.reader.gone(str(error)))
        except Exception as error:  # noqa: BLE001 - the SDK raises the bare class for a failed control request
            self.log.error("sdk.error", kind=type(error).__name__, error=error)
            if not turn.reader.ended:
                await emit(TurnFailed(InternalError(f"The turn could not be run: {error}")))
        self.history = canonical((*request.turns, request.prompt, turn.answer()))
        self.message_ids = (*self.message_ids, turn.message_id, "")
        self.pending, self.thinking = turn.pending, turn.thinking.blocks()
        self.settings = TurnSettings.of(request)
        self.exact = self.exact and turn.exact
        self.reusable = turn.reusable and self.alive and (self.exact or bool(self.pending))
        return True

    async def _rewind(self, opened: ConnectedClient, turns: int) -> bool:
        """Take it back to its first so many turns."""
        newest = next(ident for ident in reversed(self.message_ids) if ident)
        refusal = await opened.transport.rewind(self.message_ids[turns], newest)
        if refusal:
            self.failure = f"it was not taken back: {refusal}"
        self.message_ids = self.message_ids[:turns]
        return not refusal


def _binding(request: TurnRequest, toolbox: ToolServer, guard: ToolGuard) -> dict[str, Any]:
    must = [MUST_CALL] if request.tool_choice.mode == "required" else []
    form = {} if request.output is None else {"jsonSchema": request.output.for_claude()}
    return {"systemPrompt": [request.system, *must], **form, **toolbox.bind(), **guard.hooks()}


async def _write_all(lines: trio.MemoryReceiveChannel[str], transport: ProcessTransport) -> None:
    async for line in lines:
        await transport.write(line)
