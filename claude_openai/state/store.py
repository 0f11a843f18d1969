"""The interface of state stores: values by name, each with a lifetime."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

__all__ = ["ACCESS_S", "READ_S", "StateError", "StateStore"]

# The longest time in seconds that a request waits for a store on another machine if the memory has an answer too.
ACCESS_S: Final = 0.05
# The same, if only the store may have an answer.
READ_S: Final = 1.0


class StateError(Exception):
    """The store cannot be read or written.

    Args:
        place: the file or the address, without a password.
        reason: what is wrong, without the place.
    """

    def __init__(self, place: Path | str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason


class StateStore(Protocol):
    """Values by name. Each method may be cancelled or raise StateError, and does all of its work or nothing.

    A value that is stored is found by all servers that use the same store, until its lifetime has passed since its
    last use, or the bounds of the store are exceeded, the least recently used first.

    Attributes:
        refresh_s: the longest time in seconds that a request waits if the memory has an answer too.
    """

    refresh_s: float

    async def put(self, values: Mapping[str, bytes], kept_s: float) -> bool:
        """Store values for `kept_s` seconds; replace those of the same name. Return False if they are too large."""

    async def get(self, names: Sequence[str], kept_s: float) -> list[bytes | None]:
        """Return the values, None for those not stored, and renew their lifetime to `kept_s` seconds."""

    async def delete(self, names: Sequence[str]) -> int:
        """Delete values; return how many were stored."""

    async def clear(self) -> int:
        """Delete all values; return how many there were."""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the accesses until cancelled. Start it before the first access."""
