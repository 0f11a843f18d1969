"""Processes started ahead of need, so that a new conversation does not wait for a start.

A spare waits for its past and its first request. There are spares of each of the kinds that were requested last. A used
spare is replaced, and a failed start is logged. Without free memory, and after some time without a request, there are
none.
"""

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

import trio

from claude_openai.claude.process.free_memory import available_mb
from claude_openai.claude.sdk.live_process import LiveProcess
from claude_openai.logs.log import Log

__all__ = ["Spares"]

Kind = TypeVar("Kind", bound=Hashable)

# A waiting process has about 100 MB of private memory, a starting one more.
MIN_AVAILABLE_MB = 1024
# After this time without a request the spares are ended; the next request starts them again.
IDLE_S = 900.0
# The wait after a failed start; it doubles with each further failure.
RETRY_S = 5.0
MAX_RETRY_S = 320.0
# The interval in which dead spares are detected.
CHECK_S = 60.0


class Spares(Generic[Kind]):
    """Keeps up to `count` processes of each of the last `max_kinds` kinds.

    Args:
        count: spares per kind.
        start: starts a process of a kind. Returns a process that is not alive if the start failed, None if Claude
            Code is not installed.
        log: records failures and shortages of memory.
        first: the kinds that are expected first.
        max_kinds: the largest number of kinds.
        refill_delay_s: seconds before a used spare is replaced.
        available_mb: returns the free memory in MiB, None if it is unknown.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[Kind], Awaitable[LiveProcess | None]],
        log: Log,
        first: Iterable[Kind] = (),
        *,
        max_kinds: int,
        refill_delay_s: float,
        available_mb: Callable[[], int | None] = available_mb,
    ) -> None:
        self._count = count
        self._start = start
        self._log = log
        self._max_kinds = max_kinds
        self._refill_delay_s = refill_delay_s
        self._available_mb = available_mb
        self._waiting: dict[Kind, list[LiveProcess]] = {kind: [] for kind in first}  # the last requested is at the end
        self._wanted = trio.Event()
        self._last_taken = 0.0
        self._retry_s = RETRY_S
        self._short_of_memory = False

    @property
    def count(self) -> int:
        """The number of spares that are ready."""
        return sum(spare.alive for spares in self._waiting.values() for spare in spares)

    @property
    def pids(self) -> list[int | None]:
        """The process ids of the spares that are ready."""
        return [spare.pid for spares in self._waiting.values() for spare in spares if spare.alive]

    def take(self, kind: Kind) -> LiveProcess | None:
        """Return a spare of the kind if one is ready; `refill` replaces it."""
        self._last_taken = trio.current_time()
        self._wanted.set()
        waiting = self._waiting.pop(kind, [])
        self._waiting[kind] = waiting
        while len(self._waiting) > self._max_kinds:
            self._end(next(iter(self._waiting)), "others are requested")
        while waiting:
            spare = waiting.pop()
            if spare.outdated:
                spare.end("the date has changed")
            elif spare.alive:
                return spare
        return None

    async def refill(self) -> None:
        """Start missing spares until cancelled."""
        self._last_taken = trio.current_time()
        while self._count:
            self._wanted = trio.Event()
            self._waiting = {kind: [s for s in spares if s.alive] for kind, spares in self._waiting.items()}
            kind = self._short_of()
            pause_s = CHECK_S
            if kind is not None and self._has_memory():
                pause_s = await self._start_one(kind)
            if pause_s:
                await self._pause(pause_s)

    def _short_of(self) -> Kind | None:
        """Return the most recently requested kind with too few spares; None if all have enough."""
        return next((kind for kind in reversed(self._waiting) if len(self._waiting[kind]) < self._count), None)

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._wanted.wait()
        if trio.current_time() >= self._last_taken + IDLE_S:
            self._end_all()
            await self._wanted.wait()
        if self._wanted.is_set():
            await trio.sleep(self._refill_delay_s)

    async def _start_one(self, kind: Kind) -> float:
        """Start a spare; return the seconds to wait before the next start."""
        spare = await self._start(kind)
        if spare is None:  # not installed; the next request checks again
            return IDLE_S
        if spare.alive:
            self._retry_s = RETRY_S
            if kind in self._waiting:
                self._waiting[kind].append(spare)
            else:
                spare.end("others were requested")
            return 0
        self._log.warning("spare.failed", error=spare.failure)
        await trio.sleep(self._retry_s)  # requests in the meantime start their own processes
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
        return 0 if trio.current_time() < self._last_taken + IDLE_S else CHECK_S

    def _end_all(self) -> None:
        self._log.debug("spare.idle", count=self.count)
        last = list(self._waiting)[-1:]
        for kind in tuple(self._waiting):
            self._end(kind, f"no request for {IDLE_S:g} s")
        self._waiting = {kind: [] for kind in last}

    def _end(self, kind: Kind, reason: str) -> None:
        for spare in self._waiting.pop(kind):
            spare.end(reason)

    def _has_memory(self) -> bool:
        available = self._available_mb()
        is_short = available is not None and available < MIN_AVAILABLE_MB
        if is_short and not self._short_of_memory:
            self._log.warning("spare.short_of_memory", available_mb=available)
        self._short_of_memory = is_short
        return not is_short
