"""Runs file system calls in threads, each bounded in time.

On a network file system, or behind an automounter, a call can hang for minutes. It must not block the event loop, and
hanging threads must not use up the threads of the rest of the program.
"""

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

from claude_openai.threads import needing_a_thread

__all__ = ["FILE_CALL_S", "FileCalls"]

FILE_CALL_S: Final = 5.0
THREADS: Final = 8

T = TypeVar("T")
Args = TypeVarTuple("Args")


class FileCalls:
    """Runs calls in at most `THREADS` threads of its own."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(THREADS)

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        """Run a call in a thread.

        Raises:
            NoThreadError: the call was not made.
            trio.TooSlowError: after `FILE_CALL_S` seconds. The thread is abandoned, and what it returns is lost.
        """
        with trio.fail_after(FILE_CALL_S), needing_a_thread():
            return await trio.to_thread.run_sync(call, *args, abandon_on_cancel=True, limiter=self._limiter)
