"""How the process of a turn is started: which program, with what history, in which folder. Both backends use it.

Knows where the parts lie on the disk; what the flags and variables are is `hermetic`'s business, what is said to the
process the backends'. A program that is not there is looked for again at each start.
"""

import os
import re
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

from claude_openai.claude.confinement import Confinement
from claude_openai.claude.file_calls import FileCalls
from claude_openai.claude.file_guard import FileGuard
from claude_openai.claude.folders import BY_DESCRIPTOR, check_roots, folder_not_available, folder_of
from claude_openai.claude.guardian import Guardian
from claude_openai.claude.hermetic import (
    RESUME_INTERRUPTED,
    TurnSettings,
    claude_argv,
    claude_environment,
    find_claude,
    login_command,
)
from claude_openai.claude.late_transcript import LateTranscript
from claude_openai.claude.ledger import Ledger
from claude_openai.claude.permission_rules import Secret, Secrets, permission_rules, secrets_of_user
from claude_openai.claude.permissions import ToolGuard
from claude_openai.claude.process import SupervisedProcess, supervised
from claude_openai.claude.process_files import ProcessFiles
from claude_openai.claude.transcript import transcript_file
from claude_openai.claude.wall import View, enclosed
from claude_openai.errors import ApiError, ClaudeMissing, ConfigError, Forbidden, UpstreamError
from claude_openai.logs.log import Log
from claude_openai.protocol.agent import NO_AGENT, Agent
from claude_openai.protocol.blocks import ToolResultBlock
from claude_openai.protocol.history import Turn
from claude_openai.protocol.request import ChatRequest
from claude_openai.shortages import described, shortage_hint
from claude_openai.threads import run_in_thread

__all__ = ["GRACE_S", "Launcher", "Spawn", "could_not_start", "ends_in_results", "to_replay", "why_not_started"]

# The command line of a confined process, from its own, its environment and its temporary folder. Blocks.
Enclose: TypeAlias = Callable[[Sequence[str], Mapping[str, str], Path], Sequence[str]]

# A turn that is over leaves by itself in about 60 ms once its input ends.
GRACE_S = 1.0
# `process` tells of a signal so, as `subprocess` does.
_ENDED_BY_SIGNAL = re.compile(r"ended with exit status -(\d+)")


@dataclass(frozen=True, slots=True)
class Spawn:
    """How a process is started.

    Attributes:
        model: what it starts with.
        settings: what it starts with.
        open: gives `supervised` for it.
        login: the command that logs it in.
        guard: answers what it asks about its own tools.
        give_history: for one that waits for a history: gives it, for as long as its turn.
    """

    model: str
    settings: TurnSettings
    open: Callable[[], AbstractAsyncContextManager[SupervisedProcess]]
    login: str
    guard: ToolGuard
    give_history: Callable[[Sequence[Turn]], AbstractAsyncContextManager[None]] | None = None


class Launcher:
    """Starts `claude`.

    Args:
        command: the program to run, by name or path; None for the one that is found.
        folder: private folder for transcripts; `folder / "cwd"` is where the processes start, and stays empty.
        environ: the server's environment.
        extra_env: variables that win over it.
        guardian: starts the processes, and ends what is left of them.
        confinement: how those that have Bash are run.
        log: for what belongs to no run.
        secrets: files and folders of the server's own, which Claude's own tools are kept from.
        are_folders_named: see `Secrets`.

    Raises:
        ConfigError: the command is no program.
    """

    def __init__(
        self,
        *,
        command: str | None,
        folder: Path,
        environ: Mapping[str, str],
        extra_env: Mapping[str, str],
        guardian: Guardian,
        confinement: Confinement,
        log: Log,
        secrets: Sequence[Path] = (),
        are_folders_named: bool = False,
    ) -> None:
        self._command = command
        self._folder = folder
        self._cwd = folder / "cwd"
        self._cwd.mkdir(exist_ok=True)
        self._environ = environ
        self._extra_env = extra_env
        self._ledger = Ledger(folder)
        self._guardian = guardian
        self._confinement = confinement
        self._log = log
        self._secrets = (folder, *secrets)
        self._are_folders_named = are_folders_named
        self._file_calls = FileCalls()
        self._processes: set[SupervisedProcess] = set()
        try:
            find_claude(command)
        except ClaudeMissing as error:
            log.warning("claude.missing", message=error.message)

    @property
    def processes(self) -> int:
        """How many of its processes are alive."""
        return sum(process.running for process in self._processes)

    def program(self) -> Path:
        """The program to run, as things are now: it may be replaced, or installed elsewhere, while the server runs.

        Raises:
            ClaudeMissing: there is none.
        """
        try:
            return find_claude(self._command)
        except ConfigError as error:
            raise ClaudeMissing(f"Claude Code is gone: {error}.", may_retry=False) from None

    def status(self) -> Mapping[str, Any]:
        """What a backend's `status` is: whether there is a program, or how to get one, and whether Bash is confined.

        Not where the program is: anybody may ask.
        """
        try:
            self.program()
            claude: dict[str, Any] = {"found": True}
        except ClaudeMissing as error:
            claude = {"found": False, "message": error.message}
        return {"claude": claude, **self._confinement.status}

    def check(self, request: ChatRequest) -> None:
        """Refuse a turn that would have to be confined, and cannot be.

        Raises:
            Forbidden: with the reason.
        """
        if request.agent.has_bash and self._confinement.required and not self._confinement.bwrap:
            raise Forbidden(
                "'claude.toolMode' may not be 'all': this server must confine Bash (--confine require), and cannot: "
                f"{self._confinement.reason}.",
                code="cannot_confine",
                param="claude.toolMode",
            )

    def transcript(self, turns: Sequence[Turn]) -> AbstractAsyncContextManager[Path | None]:
        """A history as a file for as long as the block; None if it is empty.

        Raises:
            OSError: it cannot be written.
        """
        return transcript_file(self._folder, turns, self._cwd)

    def spawn_for(self, request: ChatRequest, *, resume: Path | None, log: Log, kept_open: bool) -> Spawn:
        """Prepare the process of a request, see `spawn`.

        A process that is `kept_open` gets its settings before each turn, since those given at its start cannot be
        changed. One that goes on by itself from its transcript begins at once, so it gets them at its start.
        """
        goes_on = ends_in_results(request.prompt)
        settings = None if kept_open and not goes_on else TurnSettings.of(request)
        return self.spawn(
            request.claude_model, settings=settings, agent=request.agent, resume=resume, goes_on=goes_on, log=log
        )

    def spawn(
        self,
        model: str,
        *,
        settings: TurnSettings | None = None,
        agent: Agent = NO_AGENT,
        resume: Path | None = None,
        goes_on: bool = False,
        log: Log,
    ) -> Spawn:
        """Prepare a process; nothing runs until it is opened, which raises OSError if it cannot be started.

        Args:
            model: as Claude Code knows it.
            settings: of its first turn.
            agent: its folders, its own tools and what they may do.
            resume: the transcript of what was said before.
            goes_on: the process goes on from it by itself, since it ends in results of tools.
            log: told the command line.

        Raises:
            ClaudeMissing: there is no program.
        """
        claude = self.program()
        settings = settings or TurnSettings()
        cwd = agent.working_directory or str(self._cwd)
        env = claude_environment(self._environ, extra=self._extra_env, cwd=Path(cwd), agent=agent)
        env |= settings.environment
        env |= RESUME_INTERRUPTED if goes_on else {}
        guard, rules = self._guarded(agent, env)
        # A transcript is called after its session.
        session = str(uuid.uuid4()) if resume is None else resume.stem
        argv = claude_argv(
            claude,
            model=model,
            settings=settings,
            agent=agent,
            rules=rules,
            resume=resume,
            session=session,
            goes_on=goes_on,
        )
        log.debug("adapter.claude_args", argv=argv)
        enclose = self._enclosing(claude, agent, resume) if agent.has_bash and self._confinement.bwrap else None
        opened = partial(self._process, argv, env, agent, session, guard, enclose)
        return Spawn(model, settings, opened, login_command(claude), guard)

    def _guarded(self, agent: Agent, env: Mapping[str, str]) -> tuple[ToolGuard, Mapping[str, Sequence[str]]]:
        """What keeps the tools of a process in its folders, from outside of it and within."""
        if not agent.has_tools:
            return ToolGuard(None, self._file_calls, self._log), {}
        home = os.path.normpath(env.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - without a home it stays "~"
        config = os.path.normpath(env.get("CLAUDE_CONFIG_DIR") or f"{home}/.claude")
        own: list[Secret] = [(str(path.absolute()), "") for path in self._secrets]
        secrets = Secrets(
            of_server=(*own, (config, ".credentials.json")),
            of_user=secrets_of_user(home, config),
            are_folders_named=self._are_folders_named,
        )
        files = FileGuard(agent, home=home, config=config)
        return ToolGuard(files, self._file_calls, self._log), permission_rules(agent, secrets)

    def _enclosing(self, claude: Path, agent: Agent, resume: Path | None) -> Enclose:
        def enclose(argv: Sequence[str], env: Mapping[str, str], temporary: Path) -> Sequence[str]:
            view = View(
                program=claude,
                cwd=Path(agent.working_directory or self._cwd),
                writable=[Path(folder) for folder in agent.add_dirs],
                readable=[] if resume is None else [resume],
                temporary=temporary,
                hidden=self._secrets,
            )
            return enclosed(self._confinement.bwrap, argv, env, view)

        return enclose

    def spawn_late(self, model: str, *, log: Log) -> Spawn:
        """Prepare a process that resumes from a history which it is given later; see `spawn`."""
        late = LateTranscript(self._folder)
        spawn = self.spawn(model, resume=late.path, log=log)

        @asynccontextmanager
        async def opened() -> AsyncIterator[SupervisedProcess]:
            with late.waiting():
                async with spawn.open() as process:
                    yield process

        return replace(spawn, open=opened, give_history=partial(late.given, cwd=self._cwd))

    @asynccontextmanager
    async def _process(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        agent: Agent,
        session: str,
        guard: ToolGuard,
        enclose: Enclose | None,
    ) -> AsyncIterator[SupervisedProcess]:
        cwd = Path(agent.working_directory) if agent.working_directory else self._cwd
        if BY_DESCRIPTOR and agent.descriptor is not None:
            cwd = folder_of(agent.descriptor)
        files_of_one = ProcessFiles.open(
            self._folder, session, env, has_own_tools=agent.has_tools, ledger=self._ledger, log=self._log
        )
        async with files_of_one as files:
            refusal = await self._refusal(agent)
            if refusal is not None:
                raise refusal
            if enclose is not None:
                argv = await run_in_thread(enclose, argv, files.env, files.temporary)
            async with supervised(argv, env=files.env, cwd=cwd, guardian=self._guardian, log=self._log) as process:
                files.started(process, cwd)  # no await since the spawn
                guard.made = files.made
                refusal = None if BY_DESCRIPTOR else await self._refusal(agent)
                if refusal is None:
                    self._processes.add(process)
                    try:
                        yield process
                    finally:
                        self._processes.discard(process)
            if refusal is not None:  # raised within the block, it would come in a group
                raise refusal

    async def _refusal(self, agent: Agent) -> ApiError | None:
        """Why the folders are no longer those that were checked."""
        if not agent.roots:
            return None
        try:
            await self._file_calls.run(check_roots, agent.roots)
        except ApiError as error:
            return error
        except trio.TooSlowError:
            return folder_not_available("claude")
        return None


def could_not_start(why: str) -> UpstreamError:
    """The error for a process that never came as far as a turn."""
    return UpstreamError(f"Claude Code could not be started: {why}.")


def why_not_started(error: BaseException) -> str:
    """The reason for `could_not_start`, and what helps."""
    why = described(error)
    hint = shortage_hint(error) or _signal_hint(why) or "`claude-openai doctor` checks Claude Code and --claude-command"
    return f"{why}; {hint}"


def _signal_hint(why: str) -> str:
    found = _ENDED_BY_SIGNAL.search(why)
    if found is None:
        return ""
    lacks = "disk space (ulimit -f)" if int(found[1]) == signal.SIGXFSZ else "memory, processes or threads"
    return f"a program is ended by {signal.strsignal(int(found[1]))!r} when it lacks {lacks}"


def ends_in_results(prompt: Turn) -> bool:
    return any(isinstance(block, ToolResultBlock) for block in prompt.blocks)


def to_replay(request: ChatRequest) -> tuple[Turn, ...]:
    """The turns for the transcript of a process that has none of them."""
    # Results go on by themselves only from the transcript: in a new message, Claude Code would drop them.
    return (*request.turns, request.prompt) if ends_in_results(request.prompt) else request.turns
