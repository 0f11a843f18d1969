"""The command as a user starts it: a process of its own, driven by flags, variables and signals.

`running` starts it and waits for the line that says it listens; `refused` runs a command that is to fail; `shell` runs
commands one after the other, such as those for a server in the background. The output of a server goes to files, which
never block.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import trio

import claude_openai
from claude_openai import commands
from claude_openai.claude.process.command_line import stand_in_environment
from claude_openai.commands.instance.record import Instance, UnsafeFileError, find_instance
from claude_openai.testing import Answer, MessagesApi, Script
from tests import conditions
from tests.real.harness import LIMIT_S, OK, Processes, until

__all__ = [
    "ADVICE",
    "MODULE",
    "SCRIPT",
    "Command",
    "Refusal",
    "Shell",
    "complaint",
    "printed",
    "refused",
    "running",
    "shell",
]

MODULE: Final = (sys.executable, "-m", "claude_openai")
SCRIPT: Final = (str(conditions.SCRIPT),)
# From the SIGKILL of a server to the end of all it started.
CLEANED_UP_S: Final = 30.0
# What a server that could not tidy up leaves: files that mean nothing once it is gone.
INSTANCE_FILES: Final = frozenset({"claude-openai.pid", "claude-openai.port", "claude-openai.json"})
UNHEARD: Final = (-signal.SIGKILL,)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclass(slots=True)
class Command:
    """A running `claude-openai`, the leader of a process group of its own.

    Attributes:
        api: the stand-in its CLIs talk to.
        home: its HOME.
        config: its CLAUDE_CONFIG_DIR, which it makes if it needs it.
        temporary: its TMPDIR; nothing else is in there.
        url: where it listens, by its own word.
    """

    api: MessagesApi
    home: Path
    config: Path
    temporary: Path
    processes: Processes
    url: str = ""
    process: trio.Process = field(init=False)

    def stderr(self) -> str:
        return (self.home.parent / "stderr").read_text()

    def stdout(self) -> str:
        return (self.home.parent / "stdout").read_text()

    def send(self, number: signal.Signals, *, to_group: bool = False) -> None:
        if to_group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    async def is_stopping(self) -> None:
        """Return when it has taken notice of a signal."""
        await until(lambda: "stopping" in self.stderr(), "the command says that it stops")

    async def left_nothing(self) -> None:
        """Return when nothing is left of it, after any death."""
        await self.process.wait()
        await self.processes.wait_none(CLEANED_UP_S)
        allowed = INSTANCE_FILES if self.process.returncode in UNHEARD else frozenset()
        await until(lambda: set(names(self.temporary)) <= allowed, "the private folder is gone", CLEANED_UP_S)


@asynccontextmanager
async def running(
    folder: Path,
    *flags: str,
    reply: Script | Answer = OK,
    program: Sequence[str] = MODULE,
    env: Mapping[str, str] | None = None,
    api: MessagesApi | None = None,
    within_s: float = LIMIT_S,
) -> AsyncIterator[Command]:
    """The command, listening, with a stand-in for its CLIs to talk to; killed at the end of the block if it still runs.

    Args:
        folder: the test's own.
        flags: beside `--port 0`.
        reply: what the stand-in answers.
        program: how it is started.
        env: more variables; the others of this process are not passed on.
        api: the stand-in, if it serves others too.
        within_s: the longest duration of the block.
    """
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir(parents=True)
    temporary.mkdir()
    with trio.fail_after(within_s):
        async with nullcontext(api) if api else MessagesApi.serving(reply) as the_api:
            command = Command(the_api, home, folder / "config", temporary, Processes(temporary))
            command.process = await _started(command, [*program, "--port", "0", *flags], env or {})
            try:
                await until(
                    lambda: "listening on" in command.stderr() or command.process.poll() is not None,
                    "the command listens",
                    LIMIT_S / 2,
                )
                assert command.process.returncode is None, command.stderr()
                command.url = command.stderr().partition("listening on ")[2].split()[0]
                yield command
            finally:
                command.process.kill()
                with trio.CancelScope(shield=True):
                    await command.process.wait()
        await command.left_nothing()


@dataclass(slots=True)
class Shell:
    """Somebody who types commands, in a folder of their own with a home and a TMPDIR of their own.

    Attributes:
        folder: the present one.
        api: the stand-in that servers started here talk to.
        environment: of every command.
    """

    folder: Path
    home: Path
    temporary: Path
    api: MessagesApi
    processes: Processes
    environment: dict[str, str]

    async def __call__(self, *argv: str, env: Mapping[str, str] | None = None) -> "Refusal":
        """Run a command to its end. It starts and ends servers, which outlive it, so nothing waits for its output."""
        with trio.fail_after(LIMIT_S):
            done = await trio.run_process(
                [*MODULE, *argv],
                cwd=self.folder,
                env={**self.environment, **(env or {})},
                stdin=b"",
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return Refusal(done.returncode, done.stdout.decode(), done.stderr.decode())

    async def start(self, *flags: str, env: Mapping[str, str] | None = None) -> Instance:
        """Start a server in the background, on a free port and without spares."""
        said = await self("--background", "--port", "0", "--spares", "0", *flags, env=env)
        assert (said.code, said.stderr) == (0, "")
        return self.server()

    def server(self) -> Instance:
        """The running server, from its files."""
        found = find_instance(self.temporary)
        assert found is not None
        return found

    def is_running(self) -> bool:
        return find_instance(self.temporary) is not None

    def files(self) -> list[str]:
        return names(self.temporary)


@asynccontextmanager
async def shell(folder: Path, reply: Script | Answer = OK) -> AsyncIterator[Shell]:
    """For as long as the block; its server, if one is left, is stopped, and nothing of it may be left.

    Args:
        folder: the test's own.
        reply: what the stand-in answers.
    """
    present, home, temporary = folder / "present", folder / "home", folder / "tmp"
    for each in (present, home, temporary):
        each.mkdir()
    processes = Processes(temporary)
    with trio.fail_after(LIMIT_S):
        async with MessagesApi.serving(reply) as api:
            environment = {
                **_base_environment(),
                **stand_in_environment(api.base_url, folder / "config"),
                "HOME": str(home),
                "TMPDIR": str(temporary),
                # The present folder is not the one of the package under test.
                "PYTHONPATH": str(Path(claude_openai.__file__).parents[1]),
                **processes.environment,
            }
            the_shell = Shell(present, home, temporary, api, processes, environment)
            try:
                yield the_shell
            finally:
                # What a test has planted must not hide why it failed.
                with trio.CancelScope(shield=True), suppress(UnsafeFileError):
                    if the_shell.is_running():
                        await the_shell("stop")
        await processes.wait_none()


async def _started(command: Command, argv: Sequence[str], env: Mapping[str, str]) -> trio.Process:
    folder = command.home.parent
    full_env = {
        **_base_environment(),
        **stand_in_environment(command.api.base_url, command.config),
        "HOME": str(command.home),
        "TMPDIR": str(command.temporary),
        **command.processes.environment,
        **env,
    }
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        return await trio.lowlevel.open_process(
            list(argv), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=full_env, start_new_session=True
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    code: int
    stdout: str
    stderr: str


async def refused(*flags: str, env: Mapping[str, str] | None = None) -> Refusal:
    """Run a command that is expected to end without a signal."""
    with trio.fail_after(LIMIT_S), tempfile.TemporaryDirectory() as temporary:
        done = await trio.run_process(
            [*MODULE, *flags],
            env={**_base_environment(), "TMPDIR": temporary, **(env or {})},
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert names(Path(temporary)) == []
    return Refusal(done.returncode, done.stdout.decode(), done.stderr.decode())


def _base_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


def complaint(capsys: pytest.CaptureFixture[str], code: int, *argv: str, **environ: str) -> str:
    """The one line that a command says when it gives up."""
    assert commands.main(argv, environ) == code
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == ""
    assert line.startswith("claude-openai: ")
    return str(line)


def printed(capsys: pytest.CaptureFixture[str], *argv: str, **environ: str) -> str:
    assert commands.main(argv, environ) == 0
    return capsys.readouterr().out


ADVICE = "npm install -g @anthropic-ai/claude-code"
