"""The events of a run as the body of a streamed response.

`Frames` encodes the events. Events that are already waiting are sent in one write, so that a fast stream needs few
writes and a slow one is not delayed. `LastingBody` sends frames that are encoded already.
"""

from types import TracebackType
from typing import Protocol

import trio
from quart.wrappers.response import ResponseBody

from claude_openai.errors import ApiError
from claude_openai.protocol.turn.events import Event
from claude_openai.protocol.wire.sse import COMMENT
from claude_openai.runs.lasting import Lasting, Settle
from claude_openai.runs.run import Run, lost_end

__all__ = ["EventStreamBody", "Frames", "LastingBody"]

WRITE_BYTES = 16384
IDLE_ROUNDS = 3


class Frames(Protocol):
    """Encodes the events of a turn: `feed` each in order until `ended`. `calls` are the names of the called tools."""

    @property
    def calls(self) -> list[str]: ...

    @property
    def ended(self) -> bool: ...

    def feed(self, event: Event) -> bytes: ...


class EventStreamBody(ResponseBody):
    """The body of a streamed completion.

    Args:
        first: the first event, for which the status line was delayed; None if that wait timed out.
        run: source of the other events.
        chunks: encodes events.
        comment_interval_s: seconds without an event after which a comment is sent, to keep the connection alive.
        settle: called before the last frames are sent.
    """

    def __init__(
        self,
        first: Event | None,
        run: Run,
        chunks: Frames,
        comment_interval_s: float,
        settle: Settle | None = None,
    ) -> None:
        self._first = first
        self._run = run
        self._events = run.events
        self._chunks = chunks
        self._comment_interval_s = comment_interval_s
        self._settle = settle

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
        return await self._with_waiting_events(self._chunks.feed(event)) or COMMENT

    async def _next_event(self) -> Event | None:
        try:
            with trio.move_on_after(self._comment_interval_s):
                return await self._events.receive()
        except trio.EndOfChannel:
            # Never end the stream without a final event: OpenCode repeats the request at once, in a hot loop.
            return lost_end(self._run)
        return None

    async def _with_waiting_events(self, written: bytes) -> bytes:
        # Events pass through several tasks, so few wait in the channel at any one moment. A few checkpoints delay a
        # slow stream by some µs, and let many deltas of a fast one be sent in one write.
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
        if self._chunks.ended and self._settle is not None:
            await self._settle()
        return b"".join(parts)


class LastingBody(ResponseBody):
    """The frames of a lasting run as the body of a streamed response.

    Args:
        lasting: the run.
        index: of the first frame to send.
        comment_interval_s: as for `EventStreamBody`.
    """

    def __init__(self, lasting: Lasting, index: int, comment_interval_s: float) -> None:
        self._lasting = lasting
        self._index = index
        self._comment_interval_s = comment_interval_s

    async def __aenter__(self) -> "LastingBody":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def __aiter__(self) -> "LastingBody":
        return self

    async def __anext__(self) -> bytes:
        with trio.move_on_after(self._comment_interval_s):
            await self._lasting.wait(self._index)
        frames, begin, size = self._lasting.frames, self._index, 0
        while self._index < len(frames) and size < WRITE_BYTES:
            size += len(frames[self._index])
            self._index += 1
        if size:
            return b"".join(frames[begin : self._index])
        if not self._lasting.ended:
            return COMMENT
        failure = self._lasting.failure
        if failure is not None and not isinstance(failure, ApiError):
            raise failure
        raise StopAsyncIteration
