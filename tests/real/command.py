"""The command as a user starts it: a process of its own, driven by flags, variables and signals.

`running` starts it and waits for the line that says it listens; `refused` runs one that is to fail. Its output goes to
files, which nothing can block on.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.testing import Answer, MessagesApi, Script
from tests.real.harness import LIMIT_S, OK, Processes, until

__all__ = ["MODULE", "SCRIPT", "Command", "Refusal", "refused", "running"]

MODULE: Final = (sys.executable, "-m", "claude_openai")
SCRIPT: Final = (str(Path(sys.executable).parent / "claude-openai"),)
# From the SIGKILL of a server to the end of all it started.
CLEANED_UP_S: Final = 3.0


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
        """Return when nothing is left of it, after its death of whatever kind."""
        await self.process.wait()
        await self.processes.wait_none(CLEANED_UP_S)
        await until(lambda: not list(self.temporary.iterdir()), "the private folder is gone", CLEANED_UP_S)


@asynccontextmanager
async def running(
    folder: Path,
    *flags: str,
    reply: Script | Answer = OK,
    program: Sequence[str] = MODULE,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Command]:
    """The command, listening, with a stand-in for its CLIs to talk to; killed at the end of the block if it still runs.

    Args:
        folder: the test's own.
        flags: beside `--port 0`.
        reply: what the stand-in answers.
        program: how it is started.
        env: more variables; the others of this process are not passed on.
    """
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir()
    temporary.mkdir()
    with trio.fail_after(LIMIT_S):
        async with MessagesApi.serving(reply) as api:
            command = Command(api, home, folder / "config", temporary, Processes(temporary))
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
    """Run a command that is expected to give up by itself."""
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [*MODULE, *flags],
            env={**_base_environment(), **(env or {})},
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return Refusal(done.returncode, done.stdout.decode(), done.stderr.decode())


def _base_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
