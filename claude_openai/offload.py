"""Work that may take long, beside the event loop: in threads.

What is worked on, and how much of it, is bounded by whoever does the work (`protocol.budget`, `protocol.json_size`). A
thread that works holds the interpreter all the same, so there are few of them.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

import trio

from claude_openai.threads import needing_a_thread

__all__ = ["Offload", "in_thread"]

T = TypeVar("T")

MAX_THREADS: Final = 4
_limiter: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("claude_openai.offload")


class Offload(Protocol):
    """Calls a function, and gives what it returns or raises."""

    async def __call__(self, work: Callable[[], T]) -> T: ...


async def in_thread(work: Callable[[], T]) -> T:
    """Call a function in a thread; a cancel waits for its end.

    Raises:
        NoThreadError: the function was not called.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    with needing_a_thread():
        return await trio.to_thread.run_sync(work, limiter=limiter)
