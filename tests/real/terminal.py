"""A command in a pseudo-terminal, and what the terminal shows.

The terminal is emulated by pyte. The command leads a session whose terminal it is, so that it gets signals for keys
such as Ctrl-C and for changes of the size.
"""

import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pyte
import trio

from tests.real.command import MODULE, Shell
from tests.real.harness import LIMIT_S, until

__all__ = ["Terminal", "in_terminal"]

# A session leader gets the first terminal that it opens as its own.
LEADER: Final = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A terminal with a command in it.

    Args:
        master: our side of the terminal.
        slave: the command's side.
        columns: width.
        lines: height.

    Attributes:
        process: the command.
        output: all that was written to the terminal.
        modes_before: the terminal's attributes before the command was started.
    """

    process: trio.Process

    def __init__(self, master: int, slave: int, columns: int, lines: int) -> None:
        self.output = b""
        self.modes_before = termios.tcgetattr(slave)
        self._master = master
        self._slave = slave
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        termios.tcsetwinsize(slave, (lines, columns))

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def modes(self) -> list[Any]:
        """The terminal's attributes now."""
        return termios.tcgetattr(self._slave)

    async def until(self, condition: Callable[[list[str]], bool], what: str) -> None:
        """Return when a condition holds for the lines of the screen."""
        await until(lambda: condition(self.lines), lambda: f"{what}:\n" + "\n".join(self.lines), LIMIT_S / 2)

    async def shows(self, *texts: str) -> None:
        """Return when the screen has all texts, each within a line."""
        await self.until(
            lambda lines: all(any(text in line for line in lines) for text in texts), f"{texts} on the screen"
        )

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        self._screen.reset()
        termios.tcsetwinsize(self._master, (lines, columns))

    async def is_stopped(self) -> None:
        """Return when the process is stopped, as after Ctrl-Z."""

        def is_stopped() -> bool:
            found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)
            return found is not None and found.si_status == signal.SIGSTOP

        await until(is_stopped, "the process is stopped")

    async def read(self) -> None:
        """Copy what is written to the screen, until it is cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._master)
            data = os.read(self._master, 65536)
            self.output += data
            self._stream.feed(data)


@asynccontextmanager
async def in_terminal(
    user: Shell, *argv: str, columns: int = 100, lines: int = 30, env: Mapping[str, str] | None = None
) -> AsyncIterator[Terminal]:
    """A command in a terminal; killed at the end of the block if it still runs."""
    master, slave = pty.openpty()
    try:
        terminal = Terminal(master, slave, columns, lines)
        terminal.process = await trio.lowlevel.open_process(
            [sys.executable, "-c", LEADER, *MODULE, *argv],
            cwd=user.folder,
            env={**user.environment, "TERM": "xterm-256color", **(env or {})},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(terminal.read)
                yield terminal
                nursery.cancel_scope.cancel()
        finally:
            terminal.process.kill()
            with trio.CancelScope(shield=True):
                await terminal.process.wait()
    finally:
        os.close(master)
        os.close(slave)
