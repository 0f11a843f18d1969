"""The terminal of the live view: its modes, its keys and its screen."""

import os
import signal
import sys
import termios
import tty
from contextlib import ExitStack
from types import TracebackType
from typing import Final

import trio
from rich.console import Console, Group

from claude_openai.commands.top.keys import KeyReader
from claude_openai.commands.top.model import Model
from claude_openai.commands.top.view import screen
from claude_openai.file_access import READ_BYTES

__all__ = ["Terminal"]

STDIN: Final = 0
# How long the rest of a key's sequence may take.
SEQUENCE_S: Final = 0.1


class Terminal:
    """Shows the view on the alternate screen of the terminal, and restores the terminal at the end of the block.

    Args:
        colours: whether to use colours.
    """

    def __init__(self, *, colours: bool) -> None:
        self._console = Console(
            file=sys.stdout, force_terminal=True, no_color=not colours, highlight=False, legacy_windows=False
        )
        self._keys = KeyReader()
        self._restore = ExitStack()

    def __enter__(self) -> "Terminal":
        with ExitStack() as restore:
            restore.callback(termios.tcsetattr, STDIN, termios.TCSANOW, termios.tcgetattr(STDIN))
            tty.setcbreak(STDIN, termios.TCSANOW)
            restore.callback(self._console.set_alt_screen, False)
            self._console.set_alt_screen(True)
            restore.callback(self._console.show_cursor, True)
            self._console.show_cursor(False)
            self._restore = restore.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._restore.close()

    def suspend(self) -> None:
        """Restore the terminal and stop the process, as Ctrl-Z does; continue when the process is continued."""
        self._restore.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.__enter__()

    async def keys(self) -> list[str]:
        """Return the next keys.

        Raises:
            EOFError: the terminal is gone.
        """
        limit = SEQUENCE_S if self._keys.is_incomplete else float("inf")
        with trio.move_on_after(limit):
            await trio.lowlevel.wait_readable(STDIN)
            data = os.read(STDIN, READ_BYTES)
            if not data:
                raise EOFError
            return self._keys.feed(data)
        return self._keys.finish()

    def draw(self, model: Model, now: float) -> None:
        width, height = os.get_terminal_size(STDIN)
        # A terminal whose size was never set reports 0.
        self._console.size = (width or 80, height or 24)
        self._console.update_screen(Group(*screen(model, *self._console.size, now)))
