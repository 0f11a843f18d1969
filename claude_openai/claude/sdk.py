"""The SDK backend: each turn is one of a live conversation, found, taken from the spares, or started.

Knows how the parts are put together; the SDK itself is `conversation`'s business, and is loaded when the server listens
already, since that takes half a second. Every failure in here becomes a TurnFailed event.
"""

import importlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import trio

from claude_openai.claude.base import Backend, Emit
from claude_openai.claude.guardian import Guardian
from claude_openai.claude.hermetic import RESUME_INTERRUPTED, claude_argv, claude_environment, login_command
from claude_openai.claude.process import SupervisedProcess, supervised
from claude_openai.claude.thoughts import Thoughts
from claude_openai.claude.transcript import transcript_file
from claude_openai.logs import Log
from claude_openai.protocol.blocks import ToolResultBlock
from claude_openai.protocol.events import Conversation as Way
from claude_openai.protocol.history import Turn
from claude_openai.protocol.request import ChatRequest

if TYPE_CHECKING:
    from claude_openai.claude.conversation import Conversation
    from claude_openai.claude.conversations import Conversations
    from claude_openai.claude.spares import Spares

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
        claude: the program.
        folder: private folder for transcripts; `folder / "cwd"` is where the processes start, and stays empty.
        environ: the server's environment.
        extra_env: variables that win over it.
        guardian: kills the processes if the server is killed.
        settings: bounds of what is kept open.
        log: for what belongs to no run.
    """

    name = "sdk"

    def __init__(
        self,
        *,
        claude: Path,
        folder: Path,
        environ: Mapping[str, str],
        extra_env: Mapping[str, str],
        guardian: Guardian,
        settings: "SdkSettings",
        log: Log,
    ) -> None:
        self._claude = claude
        self._folder = folder
        self._cwd = folder / "cwd"
        self._cwd.mkdir(exist_ok=True)
        self._env = claude_environment(environ, extra=extra_env, cwd=self._cwd)
        self._guardian = guardian
        self._login = login_command(claude)
        self._settings = settings
        self._log = log
        self._thoughts = Thoughts()
        self._running = trio.Event()
        self._nursery: trio.Nursery
        self._conversations: Conversations
        self._spares: Spares

    async def run(self) -> None:
        conversations, spares = await trio.to_thread.run_sync(_load)
        settings = self._settings
        limits = conversations.ConversationLimits(settings.kept, settings.idle_s, settings.parked_s)
        self._conversations = conversations.Conversations(limits, self._log)
        self._spares = spares.Spares(settings.spares, self._start_spare, self._log)
        async with trio.open_nursery() as self._nursery:
            self._running.set()
            await self._spares.refill()
            await trio.sleep_forever()

    async def turn(self, request: ChatRequest, emit: Emit, log: Log) -> None:
        await self._running.wait()
        answered = False
        while not answered:
            async with self._borrowed(request, log) as (conversation, way):
                resumed = way == "replayed" and _ends_in_results(request.prompt)
                log.debug("conversation.taken", way=way)
                answered = await conversation.answer(request, way, emit, resumed=resumed)
                self._thoughts.keep(request.user, conversation.pending, conversation.thinking)

    @asynccontextmanager
    async def _borrowed(self, request: ChatRequest, log: Log) -> "AsyncIterator[tuple[Conversation, Way]]":
        found = self._conversations.find(request)
        # The file of a history lives as long as the turn: when exactly Claude Code reads it is its own affair.
        turns = () if found else self._thoughts.restored(request.user, _to_replay(request))
        async with transcript_file(self._folder, turns, self._cwd) as transcript:
            if found is not None:
                conversation, way = found
            else:
                conversation = await self._new(request, transcript, log)
                way = "new" if transcript is None else "replayed"
            try:
                if found is None:
                    await conversation.bind(request)
                yield conversation, way
            finally:
                if conversation.reusable and self._settings.kept:
                    self._conversations.keep(conversation)
                else:
                    await conversation.close()

    async def _new(self, request: ChatRequest, transcript: Path | None, log: Log) -> "Conversation":
        if transcript is None and request.reasoning_effort is None:
            spare = self._spares.take()
            if spare is not None:
                return spare
        return await self._start(request.claude_model, request.reasoning_effort, transcript, log)

    async def _start_spare(self) -> "Conversation":
        return await self._start(self._settings.default_model, None, None, self._log)

    async def _start(self, model: str, effort: str | None, resume: Path | None, log: Log) -> "Conversation":
        from claude_openai.claude.conversation import Conversation, Spawn

        argv = claude_argv(self._claude, model=model, effort=effort, resume=resume)
        env = self._env | (RESUME_INTERRUPTED if resume is not None else {})
        log.debug("adapter.claude_args", argv=argv)
        opening = partial(self._process, argv, env)
        conversation = Conversation(Spawn(model, opening, self._login), self._log)
        await self._nursery.start(conversation.live)
        return conversation

    @asynccontextmanager
    async def _process(self, argv: Sequence[str], env: Mapping[str, str]) -> AsyncIterator[SupervisedProcess]:
        # A folder for its temporary files: each process leaves a socket and a folder there, for ever.
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self._folder, ignore_cleanup_errors=True) as temporary:
            env = {**env, "TMPDIR": temporary, "CLAUDE_CODE_TMPDIR": temporary}
            async with supervised(argv, env=env, cwd=self._cwd, guardian=self._guardian, log=self._log) as process:
                yield process


def _ends_in_results(prompt: Turn) -> bool:
    return any(isinstance(block, ToolResultBlock) for block in prompt.blocks)


def _to_replay(request: ChatRequest) -> tuple[Turn, ...]:
    # Results go on by themselves only from the transcript: in a new message, Claude Code would drop them.
    return (*request.turns, request.prompt) if _ends_in_results(request.prompt) else request.turns


def _load() -> tuple[ModuleType, ModuleType]:
    """The modules that need the SDK, whose import takes half a second."""
    conversations = importlib.import_module("claude_openai.claude.conversations")
    return conversations, importlib.import_module("claude_openai.claude.spares")
