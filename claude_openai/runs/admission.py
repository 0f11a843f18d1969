"""Admits requests: to a slot, to the queue, or not at all.

The decision is synchronous and the wait is not: `admit` counts a request in or raises at once, so no cancel can split
it, and the waiting happens later, in the task that will run the turn, in the order of `FairQueue`.

When the queue is full and a key has fewer places than another by two or more, its request takes the place of the newest
waiting request of the key with the most: otherwise one person could fill the queue.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal

import trio

from claude_openai.errors import (
    QUEUE_FULL_RETRY_AFTER_S,
    UNAVAILABLE_RETRY_AFTER_S,
    ApiError,
    QueueFull,
    RateLimited,
    ShuttingDown,
)
from claude_openai.keys.key import Key
from claude_openai.runs.fair_queue import FairQueue, Ticket

__all__ = ["Admission", "Place"]


class Place:
    """The place of a request, in the queue or in a slot; it ends with the block of its `with`."""

    def __init__(self, queue: FairQueue, ticket: Ticket, leave: Callable[[Ticket], None]) -> None:
        self._queue = queue
        self._ticket = ticket
        self._leave = leave

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._leave(self._ticket)

    def slot(self) -> AbstractAsyncContextManager[ApiError | None]:
        """Enter it with `async with` to wait for a slot.

        It yields None, or a QueueFull if a request of another key took the place.
        """
        return self._queue.slot(self._ticket)


class Admission:
    """The slots and the queue for them. `rejected` counts rejected requests by error code.

    Args:
        max_concurrency: slots.
        max_queue_size: how many requests may wait for a slot.
    """

    def __init__(self, max_concurrency: int, max_queue_size: int) -> None:
        self._limiter = trio.CapacityLimiter(max_concurrency)
        self._queue = FairQueue(self._limiter)
        self._max_queue_size = max_queue_size
        self._present = 0
        # The places by key. A request that has lost its place is still present for a moment.
        self._places: Counter[str] = Counter()
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
        return self._places.total() - self.running

    @property
    def slots(self) -> int:
        return int(self._limiter.total_tokens)

    @property
    def free(self) -> int:
        """How many turns would get a slot at once."""
        return max(0, self.slots - self._places.total())

    @property
    def is_busy(self) -> bool:
        """Whether all slots are taken, so that the next turn has to wait for one."""
        return self._limiter.available_tokens <= 0

    @property
    def full(self) -> bool:
        """Whether all slots are taken and the queue is full."""
        return self._places.total() >= self._limiter.total_tokens + self._max_queue_size

    def admit(self, key: Key | None = None) -> Place:
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
        name = "" if key is None else key.name
        if key is not None and key.max_concurrency is not None and self._places[name] >= key.max_concurrency:
            self.rejected["key_limit"] += 1
            raise RateLimited(
                f"The key of {name!r} has {self._places[name]} turns that run or wait, and may have "
                f"{key.max_concurrency}",
                hint=f"Try again in {QUEUE_FULL_RETRY_AFTER_S:g} s, or when one of them has ended.",
                code="key_concurrency_exceeded",
                retry_after_s=QUEUE_FULL_RETRY_AFTER_S,
            )
        if self.full:
            self.rejected["queue_full"] += 1
            error = QueueFull(
                f"All {self._limiter.total_tokens:g} slots are taken and the queue is full ({self.queued} waiting); "
                f"try again in {QUEUE_FULL_RETRY_AFTER_S:g} s, or start the server with a larger --max-concurrency or "
                "--max-queue-size.",
                retry_after_s=QUEUE_FULL_RETRY_AFTER_S,
            )
            largest = max(self._queue.keys, key=self._places.__getitem__, default=name)
            if self._places[largest] <= self._places[name] + 1:
                raise error
            self._free(self._queue.refuse_newest(largest, error))
        self._present += 1
        self._places[name] += 1
        if self._idle.is_set():
            self._idle = trio.Event()
        return Place(self._queue, Ticket(name), self._leave)

    async def wait_idle(self) -> None:
        """Wait until no request runs or waits."""
        while self._present:
            await self._idle.wait()

    def _leave(self, ticket: Ticket) -> None:
        if ticket.refusal is None:
            self._free(ticket)
        self._present -= 1
        if not self._present:
            self._idle.set()

    def _free(self, ticket: Ticket) -> None:
        self._places[ticket.key] -= 1
        if not self._places[ticket.key]:
            del self._places[ticket.key]
