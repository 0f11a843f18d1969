"""Accesses a state store for requests, which wait for a bounded time and go on if the store fails."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from claude_openai.logs.log import Log
from claude_openai.offload import Offload
from claude_openai.state.store import READ_S, StateError, StateStore
from claude_openai.threads import NoThreadError

__all__ = ["StateAccess"]

# How long a write may take. It goes on after the end of its request.
WRITE_S: Final = 3.0
# Writes that wait at the same time, and their size; further values stay in memory.
MAX_WRITES: Final = 100
MAX_WRITING_BYTES: Final = 64 * 1024 * 1024
# Number of remembered names whose values are in memory only.
MAX_UNWRITTEN: Final = 10_000

_TOO_SLOW: Final = "too many values wait to be stored"


@dataclass(slots=True)
class _Write:
    work: Callable[[], Awaitable[object]]
    size: int
    deadline: float
    done: trio.Event = field(default_factory=trio.Event)
    succeeded: bool = False


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
    _unwritten: dict[str, object] = field(default_factory=dict)  # name -> the last write of it
    # Done one by one: of two values of one name, the later one must win.
    _writes: deque[_Write] = field(default_factory=deque)

    @property
    def problem(self) -> str:
        """Return why the last read or write failed, without the place of the store; "" if both succeeded."""
        return "; ".join(sorted(set(self._problems.values())))

    def is_written(self, name: str) -> bool:
        """Return False while a value of this name waits to be written, or if it could not be written."""
        return name not in self._unwritten

    async def get(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """Return values by their names; None for a value that is not stored.

        Raises:
            StateError: the store cannot be read.
        """
        return dict(zip(names, await self.store.get(names, self.kept_s), strict=True))

    async def read(self, reading: Callable[[], Awaitable[object]], *, in_memory: bool) -> bool:
        """Read from the store. Return whether it has answered in time.

        Args:
            reading: reads, once or more often.
            in_memory: whether the memory has an answer too, so that the time is short.
        """
        limit_s = self.store.refresh_s if in_memory else READ_S
        return await self._within(limit_s, trio.current_time() + limit_s, "read", reading)

    def put(self, names: Sequence[str], encode: Callable[[], Mapping[str, bytes]], size: int) -> trio.Event:
        """Begin to store values.

        Args:
            names: their names.
            encode: returns the values.
            size: their approximate size in bytes.

        Returns:
            An event that is set when the values are stored, or cannot be stored.
        """
        mark = self.note_unwritten(names)

        async def put() -> None:
            if await self.store.put(await self.offload(encode), self.kept_s):
                for name in names:
                    if self._unwritten.get(name) is mark:
                        del self._unwritten[name]

        return self._begin(put, size).done

    def note_unwritten(self, names: Sequence[str]) -> object:
        """Note that the values of these names are in memory only, until a later `put` has stored them."""
        mark = object()
        for name in names:
            self._unwritten.pop(name, None)
            self._unwritten[name] = mark
        while len(self._unwritten) > MAX_UNWRITTEN:
            del self._unwritten[next(iter(self._unwritten))]
        return mark

    async def delete(self, names: Sequence[str]) -> bool:
        """Delete values, within `WRITE_S`. Return whether that succeeded."""
        write = self._begin(lambda: self.store.delete(names))
        await write.done.wait()
        return write.succeeded

    async def clear(self) -> int | None:
        """Delete all values, within `WRITE_S`. Return their number; None if that failed."""
        counts = []

        async def clear() -> None:
            counts.append(await self.store.clear())

        await self._begin(clear).done.wait()
        return counts[0] if counts else None

    def _begin(self, work: Callable[[], Awaitable[object]], size: int = 0) -> _Write:
        write = _Write(work, size, trio.current_time() + WRITE_S)
        is_too_large = sum(each.size for each in self._writes) + size > MAX_WRITING_BYTES
        if len(self._writes) >= MAX_WRITES or is_too_large:
            self._note("write", _TOO_SLOW, _TOO_SLOW)
            write.done.set()
            return write
        self._writes.append(write)
        if len(self._writes) == 1:
            try:
                self.nursery().start_soon(self._do_writes, name="writes to the state store")
            except RuntimeError:
                # The nursery has ended: the server stops, and a slow client reads the end of its answer.
                self._writes.clear()
                write.done.set()
        return write

    async def _do_writes(self) -> None:
        # Shielded: a response that has just ended is stored even if the server stops.
        with trio.CancelScope(shield=True):
            while self._writes:
                write = self._writes[0]
                write.succeeded = await self._within(WRITE_S, write.deadline, "write", write.work)
                self._writes.popleft()
                write.done.set()

    async def _within(self, limit_s: float, deadline: float, kind: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Access the store for a bounded time. Note and return whether that succeeded."""
        problem = text = f"no answer within {limit_s * 1000:g} ms"
        with trio.CancelScope(deadline=deadline):
            try:
                await work()
                problem = text = ""
            except StateError as error:
                problem, text = error.reason, str(error)
            except NoThreadError as error:
                problem = text = str(error)
        self._note(kind, problem, text)
        return not problem

    def _note(self, kind: str, problem: str, text: str) -> None:
        """Log the first failure of a kind of access, with `text`, and its first success after that."""
        before = self._problems.pop(kind, "")
        if problem:
            self._problems[kind] = problem
        if problem and not before:
            self.log.warning("state.failed", access=kind, reason=text)
        elif before and not problem:
            self.log.info("state.works_again", access=kind)
