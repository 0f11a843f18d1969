"""The SDK backend: each turn is one of a live conversation, found, taken from the spares, or started.

Knows how the parts are put together; the SDK itself is `conversation`'s business, and is loaded when the server listens
already (`preload`), since that takes half a second. Every failure in here becomes a TurnFailed event.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from claude_openai.claude.backend import Backend, Emit, Parked
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.launcher import Launcher, ProcessSpec
from claude_openai.claude.process.start_errors import start_error, why_not_started
from claude_openai.claude.transcript.fifo import LATE_TRANSCRIPTS
from claude_openai.claude.transcript.replay import past_of
from claude_openai.claude.transcript.session_file import Past
from claude_openai.claude.transcript.thinking_store import ThinkingStore
from claude_openai.errors import ClaudeMissing
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Route, TurnFailed
from claude_openai.protocol.turn.request import TurnRequest

if TYPE_CHECKING:
    from claude_openai.claude.sdk.conversation import Conversation
    from claude_openai.claude.sdk.pool import ConversationPool
    from claude_openai.claude.sdk.spares import Spares

__all__ = ["SdkBackend", "SdkSettings"]


@dataclass(frozen=True, slots=True)
class SdkSettings:
    """What is kept open: conversations, for how many seconds idle and parked; spares, and the model they start with."""

    kept: int
    idle_s: float
    parked_s: float
    spares: int
    default_model: str


class SdkBackend(Backend):
    """Runs turns through the Agent SDK.

    Args:
        launcher: starts the processes.
        primer: knows what Claude Code would add to a conversation.
        settings: bounds of what is kept open.
        log: for what belongs to no run.
    """

    name = "sdk"
    modules = (
        "claude_openai.claude.sdk.pool",
        "claude_openai.claude.sdk.spares",
        "anyio._backends._trio",  # by the SDK, for its first turn
    )

    def __init__(self, launcher: Launcher, primer: Primer, settings: SdkSettings, log: Log) -> None:
        self._launcher = launcher
        self._settings = settings
        self._log = log
        self._thoughts = ThinkingStore()
        self._primer = primer
        self._running = trio.Event()
        self._nursery: trio.Nursery
        self._conversations: ConversationPool
        self._spares: Spares

    def status(self) -> Mapping[str, Any]:
        return self._launcher.status()

    def counts(self) -> Mapping[str, int]:
        processes = {"processes": self._launcher.processes}
        if not self._running.is_set():
            return processes
        return {**processes, "spares": self._spares.count, **self._conversations.counts()}

    def check(self, request: TurnRequest) -> None:
        self._launcher.check(request)

    async def run(self) -> None:
        from claude_openai.claude.sdk.pool import ConversationLimits, ConversationPool
        from claude_openai.claude.sdk.spares import Spares

        settings = self._settings
        limits = ConversationLimits(settings.kept, settings.idle_s, settings.parked_s)
        self._conversations = ConversationPool(limits, self._log)
        self._spares = Spares(settings.spares, self._start_spare, self._log, settings.default_model)
        async with trio.open_nursery() as self._nursery:
            self._running.set()
            self._nursery.start_soon(self._primer.run)
            await self._spares.refill()
            await trio.sleep_forever()

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        await self._running.wait()
        try:
            conversation, answered = await self._answer(request, emit, log)
            if not answered:
                log.warning("conversation.replaced", error=conversation.failure)
                conversation, _ = await self._answer(request, emit, log, in_new_process=True)
        except ClaudeMissing as error:
            await emit(TurnFailed(error))
            return None
        except OSError as error:  # the transcript could not be written
            await emit(TurnFailed(start_error(why_not_started(error))))
            return None
        return conversation.parked()

    async def _answer(
        self, request: TurnRequest, emit: Emit, log: Log, *, in_new_process: bool = False
    ) -> "tuple[Conversation, bool]":
        """The conversation that was asked, and whether it has answered; one in a new process always has."""
        async with self._borrowed(request, log, in_new_process=in_new_process) as (conversation, route):
            log.debug("conversation.taken", route=route)
            answered = await conversation.answer(request, route, emit)
            self._thoughts.keep(request.user, conversation.pending, conversation.thinking)
        return conversation, answered

    @asynccontextmanager
    async def _borrowed(
        self, request: TurnRequest, log: Log, *, in_new_process: bool
    ) -> "AsyncIterator[tuple[Conversation, Route]]":
        found = None if request.options.reset_session or in_new_process else self._conversations.find(request)
        # The file of a past lives as long as the turn: when exactly Claude Code reads it is its own affair.
        async with AsyncExitStack() as files:
            if found is not None:
                conversation, route = found
            else:
                for passed in self._conversations.end_passed(request):
                    files.push_async_callback(passed.close)
                turns = self._thoughts.restored(request.user, past_of(request))
                past = Past(turns, await self._primer.notes_for(request))
                conversation = await self._unbound(request, past, files, log, in_new_process=in_new_process)
                route = "replayed" if past.turns else "new"
            try:
                if found is None:
                    if conversation.spawn.give_past is not None:
                        await files.enter_async_context(conversation.spawn.give_past(past))
                    await conversation.bind(request)
                yield conversation, route
            finally:
                keep = conversation.reusable and self._settings.kept
                # The slot is held until they are gone: else more processes would run than are counted.
                for ending in self._conversations.keep(conversation) if keep else (conversation,):
                    await ending.close()

    async def _unbound(
        self, request: TurnRequest, past: Past, files: AsyncExitStack, log: Log, *, in_new_process: bool
    ) -> "Conversation":
        if not in_new_process and not request.options.needs_own_process and (LATE_TRANSCRIPTS or not past.turns):
            spare = self._spares.take(request.claude_model)
            if spare is not None:
                return spare
        transcript = await files.enter_async_context(self._launcher.transcript(past))
        return await self._start(
            self._launcher.spawn(request.claude_model, options=request.options, resume=transcript, log=log)
        )

    async def _start_spare(self, model: str) -> "Conversation | None":
        try:
            notes = await self._primer.notes(model)
            return await self._start(self._launcher.spawn_spare(model, notes, log=self._log))
        except ClaudeMissing:  # said when the server started, and to each client that asks
            return None

    async def _start(self, spawn: ProcessSpec) -> "Conversation":
        from claude_openai.claude.sdk.conversation import Conversation

        conversation = Conversation(spawn, self._log)
        await self._nursery.start(conversation.live)
        return conversation
