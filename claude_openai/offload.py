"""Run CPU-bound work in threads, so that it does not block the event loop.

The work itself must be bounded (`protocol.limits.budget`, `protocol.limits.json_size`). The threads share the
interpreter lock with the event loop, so there are few of them.
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
    """Calls a function, and returns or raises its result."""

    async def __call__(self, work: Callable[[], T]) -> T: ...


async def in_thread(work: Callable[[], T]) -> T:
    """Call a function in a thread. It is not interrupted by a cancel, which waits until it returns.

    Raises:
        NoThreadError: no thread could be started; the function was not called.
    """
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MAX_THREADS)
        _limiter.set(limiter)
    with needing_a_thread():
        return await trio.to_thread.run_sync(work, limiter=limiter)
