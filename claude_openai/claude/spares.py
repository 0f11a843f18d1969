"""Processes started ahead of need, so that a new conversation does not wait for one.

A spare is a conversation that nobody has bound yet; some wait for a history too, which are worth their memory only
where histories are given. One that is taken is replaced; a failure to start one is logged and
nothing more; on a machine that is short of memory, and when nobody has asked for long, there are none.
"""

from collections.abc import Awaitable, Callable

import trio

from claude_openai.claude.conversation import Conversation
from claude_openai.claude.memory import available_mb
from claude_openai.logs.log import Log

__all__ = ["Spares"]

# A waiting process weighs about 100 MB of its own; one that starts, more.
MIN_AVAILABLE_MB = 1024
# Without a request for this long the spares are ended; the next request starts them again.
IDLE_S = 900.0
# After a start that failed, and twice as long after each that follows.
RETRY_S = 5.0
MAX_RETRY_S = 320.0
# How often those that have died are looked for.
CHECK_S = 60.0
# A start costs half a second of a core, which the turn that took the last spare needs first.
REFILL_DELAY_S = 1.0


class Spares:
    """Keeps up to `count` unbound conversations.

    Args:
        count: how many.
        start: starts one; gives one that is not alive when it cannot, None when there is no program to start.
        log: told of failures and of short memory.
        on_demand: keep none before one was wanted for the first time.
    """

    def __init__(
        self,
        count: int,
        start: Callable[[], Awaitable[Conversation | None]],
        log: Log,
        *,
        on_demand: bool = False,
    ) -> None:
        self._count = count
        self._start = start
        self._log = log
        self._waiting: list[Conversation] = []
        self._wanted = trio.Event()
        self._last_taken = 0.0
        self._on_demand = on_demand
        self._retry_s = RETRY_S
        self._short_of_memory = False

    @property
    def count(self) -> int:
        """How many are ready."""
        return sum(spare.alive for spare in self._waiting)

    def take(self) -> Conversation | None:
        """A spare, if one is ready; another is started in its place."""
        self._last_taken = trio.current_time()
        self._wanted.set()
        while self._waiting:
            spare = self._waiting.pop()
            if spare.alive:
                return spare
        return None

    async def refill(self) -> None:
        """Keep the number up, for ever."""
        if self._on_demand:
            await self._wanted.wait()
            await trio.sleep(REFILL_DELAY_S)
        else:
            self._last_taken = trio.current_time()
        while self._count:
            self._wanted = trio.Event()
            self._waiting = [spare for spare in self._waiting if spare.alive]
            pause_s = CHECK_S
            if len(self._waiting) < self._count and self._has_memory():
                pause_s = await self._start_one()
            if pause_s:
                await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._wanted.wait()
        if trio.current_time() >= self._last_taken + IDLE_S:
            self._end_all()
            await self._wanted.wait()
        if self._wanted.is_set():
            await trio.sleep(REFILL_DELAY_S)

    async def _start_one(self) -> float:
        """Start one; how many seconds to wait before the next."""
        spare = await self._start()
        if spare is None:  # the next request may find it
            return IDLE_S
        if spare.alive:
            spare.waited = True
            self._waiting.append(spare)
            self._retry_s = RETRY_S
            return 0
        self._log.warning("spare.failed", error=spare.failure)
        await trio.sleep(self._retry_s)  # whoever asks meanwhile starts a process anyway
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
        return 0 if trio.current_time() < self._last_taken + IDLE_S else CHECK_S

    def _end_all(self) -> None:
        self._log.debug("spare.idle", count=len(self._waiting))
        for spare in self._waiting:
            spare.scope.cancel(reason="nobody has asked for long")
        self._waiting.clear()

    def _has_memory(self) -> bool:
        available = available_mb()
        is_short = available is not None and available < MIN_AVAILABLE_MB
        if is_short and not self._short_of_memory:
            self._log.warning("spare.short_of_memory", available_mb=available)
        self._short_of_memory = is_short
        return not is_short
