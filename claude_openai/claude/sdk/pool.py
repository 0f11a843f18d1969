"""Leases conversations: kept ones, new ones in spares, and new ones in processes started for the request."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from math import inf

import trio

from claude_openai.claude.backend import ProcessKind
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.launcher import Launcher, ProcessSpec
from claude_openai.claude.sdk.bindings import Binding, ExpectedBinding
from claude_openai.claude.sdk.conversation import Conversation
from claude_openai.claude.sdk.conversation_state import ConversationState, Phase
from claude_openai.claude.sdk.kept import KeptConversations
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.claude.sdk.settings import SdkSettings
from claude_openai.claude.sdk.spares import Spares
from claude_openai.claude.transcript.replay import past_of
from claude_openai.claude.transcript.session_file import Past
from claude_openai.claude.transcript.thinking_store import ThinkingStore
from claude_openai.errors import ClaudeMissing
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Route
from claude_openai.protocol.turn.request import TurnRequest

__all__ = ["ConversationPool", "Lease"]

# Clients such as OpenCode ask a small model for titles between the turns of a large one.
SPARE_MODELS = 2


@dataclass(frozen=True, slots=True)
class Lease:
    """A conversation for the exclusive use of one turn.

    Attributes:
        route: how the turn got its process.
        replaceable: the process had been waiting and may have died; then the turn can run in a new process.
        past: what the process gets with its first request; None if it has it already.
    """

    conversation: Conversation
    route: Route
    replaceable: bool
    past: Past | None = None


class ConversationPool:
    """Starts, leases and keeps conversations.

    Args:
        launcher: starts the processes.
        primer: learns the notes that Claude Code would add to a conversation.
        settings: bounds of the processes that are kept.
        log: for events outside of runs.
        nursery: owns the processes.

    Attributes:
        kept: the conversations that wait for a request.
        spares: the processes that wait for their first request, by model.
        bound_spares: spares that have the system prompt and the tools of the last new conversations.
    """

    def __init__(
        self, launcher: Launcher, primer: Primer, settings: SdkSettings, log: Log, nursery: trio.Nursery
    ) -> None:
        self._launcher = launcher
        self._primer = primer
        self._settings = settings
        self._log = log
        self._nursery = nursery
        self.kept = KeptConversations(settings.kept, settings.idle_s, settings.parked_s, log)
        delay_s = settings.refill_delay_s
        self.spares = Spares(
            settings.spares,
            self._start_spare,
            log,
            [settings.default_model],
            max_kinds=SPARE_MODELS,
            refill_delay_s=delay_s,
        )
        self.bound_spares = Spares(
            min(1, settings.spares), self._start_bound_spare, log, max_kinds=1, refill_delay_s=delay_s
        )
        self._expected_binding = ExpectedBinding()
        self._thinking = ThinkingStore()

    def counts(self) -> dict[str, int]:
        return {"spares": self.spares.count + self.bound_spares.count, **self.kept.counts()}

    def kinds(self) -> dict[int | None, ProcessKind]:
        """Return what the waiting processes wait for, by process id."""
        spares = [*self.spares.pids, *self.bound_spares.pids]
        return {**dict.fromkeys(spares, "spare"), **self.kept.kinds()}

    @asynccontextmanager
    async def lease(self, request: TurnRequest, log: Log, *, in_new_process: bool = False) -> AsyncIterator[Lease]:
        """Lease a conversation for one turn; at the end of the block it is kept or closed.

        The end of the block waits, shielded and bounded, for the processes that it closes: the caller holds a slot,
        and there must not be more processes than slots.

        Args:
            request: the request of the turn.
            log: bound to the run.
            in_new_process: start a new process even if a waiting one fits.

        Raises:
            ClaudeMissing: Claude Code is not installed.
            OSError: the transcript cannot be written.
        """
        # The transcript stays until the turn ends, because it is unknown when Claude Code reads it.
        async with AsyncExitStack() as files:
            lease = None if in_new_process else self._kept_one(request)
            if lease is None:
                lease = await self._unbound_one(request, files, log, in_new_process=in_new_process)
            try:  # no checkpoint before: a cancel there would leave the process without a lease
                if lease.past is not None:
                    await self._bind(lease, request, lease.past, files)
                log.debug("conversation.taken", way=lease.route)
                yield lease
            finally:
                for conversation in self._returned(lease.conversation, request):
                    await conversation.process.close()

    def _returned(self, conversation: Conversation, request: TurnRequest) -> list[Conversation]:
        """Keep the conversation if it can be used again; return the conversations to close."""
        state = conversation.state
        if state.pending or (state.exact and not request.options.runs_tools):
            self._thinking.keep(request.owner, state.history, state.thinking)
        if state.phase in (Phase.IDLE, Phase.PARKED) and self._settings.kept:
            return self.kept.keep(conversation)
        return [conversation]

    def _kept_one(self, request: TurnRequest) -> Lease | None:
        """Lease the conversation that the request continues: parked, continued or rewound."""
        found = None if request.options.reset_session else self.kept.take(request)
        return None if found is None else Lease(*found, replaceable=True)

    async def _unbound_one(
        self, request: TurnRequest, files: AsyncExitStack, log: Log, *, in_new_process: bool
    ) -> Lease:
        """Lease a conversation whose process has had no request: new or replayed."""
        for passed in self.kept.end_passed(request):
            files.push_async_callback(passed.process.close)
        turns = self._thinking.restored(request.owner, past_of(request))
        past = Past(turns, await self._primer.notes_for(request))
        bound = None if turns or in_new_process else self._bound_spare(request)
        if bound is not None:
            return Lease(self._first_conversation(bound, request), "new", replaceable=True)
        spare = None if in_new_process else self._spare(request, past)
        process = spare or await self._start_own(request, past, files, log)
        conversation = self._first_conversation(process, request)
        return Lease(conversation, "replayed" if past.turns else "new", replaceable=spare is not None, past=past)

    def _first_conversation(self, process: LiveProcess, request: TurnRequest) -> Conversation:
        return Conversation(process, ConversationState.first(request, process.spec.session), self._log)

    async def _bind(self, lease: Lease, request: TurnRequest, past: Past, files: AsyncExitStack) -> None:
        process = lease.conversation.process
        process.begin_to_bind(request)  # while the past is written
        if process.spec.give_past is not None:
            await files.enter_async_context(process.spec.give_past(past))
        await process.bound(self._settings.bind_wait_s if lease.replaceable else inf)

    def _spare(self, request: TurnRequest, past: Past) -> LiveProcess | None:
        if request.options.needs_own_process or (past.turns and not self._settings.late_transcripts):
            return None
        return self.spares.take(request.claude_model)

    def _bound_spare(self, request: TurnRequest) -> LiveProcess | None:
        if not request.tools or request.options.needs_own_process:
            return None
        binding = Binding.of(request)
        return self.bound_spares.take(binding) if self._expected_binding.note(binding) else None

    async def _start_own(self, request: TurnRequest, past: Past, files: AsyncExitStack, log: Log) -> LiveProcess:
        transcript = await files.enter_async_context(self._launcher.transcript(past))
        return await self._start(
            self._launcher.spawn(request.claude_model, options=request.options, resume=transcript, log=log)
        )

    async def _start_spare(self, model: str) -> LiveProcess | None:
        return await self._start_ahead(model, waits_for_past=self._settings.late_transcripts)

    async def _start_bound_spare(self, binding: Binding) -> LiveProcess | None:
        model = binding.request.claude_model
        # Not primed, it would send Claude Code's notes.
        spare = await self._start_ahead(model, waits_for_past=False, must_be_primed=True)
        if spare is not None and spare.alive:
            spare.begin_to_bind(binding.request)
            await spare.bound(self._settings.bind_wait_s)
            self._log.debug("spare.bound", pid=spare.pid)
        return spare

    async def _start_ahead(
        self, model: str, *, waits_for_past: bool, must_be_primed: bool = False
    ) -> LiveProcess | None:
        try:
            notes = await self._primer.notes(model)
            if must_be_primed and not notes:
                return None
            return await self._start(
                self._launcher.spawn_spare(model, notes, waits_for_past=waits_for_past, log=self._log)
            )
        except ClaudeMissing:  # logged when the server started, and reported to each client that asks
            return None

    async def _start(self, spec: ProcessSpec) -> LiveProcess:
        """Start a process. If that fails it is returned all the same, and is not alive."""
        process = LiveProcess(spec, self._log)
        await self._nursery.start(process.live)
        return process
