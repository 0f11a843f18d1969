"""Which runs have changed, for those who watch them. Without a watcher a change costs one comparison."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

__all__ = ["RunChanges"]


class RunChanges:
    """The ids of the runs that have changed and were not taken since.

    Attributes:
        watchers: how many watch; without one, nothing is collected.
    """

    def __init__(self) -> None:
        self.watchers = 0
        self._ids: dict[str, None] = {}
        self._event = trio.Event()

    @contextmanager
    def watched(self, forget: Callable[[], None]) -> Iterator[None]:
        """Collect changes for the length of the block; call `forget` at the end of the last of such blocks."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._ids.clear()
                forget()

    def note(self, run_id: str) -> None:
        """Note that a run has changed. Called for every delta of every run."""
        if self.watchers:
            self._ids[run_id] = None
            self._event.set()

    def wake(self) -> None:
        """Let `wait` return although no run has changed."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until there is a change since the last `begin`."""
        await self._event.wait()

    def begin(self) -> list[str]:
        """Return the ids, in the order of their changes. Each stays until it is passed to `taken`."""
        self._event = trio.Event()
        return list(self._ids)

    def taken(self, run_id: str) -> None:
        self._ids.pop(run_id, None)
