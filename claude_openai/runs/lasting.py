"""A lasting run may outlive its request: the nursery of the registry owns it, and its answer is kept for its readers.

The answer is a log of encoded frames. Any number of readers read it from any index on, and wait for what comes next;
none of them can block the run. The log is bounded: a run whose answer is larger fails with the code `answer_too_large`.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeAlias

import trio

from claude_openai.errors import RunCancelled
from claude_openai.protocol.turn.events import Event, TurnFailed
from claude_openai.runs.run import Run, lost_end

__all__ = ["LINGER_S", "Answer", "Lasting", "Settle"]

# Called before an answer ends; waits for a bounded time until the response is stored.
Settle: TypeAlias = Callable[[], Awaitable[None]]

# How long a run goes on after the last of its readers has left. The client libraries of OpenAI and Anthropic repeat a
# request half a second after its connection broke, and a second time a second later.
LINGER_S: Final = 2.0
# Of one answer. Claude's longest, in deltas of a few characters each, take half of it.
MAX_BYTES: Final = 32 * 1024 * 1024
MAX_FRAMES: Final = 500_000


class Answer(Protocol):
    """Encodes the events of a turn: feed each in order until `ended`."""

    @property
    def ended(self) -> bool: ...

    def frames(self, event: Event) -> Iterable[bytes]: ...


class Lasting:
    """The answer of a lasting run.

    Args:
        max_bytes: the largest size of the frames.
        max_frames: the largest number of frames.
        settle: called before the last frames are added.

    Attributes:
        frames: what was answered so far; a whole answer is one frame.
        size: of the frames, in bytes.
        run: the run, None until it is opened.
        failure: what to raise in place of an answer; None if there is an answer, which may end with an error.
        ended: whether no further frame will be added.
        readers: number of those who read it.
        scope: contains the task of the run.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, max_frames: int = MAX_FRAMES, *, settle: Settle | None = None
    ) -> None:
        self._settle = settle
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self.frames: list[bytes] = []
        self.size = 0
        self.run: Run | None = None
        self.failure: Exception | None = None
        self.ended = False
        self.readers = 0
        self.scope = trio.CancelScope()
        self._grown = trio.lowlevel.ParkingLot()
        self._read = trio.lowlevel.ParkingLot()

    @property
    def can_be_joined(self) -> bool:
        """Whether it was not ended because all its readers had left."""
        return not self.scope.cancel_called

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count a reader."""
        self.readers += 1
        self._read.unpark_all()
        try:
            yield
        finally:
            self.readers -= 1
            self._read.unpark_all()

    async def wait_opened(self) -> None:
        """Wait until the run is opened, or will never be."""
        while self.run is None and not self.ended:
            await self._grown.park()

    async def wait(self, index: int) -> None:
        """Wait until there is a frame of this index, or the answer has ended."""
        while len(self.frames) <= index and not self.ended:
            await self._grown.park()

    async def wait_end(self) -> None:
        while not self.ended:
            await self._grown.park()

    async def wait_read(self) -> None:
        """Wait until it has a reader."""
        while not self.readers:
            await self._read.park()

    async def end_unread(self, linger_s: float = LINGER_S) -> None:
        """Cancel the task of the run as soon as nothing has read it for some time."""
        while True:
            while self.readers:
                await self._read.park()
            with trio.move_on_after(linger_s) as waiting:
                await self.wait_read()
            if waiting.cancelled_caught:
                self.scope.cancel(reason="no client reads the answer")
                return

    def note_opened(self, run: Run) -> None:
        self.run = run
        self._grown.unpark_all()

    async def fill(self, run: Run, answer: Answer) -> None:
        """Add the frames of the events of a run, until its end."""
        while not answer.ended:
            event = await _next_event(run)
            if self.size > self._max_bytes or len(self.frames) > self._max_frames:
                event = TurnFailed(self._too_large())
                run.cancel(event.error)
            if isinstance(event, TurnFailed) and not self.frames:
                self.failure = event.error
            await self._add(answer, event)
        self.end()

    async def _add(self, answer: Answer, event: Event) -> None:
        frames = list(filter(None, answer.frames(event)))
        if answer.ended and self._settle is not None:
            await self._settle()
        for frame in frames:
            self.frames.append(frame)
            self.size += len(frame)
        self._grown.unpark_all()

    def end(self, failure: Exception | None = None) -> None:
        """Note that no further frame will be added; with `failure`, all readers that wait get it."""
        if not self.ended:
            self.ended, self.failure = True, failure or self.failure
            self._grown.unpark_all()

    def _too_large(self) -> RunCancelled:
        return RunCancelled(
            f"The answer has more than {self._max_bytes} bytes or {self._max_frames} events, the most that is kept for "
            "clients that take up an answer later",
            hint="Ask for less in one answer.",
            code="answer_too_large",
            may_retry=False,
        )


async def _next_event(run: Run) -> Event:
    try:
        try:
            return run.events.receive_nowait()
        except trio.WouldBlock:
            return await run.events.receive()
    except trio.EndOfChannel:
        return lost_end(run)
