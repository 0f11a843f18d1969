"""What requests do with a store of state. They wait for it for a bounded time, and go on without it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from claude_openai.logs.log import Log
from claude_openai.offload import Offload
from claude_openai.state.store import ACCESS_S, StateError, StateStore

__all__ = ["StateAccess"]

# How long a write may take, which goes on after its request.
WRITE_S: Final = 3.0
# Writes that wait at the same time, and their size; further values stay in memory.
MAX_WRITES: Final = 100
MAX_WRITING_BYTES: Final = 64 * 1024 * 1024
# How many names are remembered whose values are in memory only.
MAX_UNWRITTEN: Final = 10_000


@dataclass(slots=True)
class StateAccess:
    """A store, and whether it can be reached.

    Attributes:
        store: the store.
        kept_s: how long a value is kept after its last use.
        nursery: returns the nursery that owns the writes.
        offload: encodes values.
        log: for failures of the store.
    """

    store: StateStore
    kept_s: float
    nursery: Callable[[], trio.Nursery]
    offload: Offload
    log: Log
    _problems: dict[str, str] = field(default_factory=dict)
    _unwritten: dict[str, None] = field(default_factory=dict)
    _writes: int = 0
    _bytes: int = 0
    # Of two values of one name, the later one must win.
    _order: trio.Lock = field(default_factory=trio.Lock)

    @property
    def problem(self) -> str:
        """Why the store could not be read or written last; "" if it could."""
        return "; ".join(sorted(set(self._problems.values())))

    def is_written(self, name: str) -> bool:
        """Return whether a value of this server must be in the store, unless it was deleted or its time is over."""
        return name not in self._unwritten

    async def get(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """Return values by their names, None for those that are not stored.

        Raises:
            StateError: the store cannot be read.
        """
        return dict(zip(names, await self.store.get(names, self.kept_s), strict=True))

    async def read(self, reading: Callable[[], Awaitable[object]]) -> bool:
        """Read from the store, within `ACCESS_S` in all. Return whether it has answered."""
        problem = f"no answer within {ACCESS_S * 1000:g} ms"
        with trio.move_on_after(ACCESS_S):
            try:
                await reading()
                problem = ""
            except StateError as error:
                problem = str(error)
        self._note("read", problem)
        return not problem

    def put(self, names: Sequence[str], encode: Callable[[], Mapping[str, bytes]], size: int) -> trio.Event:
        """Begin to store values.

        Args:
            names: their names.
            encode: returns them.
            size: about their size in bytes.

        Returns:
            An event that is set when they are stored, or cannot be.
        """
        for name in names:
            self._unwritten.pop(name, None)
            self._unwritten[name] = None
        while len(self._unwritten) > MAX_UNWRITTEN:
            del self._unwritten[next(iter(self._unwritten))]
        done = trio.Event()
        if self._writes >= MAX_WRITES or self._bytes + size > MAX_WRITING_BYTES:
            self._note("write", "it is too slow: too many values wait to be stored")
            done.set()
            return done
        self._writes += 1
        self._bytes += size
        self.nursery().start_soon(self._put, names, encode, size, done, name="write of state")
        return done

    async def delete(self, names: Sequence[str]) -> bool:
        """Delete values, within `WRITE_S`. Return whether the store has answered."""
        return await self._write(lambda: self.store.delete(names))

    async def clear(self) -> int | None:
        """Delete all values, within `WRITE_S`. Return how many there were, None if the store has not answered."""
        counts = []

        async def clear() -> None:
            counts.append(await self.store.clear())

        return counts[0] if await self._write(clear) else None

    async def _put(
        self, names: Sequence[str], encode: Callable[[], Mapping[str, bytes]], size: int, done: trio.Event
    ) -> None:
        async def put() -> None:
            await self.store.put(await self.offload(encode), self.kept_s)
            for name in names:
                self._unwritten.pop(name, None)

        try:
            # Shielded: a response that has just ended is stored also if the server stops.
            with trio.CancelScope(shield=True):
                await self._write(put)
        finally:
            self._writes -= 1
            self._bytes -= size
            done.set()

    async def _write(self, writing: Callable[[], Awaitable[object]]) -> bool:
        problem = f"not written within {WRITE_S:g} s"
        with trio.move_on_after(WRITE_S):
            try:
                async with self._order:
                    await writing()
                problem = ""
            except StateError as error:
                problem = str(error)
        self._note("write", problem)
        return not problem

    def _note(self, kind: str, problem: str) -> None:
        """Log the first failure of a kind of access, and its first success after it."""
        before = self._problems.pop(kind, "")
        if problem:
            self._problems[kind] = problem
        if problem and not before:
            self.log.warning(f"state.{kind}_failed", reason=problem)
        elif before and not problem:
            self.log.info(f"state.{kind}_again")
