"""Processes started ahead of need, so that a new conversation does not wait for one.

A spare is a conversation that is not bound yet: its process waits for its past. There are some for each of the models
that were asked for last. A spare that is taken is replaced; a failure to start one is logged; on a machine that is
short of memory, and after some time without a request, there are none.
"""

from collections.abc import Awaitable, Callable

import trio

from claude_openai.claude.process.free_memory import available_mb
from claude_openai.claude.sdk.conversation import Conversation
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


# Clients such as OpenCode ask a small model for titles between the turns of a large one.
MODELS = 2


class Spares:
    """Keeps up to `count` unbound conversations for each of the last `MODELS` models.

    Args:
        count: how many of a model.
        start: starts one of a model; gives one that is not alive when it cannot, None when there is no program.
        log: told of failures and of short memory.
        model: the one to begin with.
    """

    def __init__(
        self, count: int, start: Callable[[str], Awaitable[Conversation | None]], log: Log, model: str
    ) -> None:
        self._count = count
        self._start = start
        self._log = log
        self._waiting: dict[str, list[Conversation]] = {model: []}  # the model that was asked for last at the end
        self._wanted = trio.Event()
        self._last_taken = 0.0
        self._retry_s = RETRY_S
        self._short_of_memory = False

    @property
    def count(self) -> int:
        """How many are ready."""
        return sum(spare.alive for spares in self._waiting.values() for spare in spares)

    def take(self, model: str) -> Conversation | None:
        """A spare of the model, if one is ready; another is started in its place."""
        self._last_taken = trio.current_time()
        self._wanted.set()
        waiting = self._waiting.pop(model, [])
        self._waiting[model] = waiting
        while len(self._waiting) > MODELS:
            self._end(next(iter(self._waiting)), "other models are asked for")
        while waiting:
            spare = waiting.pop()
            if spare.alive:
                return spare
        return None

    async def refill(self) -> None:
        """Keep the number up, until it is cancelled."""
        self._last_taken = trio.current_time()
        while self._count:
            self._wanted = trio.Event()
            self._waiting = {model: [s for s in spares if s.alive] for model, spares in self._waiting.items()}
            model = self._short_of()
            pause_s = CHECK_S
            if model is not None and self._has_memory():
                pause_s = await self._start_one(model)
            if pause_s:
                await self._pause(pause_s)

    def _short_of(self) -> str | None:
        """The model that was asked for last of those that have too few spares."""
        return next((model for model in reversed(self._waiting) if len(self._waiting[model]) < self._count), None)

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._wanted.wait()
        if trio.current_time() >= self._last_taken + IDLE_S:
            self._end_all()
            await self._wanted.wait()
        if self._wanted.is_set():
            await trio.sleep(REFILL_DELAY_S)

    async def _start_one(self, model: str) -> float:
        """Start one; how many seconds to wait before the next."""
        spare = await self._start(model)
        if spare is None:  # the next request may find it
            return IDLE_S
        if spare.alive:
            self._retry_s = RETRY_S
            spare.waited = True
            if model in self._waiting:
                self._waiting[model].append(spare)
            else:
                spare.scope.cancel(reason="other models were asked for")
            return 0
        self._log.warning("spare.failed", error=spare.failure)
        await trio.sleep(self._retry_s)  # whoever asks meanwhile starts a process anyway
        self._retry_s = min(2 * self._retry_s, MAX_RETRY_S)
        return 0 if trio.current_time() < self._last_taken + IDLE_S else CHECK_S

    def _end_all(self) -> None:
        self._log.debug("spare.idle", count=self.count)
        last = next(reversed(self._waiting))
        for model in tuple(self._waiting):
            self._end(model, "no request has come for long")
        self._waiting[last] = []

    def _end(self, model: str, reason: str) -> None:
        for spare in self._waiting.pop(model):
            spare.scope.cancel(reason=reason)

    def _has_memory(self) -> bool:
        available = available_mb()
        is_short = available is not None and available < MIN_AVAILABLE_MB
        if is_short and not self._short_of_memory:
            self._log.warning("spare.short_of_memory", available_mb=available)
        self._short_of_memory = is_short
        return not is_short
