"""The SDK backend: each turn is a process, started hermetic and supervised, and a ClaudeSDKClient over it.

Knows how the parts of a turn are put together; the SDK itself is `client`'s business. Every failure in here becomes a
TurnFailed event.
"""

import importlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import trio

from claude_openai.claude.base import Backend, Emit
from claude_openai.claude.guardian import Guardian
from claude_openai.claude.hermetic import claude_argv, claude_environment, login_command
from claude_openai.claude.process import SupervisedProcess, supervised
from claude_openai.claude.transcript import transcript_file
from claude_openai.errors import UpstreamError
from claude_openai.logs import Log
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import TurnFailed
from claude_openai.protocol.request import ChatRequest

__all__ = ["SdkBackend"]

_Answer: TypeAlias = Callable[[SupervisedProcess, ChatRequest, TurnReader, Emit, Log], Awaitable[None]]


class SdkBackend(Backend):
    """Runs turns through the Agent SDK.

    Args:
        claude: the program.
        folder: private folder for transcripts; `folder / "cwd"` is where the processes start, and stays empty.
        environ: the server's environment.
        extra_env: variables that win over it.
        guardian: kills the processes if the server is killed.
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
    ) -> None:
        self._claude = claude
        self._folder = folder
        self._cwd = folder / "cwd"
        self._cwd.mkdir(exist_ok=True)
        self._env = claude_environment(environ, extra=extra_env, cwd=self._cwd)
        self._guardian = guardian
        self._login = login_command(claude)
        self._loading = trio.Lock()
        self._loaded: _Answer | None = None

    async def prepare(self) -> None:
        await self._answer()

    async def _answer(self) -> _Answer:
        """`client.answer`. Its import takes half a second: in a thread, and not before the server listens."""
        async with self._loading:
            if self._loaded is None:
                client = await trio.to_thread.run_sync(importlib.import_module, "claude_openai.claude.client")
                self._loaded = client.answer
        return self._loaded

    async def turn(self, request: ChatRequest, emit: Emit, log: Log) -> None:
        reader = TurnReader(self._login)
        answer = await self._answer()
        try:
            async with transcript_file(self._folder, request.turns, self._cwd) as transcript:
                argv = claude_argv(
                    self._claude, model=request.claude_model, effort=request.reasoning_effort, resume=transcript
                )
                log.debug("adapter.claude_args", argv=argv)
                with _temporary_environment(self._folder) as temporary:
                    env = {**self._env, **temporary}
                    async with supervised(argv, env=env, cwd=self._cwd, guardian=self._guardian, log=log) as process:
                        await answer(process, request, reader, emit, log)
        except OSError as error:
            await emit(TurnFailed(UpstreamError(f"Claude Code could not be started: {error}. Check --claude-command.")))


@contextmanager
def _temporary_environment(folder: Path) -> Iterator[dict[str, str]]:
    """A folder for temporary files: each process leaves a socket and a folder there, for ever."""
    with tempfile.TemporaryDirectory(prefix="tmp-", dir=folder, ignore_cleanup_errors=True) as name:
        yield {"TMPDIR": name, "CLAUDE_CODE_TMPDIR": name}
