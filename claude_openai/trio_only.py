"""An error for trio functions that are called elsewhere. Trio's own does not name the function, nor another way."""

import trio

__all__ = ["require_trio"]


def require_trio(function: str, instead: str) -> None:
    """Check that a task of trio is running.

    Args:
        function: the function that needs it.
        instead: what to do without trio.

    Raises:
        RuntimeError: there is none: asyncio is running, or no event loop.
    """
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(f"{function} is a trio function, and this is not a task of trio; {instead}")
