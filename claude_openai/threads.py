"""Threads, with an OSError in place of CPython's RuntimeError if the system refuses one."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar, TypeVarTuple

import trio

__all__ = ["NoThreadError", "needing_a_thread", "run_in_thread"]

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

# CPython's RuntimeError when the system refuses a thread.
_REFUSED: Final = "can't start new thread"


class NoThreadError(OSError):
    """No thread could be started. An OSError (EAGAIN), as it is for a process."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "no more processes or threads can be started")


@contextmanager
def needing_a_thread() -> Iterator[None]:
    """Convert the error of a block that starts a thread.

    Raises:
        NoThreadError: the thread could not be started.
    """
    try:
        yield
    except RuntimeError as error:
        if _REFUSED in str(error):
            raise NoThreadError from error
        raise


async def run_in_thread(function: Callable[[*Ts], T], *args: *Ts, abandon_on_cancel: bool = False) -> T:
    """Do the same as `trio.to_thread.run_sync`.

    Raises:
        NoThreadError: no thread could be started; the function was not called.
    """
    with needing_a_thread():
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=abandon_on_cancel)
