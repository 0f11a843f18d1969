"""Prepares the process of a turn: its program, past and folder. Both backends use it.

`command_line` has the flags and variables; the backends talk to the process. The program is looked up at each start,
because it may be installed or replaced while the server runs.
"""

import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from claude_openai.claude.leftovers.ledger import Ledger
from claude_openai.claude.process.command_line import claude_argv, claude_environment, stand_in_environment
from claude_openai.claude.process.files import ProcessFiles
from claude_openai.claude.process.guardian import Guardian
from claude_openai.claude.process.known_models import KnownModels
from claude_openai.claude.process.login import LOGIN_ARGUMENTS, Login, parse_login
from claude_openai.claude.process.program import find_claude, login_command
from claude_openai.claude.process.supervised import SupervisedProcess, supervised
from claude_openai.claude.process.turn_settings import TurnSettings
from claude_openai.claude.process.version import Version, parse_version
from claude_openai.claude.transcript.fifo import LateTranscript
from claude_openai.claude.transcript.session_file import Notes, Past, transcript_file
from claude_openai.claude.walls.folders import BY_DESCRIPTOR, folder_of
from claude_openai.claude.walls.hook import ToolGuard
from claude_openai.claude.walls.tool_walls import Enclose, ToolWalls
from claude_openai.errors import ClaudeMissing, ConfigError
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, ClaudeOptions
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.threads import run_in_thread

__all__ = ["GRACE_S", "Launcher", "ProcessSpec"]

# After a turn the process exits in about 60 ms once its input ends.
GRACE_S = 1.0
# Files that are left after this are removed with the private folder when the server stops.
REMOVE_WAIT_S = 5.0
# `claude --version` takes 12 ms, 150 ms in older versions.
VERSION_S = 5.0
# `claude auth status` takes 0.4 s on an idle machine.
LOGIN_S = 20.0
OUTPUT_BYTES = 16 * 1024


def _ignore(_: Mapping[str, Any]) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to start.

    Attributes:
        session: session id, the same as in a transcript that it resumes from.
        model: its first model.
        settings: the settings that it starts with.
        open: starts it, as the context manager `supervised`.
        login: the command that logs Claude Code in.
        guard: answers its control requests about Claude's own tools.
        give_past: for a process that waits for its past: writes it, for the length of the turn.
        note: to be called with each record that the process writes.
    """

    session: str
    model: str
    settings: TurnSettings
    open: Callable[[], AbstractAsyncContextManager[SupervisedProcess]]
    login: str
    guard: ToolGuard
    give_past: Callable[[Past], AbstractAsyncContextManager[None]] | None = None
    note: Callable[[Mapping[str, Any]], None] = _ignore


class Launcher:
    """Starts `claude`.

    Args:
        command: the program to run, by name or path; None to look it up.
        folder: private folder for transcripts; the processes start in `folder / "cwd"`, which stays empty.
        environ: the server's environment.
        extra_env: variables that override it.
        guardian: starts the processes, and ends their descendants.
        walls: keep Claude's own tools in their folders.
        models: gets the records of the processes.
        log: for events outside of runs.

    Raises:
        ConfigError: the command cannot be run.
    """

    def __init__(
        self,
        *,
        command: str | None,
        folder: Path,
        environ: Mapping[str, str],
        extra_env: Mapping[str, str],
        guardian: Guardian,
        walls: ToolWalls,
        models: KnownModels,
        log: Log,
    ) -> None:
        self._command = command
        self._folder = folder
        self._cwd = folder / "cwd"
        self._cwd.mkdir(exist_ok=True)
        self._environ = environ
        self._extra_env = extra_env
        self._ledger = Ledger(folder)
        self._guardian = guardian
        self._walls = walls
        self._models = models
        self._log = log
        self._processes: dict[SupervisedProcess, str] = {}
        try:
            find_claude(command)
        except ClaudeMissing as error:
            log.warning("claude.missing", message=error.message)

    @property
    def processes(self) -> int:
        """The number of live processes."""
        return sum(process.running for process in self._processes)

    @property
    def pids(self) -> list[int]:
        """The process ids of the live processes."""
        return [process.pid for process in self._processes if process.running]

    def kill(self, session: str) -> None:
        """Kill the processes of a session, as a fault of a test."""
        for process, its_session in self._processes.items():
            if its_session == session:
                process.kill()

    def program(self) -> Path:
        """Look up the program, because it may be replaced or installed elsewhere while the server runs.

        Raises:
            ClaudeMissing: Claude Code is not installed.
        """
        try:
            return find_claude(self._command)
        except ConfigError as error:
            raise ClaudeMissing(f"Claude Code is no longer installed where it was: {error}.", may_retry=False) from None

    async def version(self) -> Version | None:
        """Run `claude --version`; None if it prints no version within `VERSION_S`. No process of it is left.

        Raises:
            ClaudeMissing: Claude Code is not installed.
            OSError: it cannot be started.
        """
        return parse_version(await self._output(self._plain_environment(), ("--version",), b"\n", VERSION_S))

    async def login(self) -> Login:
        """Run `claude auth status`; the login is unknown if that prints none within `LOGIN_S`. No process is left.

        Raises:
            ClaudeMissing: Claude Code is not installed.
            OSError: it cannot be started.
        """
        env = self._plain_environment()
        return parse_login(await self._output(env, LOGIN_ARGUMENTS, b"\n}", LOGIN_S), env)

    def _plain_environment(self) -> dict[str, str]:
        return claude_environment(self._environ, extra=self._extra_env, cwd=self._cwd)

    async def _output(self, env: Mapping[str, str], arguments: Sequence[str], end: bytes, timeout_s: float) -> str:
        """Run `claude` for its standard output, up to the `end` that it has, or to `timeout_s` seconds."""
        argv, output = [str(self.program()), *arguments], b""
        async with supervised(argv, env=env, cwd=self._cwd, guardian=self._guardian, log=self._log) as process:
            with trio.move_on_after(timeout_s):
                # Not until the end of the output: a process that it left may hold the pipe.
                while end not in output and len(output) < OUTPUT_BYTES and (chunk := await process.read()):
                    output += chunk
        return output.decode(errors="replace")

    def status(self) -> Mapping[str, Any]:
        """Return a backend's `status`: whether Claude Code is installed, and whether Bash is confined.

        If it is not installed: how to install it. The path of the program is left out, because the status needs no key.
        """
        try:
            self.program()
            claude: dict[str, Any] = {"found": True}
        except ClaudeMissing as error:
            claude = {"found": False, "message": error.message}
        return {"claude": claude, **self._walls.status}

    def check(self, request: TurnRequest) -> None:
        """Refuse a turn that cannot be run as required.

        Raises:
            Forbidden: with the reason.
        """
        self._walls.check(request)

    def transcript(self, past: Past) -> AbstractAsyncContextManager[Path | None]:
        """Write a past to a file that exists for the length of the block; yield None if the past is empty.

        Raises:
            OSError: it cannot be written.
        """
        return transcript_file(self._folder, past, self._cwd)

    def spawn(
        self,
        model: str,
        *,
        settings: TurnSettings | None = None,
        options: ClaudeOptions = NO_CLAUDE_OPTIONS,
        resume: Path | None = None,
        log: Log,
    ) -> ProcessSpec:
        """Prepare a process; nothing runs until it is opened, which raises OSError if it cannot be started.

        Args:
            model: Claude Code's name of the model.
            settings: settings of its first turn. Leave them out for a process with several turns: settings from the
                command line cannot be changed.
            options: folders, Claude's own tools and their permission mode.
            resume: the transcript with the history.
            log: records the command line.

        Raises:
            ClaudeMissing: Claude Code is not installed.
        """
        claude = self.program()
        settings = settings or TurnSettings()
        cwd = Path(options.working_directory or self._cwd)
        env = claude_environment(self._environ, extra=self._extra_env, cwd=cwd, options=options)
        env |= settings.environment
        guard, rules = self._walls.guard(options, env)
        # A transcript is named after its session.
        session = str(uuid.uuid4()) if resume is None else resume.stem
        argv = claude_argv(
            claude, model=model, settings=settings, options=options, rules=rules, resume=resume, session=session
        )
        log.debug("adapter.claude_args", argv=argv)
        enclose = self._walls.enclosing(claude, options, cwd, resume)
        opened = partial(self._process, argv, env, options, session, guard, enclose)
        note = partial(self._models.note, started_with=model)
        return ProcessSpec(session, model, settings, opened, login_command(claude), guard, note=note)

    def spawn_spare(self, model: str, notes: Notes, *, waits_for_past: bool, log: Log) -> ProcessSpec:
        """Prepare a spare; see `spawn`.

        Args:
            model: Claude Code's name of the model.
            notes: for a spare that gets no past.
            waits_for_past: whether its past comes later, which works where `LATE_TRANSCRIPTS` is true.
            log: for its start.
        """
        if not waits_for_past:
            return self._spawn_without_turns(model, notes, log)
        late = LateTranscript(self._folder)
        spawn = self.spawn(model, resume=late.path, log=log)

        @asynccontextmanager
        async def opened() -> AsyncIterator[SupervisedProcess]:
            with late.waiting():
                async with spawn.open() as process:
                    yield process

        return replace(spawn, open=opened, give_past=partial(late.given, cwd=self._cwd))

    def _spawn_without_turns(self, model: str, notes: Notes, log: Log) -> ProcessSpec:
        @asynccontextmanager
        async def opened() -> AsyncIterator[SupervisedProcess]:
            async with (
                self.transcript(Past((), notes)) as transcript,  # its session id is not needed: it has no turns
                self.spawn(model, resume=transcript, log=log).open() as process,
            ):
                yield process

        return replace(self.spawn(model, log=log), open=opened)

    def spawn_probe(self, model: str, *, base_url: str, config_folder: Path, resume: Path | None) -> ProcessSpec:
        """Prepare a process that talks to a stand-in, and has a session file in its configuration folder; see `spawn`.

        Args:
            model: Claude Code's name of the model.
            base_url: address of the stand-in.
            config_folder: configuration folder of this process alone.
            resume: the transcript with the history.
        """
        claude = self.program()
        session = str(uuid.uuid4()) if resume is None else resume.stem
        argv = claude_argv(claude, model=model, resume=resume, session=session, session_file=resume is None)
        extra = {**self._extra_env, **stand_in_environment(base_url, config_folder)}
        env = claude_environment(self._environ, extra=extra, cwd=self._cwd)
        guard, _ = self._walls.guard(NO_CLAUDE_OPTIONS, env)
        opened = partial(self._process, argv, env, NO_CLAUDE_OPTIONS, session, guard, None)
        note = partial(self._models.note, started_with=model, of_account=False)
        return ProcessSpec(session, model, TurnSettings(), opened, login_command(claude), guard, note=note)

    @asynccontextmanager
    async def temporary_folder(self) -> AsyncIterator[Path]:
        """Make a folder in the private folder, for the length of the block.

        Raises:
            OSError: it cannot be made.
        """
        folder = Path(tempfile.mkdtemp(prefix="config-", dir=self._folder))
        try:
            yield folder
        finally:
            with trio.move_on_after(REMOVE_WAIT_S, shield=True) as waiting:
                await run_in_thread(partial(shutil.rmtree, folder, ignore_errors=True), abandon_on_cancel=True)
            if waiting.cancelled_caught:
                self._log.warning("process.files_left", reason=f"{folder}: not removed within {REMOVE_WAIT_S:g} s")

    @asynccontextmanager
    async def _process(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        options: ClaudeOptions,
        session: str,
        guard: ToolGuard,
        enclose: Enclose | None,
    ) -> AsyncIterator[SupervisedProcess]:
        cwd = Path(options.working_directory) if options.working_directory else self._cwd
        if BY_DESCRIPTOR and options.descriptor is not None:
            cwd = folder_of(options.descriptor)
        files_of_one = ProcessFiles.open(
            self._folder, session, env, has_own_tools=options.has_tools, ledger=self._ledger, log=self._log
        )
        async with files_of_one as files:
            refusal = await self._walls.refusal(options)
            if refusal is not None:
                raise refusal
            if enclose is not None:
                argv = await run_in_thread(enclose, argv, files.env, files.temporary)
            async with supervised(argv, env=files.env, cwd=cwd, guardian=self._guardian, log=self._log) as process:
                files.started(process, cwd)  # no await since the spawn
                guard.made = files.made
                refusal = None if BY_DESCRIPTOR else await self._walls.refusal(options)
                if refusal is None:
                    self._processes[process] = session
                    try:
                        yield process
                    finally:
                        del self._processes[process]
            if refusal is not None:  # raised inside the block it would be wrapped in a group
                raise refusal
