"""Answers requests from lasting runs, which requests may join and leave.

The contexts of the run are those of its task, in the nursery of the registry, so a client that leaves ends only its own
reading. What the task raises is raised for the readers.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import trio
from quart import Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai.errors import ApiError, ShuttingDown
from claude_openai.logs.log import Log, traceback_of
from claude_openai.protocol.turn.events import Event
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.runs.lasting import Answer, Lasting, Settle
from claude_openai.runs.registry import Runs
from claude_openai.runs.run import Run
from claude_openai.web.http.event_stream import Frames, LastingBody
from claude_openai.web.http.exchange import exchange_of
from claude_openai.web.joining import Joinable, Joined
from claude_openai.web.json_response import EVENT_STREAM

__all__ = ["LastingTurns", "Opening", "StreamedAnswer", "Whole", "WholeAnswer"]

# Opens the run of a request on a stack.
Opening: TypeAlias = Callable[[AsyncExitStack], Awaitable[Run]]


class Whole(Protocol):
    """Makes one object of the events of a turn; its `result` raises the error of a turn that failed."""

    @property
    def ended(self) -> bool: ...

    def feed(self, event: Event) -> None: ...

    def result(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """A stream as an `Answer`."""

    chunks: Frames

    @property
    def ended(self) -> bool:
        return self.chunks.ended

    def frames(self, event: Event) -> Iterator[bytes]:
        yield self.chunks.feed(event)


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """One object as an `Answer`, which has one frame. `note` is called with the object, if it is not None."""

    whole: Whole
    note: Callable[[Mapping[str, Any]], None] | None

    @property
    def ended(self) -> bool:
        return self.whole.ended

    def frames(self, event: Event) -> Iterator[bytes]:
        self.whole.feed(event)
        if self.whole.ended:
            result = self.whole.result()
            if self.note is not None:
                self.note(result)
            yield encode_json(result)


@dataclass(frozen=True, slots=True)
class LastingTurns:
    """Starts lasting runs, and reads them.

    Attributes:
        runs: the registry.
        hold_s: how long the status line of a stream waits for its first frame.
        comment_interval_s: as for `EventStreamBody`.
        keeps: whether answers are kept for their keys after the end.
        joined: the turns that requests may join.
    """

    runs: Runs
    hold_s: float
    comment_interval_s: float
    keeps: bool
    joined: Joined = field(default_factory=Joined)

    async def answer(
        self, asked: Joinable, opening: Opening, answer: Answer, settle: Settle | None, *, stream: bool
    ) -> Response:
        """Join the turn of an earlier request, or begin one, and answer from it.

        Raises:
            ApiError: as `Runs.open`; or the whole answer is an error.
            IdempotencyKeyReused: as `Joined.find`.
        """
        lasting = self.join(asked)
        if lasting is not None:
            return await self.read(lasting, stream=stream)
        lasting = Lasting(settle=settle)
        with lasting.reading():
            self.begin(asked, lasting, opening, answer)
            return await self.read(lasting, stream=stream)

    def join(self, asked: Joinable) -> Lasting | None:
        """Return the run that the current request joins.

        Raises:
            IdempotencyKeyReused: as `Joined.find`.
        """
        lasting = self.joined.find(asked)
        if lasting is not None:
            exchange = exchange_of(request.scope)
            exchange.log.debug("run.join", by_key=bool(asked.key))
            exchange.headers["x-claude-openai-joined"] = "true"
        return lasting

    def begin(
        self,
        asked: Joinable | None,
        lasting: Lasting,
        opening: Opening,
        answer: Answer,
        *,
        ends_unread: bool = True,
    ) -> None:
        """Start the task of a lasting run.

        Args:
            asked: the current request, as others may join it; None if none may.
            lasting: the run.
            opening: opens it.
            answer: encodes its answer.
            ends_unread: whether it ends when nothing reads it.
        """
        log = exchange_of(request.scope).log

        async def live() -> None:
            try:
                with lasting.scope:
                    async with trio.open_nursery() as nursery:
                        if ends_unread:
                            nursery.start_soon(lasting.end_unread)
                        await self._run(lasting, opening, answer, log)
                        if asked is not None and not asked.key:
                            await lasting.wait_read()
                        nursery.cancel_scope.cancel(reason="the turn is over")
            finally:
                if asked is not None:
                    self.joined.note_end(asked, lasting, keep=self.keeps and _may_be_kept(lasting))
                lasting.end(ShuttingDown("The server is shutting down.", may_retry=False))
                # Copies do not keep the request in memory, as the run and the traceback of the error do.
                lasting.failure = copy(lasting.failure)
                lasting.run = None if lasting.run is None else self.runs.get(lasting.run.id)

        if asked is not None:
            self.joined.add(asked, lasting)
        self.runs.nursery.start_soon(live, name="lasting run")

    async def read(self, lasting: Lasting, *, stream: bool, index: int = 0) -> Response:
        """Answer the current request from a lasting run.

        Args:
            lasting: the run.
            stream: whether the answer is a stream.
            index: of the first frame to send.
        """
        exchange = exchange_of(request.scope)
        exchange.stack.enter_context(lasting.reading())
        await lasting.wait_opened()
        run = exchange.run = lasting.run
        if stream:
            with trio.move_on_after(self.hold_s):
                await lasting.wait(index)
        else:
            await lasting.wait_end()
        if run is not None:
            exchange.headers["x-claude-openai-run"] = run.id
            if run.record.conversation is not None:
                exchange.headers["x-claude-openai-conversation"] = run.record.conversation
        if lasting.failure is not None and index == 0:
            raise copy(lasting.failure)
        if not stream:
            return TrioResponse(lasting.frames[0], headers={"content-type": "application/json"})
        return TrioResponse(LastingBody(lasting, index, self.comment_interval_s), headers=EVENT_STREAM)

    async def _run(self, lasting: Lasting, opening: Opening, answer: Answer, log: Log) -> None:
        # The failure is taken inside the stack, whose nursery would put it into a group.
        async with AsyncExitStack() as stack:
            try:
                run = await opening(stack)
                lasting.note_opened(run)
                await lasting.fill(run, answer)
            except Exception as error:  # noqa: BLE001 - it is raised for the readers
                if not isinstance(error, ApiError):
                    log.error("run.crashed", error=error, traceback=traceback_of(error))
                lasting.end(error)


def _may_be_kept(lasting: Lasting) -> bool:
    """Whether an answer is worth keeping for its key: it is whole, or an error of a turn that has cost something."""
    is_crash = lasting.failure is not None and not isinstance(lasting.failure, ApiError)
    has_begun = lasting.run is not None and lasting.run.answering
    return has_begun and lasting.ended and lasting.can_be_joined and not is_crash
