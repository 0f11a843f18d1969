"""Admits requests: to a slot, to the queue, or not at all.

The decision is synchronous and the wait is not: `admit` counts a request in or raises at once, so no cancel can split
it, and the waiting happens later, in the task that will run the turn, in the order of arrival.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import trio

from claude_openai.errors import (
    QUEUE_FULL_RETRY_AFTER_S,
    UNAVAILABLE_RETRY_AFTER_S,
    QueueFull,
    RateLimited,
    ShuttingDown,
)
from claude_openai.keys.key import Key

__all__ = ["Admission"]


class Admission:
    """The slots and the queue for them. `rejected` counts rejected requests by error code.

    Args:
        max_concurrency: slots.
        max_queue_size: how many requests may wait for a slot.
    """

    def __init__(self, max_concurrency: int, max_queue_size: int) -> None:
        self._limiter = trio.CapacityLimiter(max_concurrency)
        self._max_queue_size = max_queue_size
        self._admitted = 0
        self._of_keys: Counter[str] = Counter()
        self._idle = trio.Event()
        self._idle.set()
        self._draining = trio.Event()
        self._stopping = False
        self.rejected = {"queue_full": 0, "shutting_down": 0, "usage_limit": 0, "key_limit": 0}

    @property
    def stopping(self) -> bool:
        """Whether the server will end: it drains, or it is a lame duck, which still takes turns but wants none."""
        return self._stopping or self.draining

    def become_lame_duck(self) -> None:
        self._stopping = True

    @property
    def draining(self) -> bool:
        """Whether new requests are refused. Cannot be unset."""
        return self._draining.is_set()

    @draining.setter
    def draining(self, _: Literal[True]) -> None:
        self._draining.set()

    async def wait_draining(self) -> None:
        await self._draining.wait()

    @property
    def running(self) -> int:
        return int(self._limiter.borrowed_tokens)

    @property
    def queued(self) -> int:
        return self._admitted - self.running

    @property
    def slots(self) -> int:
        return int(self._limiter.total_tokens)

    @property
    def free(self) -> int:
        """How many turns would get a slot at once."""
        return max(0, self.slots - self._admitted)

    @property
    def is_busy(self) -> bool:
        """Whether all slots are taken, so that the next turn has to wait for one."""
        return self._limiter.available_tokens <= 0

    @property
    def full(self) -> bool:
        """Whether all slots are taken and the queue is full."""
        return self._admitted >= self._limiter.total_tokens + self._max_queue_size

    def admit(self, key: Key | None = None) -> AbstractContextManager[None]:
        """Reserve a place, for the client with this key.

        Hand what is returned, without awaiting, to the task that runs the turn; when it leaves it, the place is free.

        Raises:
            ShuttingDown: the server accepts no new requests.
            QueueFull: all slots are taken and the queue is full.
            RateLimited: the key has as many places as it may have.
        """
        if self.draining:
            self.rejected["shutting_down"] += 1
            raise ShuttingDown("The server is shutting down.", retry_after_s=UNAVAILABLE_RETRY_AFTER_S)
        if key is not None and key.max_concurrency is not None and self._of_keys[key.name] >= key.max_concurrency:
            self.rejected["key_limit"] += 1
            raise RateLimited(
                f"The key of {key.name!r} has {self._of_keys[key.name]} turns that run or wait, and may have "
                f"{key.max_concurrency}",
                hint=f"Try again in {QUEUE_FULL_RETRY_AFTER_S:g} s, or when one of them has ended.",
                code="key_concurrency_exceeded",
                retry_after_s=QUEUE_FULL_RETRY_AFTER_S,
            )
        if self.full:
            self.rejected["queue_full"] += 1
            raise QueueFull(
                f"All {self._limiter.total_tokens:g} slots are taken and the queue is full ({self.queued} waiting); "
                f"try again in {QUEUE_FULL_RETRY_AFTER_S:g} s, or start the server with a larger --max-concurrency or "
                "--max-queue-size.",
                retry_after_s=QUEUE_FULL_RETRY_AFTER_S,
            )
        self._admitted += 1
        name = "" if key is None else key.name
        self._of_keys[name] += 1
        if self._idle.is_set():
            self._idle = trio.Event()
        return self._place(name)

    async def wait_idle(self) -> None:
        """Wait until no request runs or waits."""
        while self._admitted:
            await self._idle.wait()

    def slot(self) -> trio.CapacityLimiter:
        """Enter it with `async with` to wait for a slot, in the order of arrival."""
        return self._limiter

    @contextmanager
    def _place(self, name: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._admitted -= 1
            self._of_keys[name] -= 1
            if not self._of_keys[name]:
                del self._of_keys[name]
            if not self._admitted:
                self._idle.set()
