"""A run's events as the body of a streamed response.

Knows channels and silence; the bytes of each event are the business of `ChunkStream` and its like. Events that are
already waiting leave in one write, each still its own chunk: a fast stream costs few writes, a slow one is delayed by
nothing.
"""

from types import TracebackType
from typing import Protocol

import trio
from quart.wrappers.response import ResponseBody

from claude_openai.errors import InternalError
from claude_openai.protocol.openai.sse import COMMENT
from claude_openai.protocol.turn.events import Event, TurnFailed
from claude_openai.runs.run import Run

__all__ = ["EventStreamBody", "Frames"]

WRITE_BYTES = 16384
IDLE_ROUNDS = 3


class Frames(Protocol):
    """A turn's events as bytes: `feed` each in order, until it has `ended`; `calls` are the tools called so far."""

    @property
    def calls(self) -> list[str]: ...

    @property
    def ended(self) -> bool: ...

    def feed(self, event: Event) -> bytes: ...


class EventStreamBody(ResponseBody):
    """The body of a streamed completion.

    Args:
        first: the event the status line waited for, None if the wait was over before it came.
        run: gives the other events.
        chunks: turns events into bytes.
        comment_interval_s: seconds of silence after which a comment keeps the stream alive.
    """

    def __init__(
        self,
        first: Event | None,
        run: Run,
        chunks: Frames,
        comment_interval_s: float,
    ) -> None:
        self._first = first
        self._run = run
        self._events = run.events
        self._chunks = chunks
        self._comment_interval_s = comment_interval_s

    async def __aenter__(self) -> "EventStreamBody":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._events.close()

    def __aiter__(self) -> "EventStreamBody":
        return self

    async def __anext__(self) -> bytes:
        if self._chunks.ended:
            raise StopAsyncIteration
        event, self._first = self._first, None
        if event is None:
            event = await self._next_event()
        if event is None:
            return COMMENT
        return await self._with_what_follows(self._chunks.feed(event)) or COMMENT

    async def _next_event(self) -> Event | None:
        try:
            with trio.move_on_after(self._comment_interval_s):
                return await self._events.receive()
        except trio.EndOfChannel:
            # Never end a stream without an end: OpenCode asks again at once, in a hot loop. The last event of a run
            # that was stopped finds no room when the client reads too slowly.
            return TurnFailed(self._run.error or InternalError("The backend stopped without a final event."))
        return None

    async def _with_what_follows(self, written: bytes) -> bytes:
        # A fast stream passes through several tasks, so little of it waits here at any one moment: going round a few
        # times costs a slow stream some µs, and makes one write of many deltas of a fast one.
        parts, size, idle_rounds = [written], len(written), 0
        while size < WRITE_BYTES and not self._chunks.ended and idle_rounds < IDLE_ROUNDS:
            try:
                event = self._events.receive_nowait()
            except trio.WouldBlock:
                idle_rounds += 1
                await trio.lowlevel.checkpoint()
                continue
            except trio.EndOfChannel:
                break
            parts.append(self._chunks.feed(event))
            size += len(parts[-1])
            idle_rounds = 0
        return b"".join(parts)
