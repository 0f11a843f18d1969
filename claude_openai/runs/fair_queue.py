"""Hands out the slots of a limiter: in turn to the keys that wait, and in the order of arrival within a key.

So a request waits for as many slots as there are keys before its own, and not for all requests of each: the hundred
requests of one person do not keep another's one waiting. Without named keys all requests are of one key.

The bookkeeping is synchronous, so no cancel can split it. A slot is handed to a ticket, also if its task has not run
since, or is cancelled before it runs.
"""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from claude_openai.errors import ApiError

__all__ = ["FairQueue", "Ticket"]


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits, or has a slot.

    Attributes:
        key: name of the client's key.
        has_slot: whether it has a slot.
        refusal: why it gets none.
        called: set when one of the two is known.
    """

    key: str
    has_slot: bool = False
    refusal: ApiError | None = None
    called: trio.Event = field(default_factory=trio.Event)


class FairQueue:
    """See the module.

    Args:
        limiter: has the slots; nothing else takes them.
    """

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        # The key whose turn it is comes first. No queue is empty.
        self._waiting: dict[str, deque[Ticket]] = {}

    @property
    def keys(self) -> list[str]:
        """The names of the keys with requests that wait."""
        return list(self._waiting)

    @asynccontextmanager
    async def slot(self, ticket: Ticket) -> AsyncIterator[ApiError | None]:
        """Wait for a slot, and have it for the length of the block; yield the refusal if there is none for it."""
        self._waiting.setdefault(ticket.key, deque()).append(ticket)
        self._hand_out()
        try:
            await ticket.called.wait()
            yield ticket.refusal
        finally:
            if ticket.has_slot:
                self._limiter.release_on_behalf_of(ticket)
                self._hand_out()
            elif ticket.refusal is None:
                self._remove(ticket)

    def refuse_newest(self, key: str, error: ApiError) -> Ticket:
        """Refuse the request of a key that has waited for the shortest time, and return its ticket."""
        ticket = self._waiting[key][-1]
        self._remove(ticket)
        ticket.refusal = error
        ticket.called.set()
        return ticket

    def _hand_out(self) -> None:
        while self._waiting and self._limiter.available_tokens > 0:
            key, tickets = next(iter(self._waiting.items()))
            ticket = tickets.popleft()
            del self._waiting[key]
            if tickets:
                self._waiting[key] = tickets  # behind the others
            self._limiter.acquire_on_behalf_of_nowait(ticket)
            ticket.has_slot = True
            ticket.called.set()

    def _remove(self, ticket: Ticket) -> None:
        tickets = self._waiting[ticket.key]
        tickets.remove(ticket)
        if not tickets:
            del self._waiting[ticket.key]
