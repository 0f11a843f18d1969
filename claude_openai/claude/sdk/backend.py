"""The SDK backend: each turn runs in a live conversation, leased from the pool.

The SDK is imported before `run` (`preload`), since that takes half a second. Failures become `TurnFailed` events.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from claude_openai.claude.backend import Backend, ClaudeProcess, Emit, Parked, WaitingConversation
from claude_openai.claude.login_watch import LoginWatch
from claude_openai.claude.priming import Primer
from claude_openai.claude.process.free_memory import private_mb
from claude_openai.claude.process.launcher import Launcher
from claude_openai.claude.process.start_errors import NotAsked, start_error, why_not_started
from claude_openai.claude.sdk.settings import SdkSettings
from claude_openai.errors import ClaudeMissing
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.protocol.turn.request import TurnRequest

if TYPE_CHECKING:
    from claude_openai.claude.sdk.pool import ConversationPool

__all__ = ["SdkBackend"]


class SdkBackend(Backend):
    """Runs turns through the Agent SDK.

    Args:
        launcher: starts the processes.
        primer: learns the notes that Claude Code would add to a conversation.
        login: looks up the login of Claude Code.
        settings: bounds of the processes that are kept.
        log: for events outside of runs.
    """

    name = "sdk"
    modules = (
        "claude_openai.claude.sdk.pool",
        "anyio._backends._trio",  # the SDK imports it in its first turn
    )

    def __init__(self, launcher: Launcher, primer: Primer, login: LoginWatch, settings: SdkSettings, log: Log) -> None:
        self._launcher = launcher
        self._primer = primer
        self._login = login
        self._settings = settings
        self._log = log
        self._running = trio.Event()
        self._pool: ConversationPool

    def status(self) -> Mapping[str, Any]:
        status = self._launcher.status()
        return {**status, "claude": {**status["claude"], **self._primer.status(), "login": self._login.state.value}}

    def note_login(self, *, is_refused: bool) -> None:
        self._login.note_turn(is_refused=is_refused)

    def counts(self) -> Mapping[str, int]:
        pool = self._pool.counts() if self._running.is_set() else {}
        return {"processes": self._launcher.processes, **pool}

    def conversations(self) -> list[WaitingConversation]:
        return self._pool.kept.listed() if self._running.is_set() else []

    async def close_conversation(self, conversation: str) -> bool:
        return self._running.is_set() and await self._pool.kept.close(conversation)

    def processes(self) -> list[ClaudeProcess]:
        kinds = self._pool.kinds() if self._running.is_set() else {}
        return [ClaudeProcess(kinds.get(pid, "live"), private_mb(pid)) for pid in self._launcher.pids]

    def check(self, request: TurnRequest) -> None:
        self._launcher.check(request)

    async def run(self) -> None:
        from claude_openai.claude.sdk.pool import ConversationPool

        async with trio.open_nursery() as nursery:
            self._pool = ConversationPool(self._launcher, self._primer, self._settings, self._log, nursery)
            self._running.set()
            nursery.start_soon(self._primer.run)
            nursery.start_soon(self._login.run)
            nursery.start_soon(self._pool.spares.refill)
            nursery.start_soon(self._pool.bound_spares.refill)
            await trio.sleep_forever()

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        await self._running.wait()
        try:
            try:
                return await self._answer(request, emit, log)
            except NotAsked as error:
                log.warning("conversation.replaced", error=error)
            return await self._answer(request, emit, log, in_new_process=True)
        except ClaudeMissing as error:
            await emit(TurnFailed(error))
        except OSError as error:  # the transcript could not be written
            await emit(TurnFailed(start_error(why_not_started(error))))
        return None

    async def _answer(
        self, request: TurnRequest, emit: Emit, log: Log, *, in_new_process: bool = False
    ) -> Parked | None:
        async with self._pool.lease(request, log, in_new_process=in_new_process) as lease:
            await lease.conversation.answer(request, lease.route, emit, replaceable=lease.replaceable)
            return lease.conversation.parked()
