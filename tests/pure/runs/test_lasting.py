"""The answer of a lasting run: its readers, its end when none is left, and its bounds."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from claude_openai.errors import ApiError, InternalError, RunCancelled, UpstreamError
from claude_openai.protocol.turn.events import Event, TextDelta, TurnCompleted, TurnFailed, Usage
from claude_openai.runs.lasting import LINGER_S, Lasting
from claude_openai.runs.run import Run

END = TurnCompleted("stop", Usage())


class Texts:
    """Encodes each text as a frame, and the end as its name."""

    def __init__(self) -> None:
        self.ended = False

    def frames(self, event: Event) -> Iterator[bytes]:
        self.ended = isinstance(event, TurnCompleted | TurnFailed)
        yield event.text.encode() if isinstance(event, TextDelta) else type(event).__name__.encode()


def run_of(*events: Event, error: ApiError | None = None) -> tuple[Run, list[ApiError]]:
    """A run whose channel has these events and is closed behind them, and the errors with which it is cancelled."""
    send, receive = trio.open_memory_channel[Event](len(events))
    for event in events:
        send.send_nowait(event)
    send.close()
    cancelled: list[ApiError] = []
    return cast("Run", SimpleNamespace(events=receive, error=error, cancel=cancelled.append)), cancelled


async def read(lasting: Lasting, index: int, into: list[bytes]) -> None:
    with lasting.reading():
        while True:
            await lasting.wait(index)
            if len(lasting.frames) <= index:
                return
            into.append(lasting.frames[index])
            index += 1


@pytest.mark.parametrize("index", range(5))
async def test_each_reader_gets_all_frames_from_its_index_on(index: int) -> None:
    lasting, early, late = Lasting(), list[bytes](), list[bytes]()
    frames = [b"a", b"b", b"TurnCompleted"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, lasting, index, early)
        await wait_all_tasks_blocked()
        assert (lasting.readers, lasting.ended) == (1, False)
        await lasting.fill(run_of(TextDelta("a"), TextDelta("b"), END)[0], Texts())
    await read(lasting, index, late)
    assert early == late == frames[index:]
    assert (lasting.size, lasting.readers, lasting.failure) == (sum(map(len, frames)), 0, None)


@pytest.mark.parametrize("error", [None, UpstreamError("It broke.")])
async def test_run_that_stops_without_an_end_fails_with_its_error(error: ApiError | None) -> None:
    lasting = Lasting()
    await lasting.fill(run_of(error=error)[0], Texts())
    assert lasting.failure is error if error else isinstance(lasting.failure, InternalError)
    after_a_frame = Lasting()
    await after_a_frame.fill(run_of(TextDelta("a"), error=error)[0], Texts())
    assert (after_a_frame.frames, after_a_frame.failure) == ([b"a", b"TurnFailed"], None)


@pytest.mark.parametrize("bounds", [(2, 100), (100, 2)])
async def test_larger_answer_ends_with_an_error_and_cancels_its_run(bounds: tuple[int, int]) -> None:
    lasting = Lasting(*bounds)
    run, cancelled = run_of(*[TextDelta("a")] * 9, END)
    await lasting.fill(run, Texts())
    assert lasting.frames == [b"a", b"a", b"a", b"TurnFailed"]
    assert [(type(error), error.code) for error in cancelled] == [(RunCancelled, "answer_too_large")]


async def test_run_that_nobody_reads_ends_after_a_while(autojump_clock: MockClock) -> None:
    lasting = Lasting()
    began = trio.current_time()

    async def come_back() -> None:
        for _ in range(3):
            await trio.sleep(LINGER_S - 0.1)
            with lasting.reading():
                await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        await lasting.end_unread()
    assert trio.current_time() - began == pytest.approx(3 * (LINGER_S + 9.9) + LINGER_S)
    assert not lasting.can_be_joined


async def test_those_who_wait_get_the_failure_of_a_run_that_was_never_opened() -> None:
    lasting, failure = Lasting(), UpstreamError("It broke.")
    done: list[str] = []

    async def wait(what: str) -> None:
        waits: dict[str, Any] = {"opened": lasting.wait_opened, "end": lasting.wait_end}
        await waits[what]()
        done.append(what)

    async with trio.open_nursery() as nursery:
        for what in ("opened", "end"):
            nursery.start_soon(wait, what)
        await wait_all_tasks_blocked()
        lasting.end(failure)
        lasting.end(UpstreamError("Another."))
    assert sorted(done) == ["end", "opened"]
    assert lasting.failure is failure


async def test_opened_run_is_seen_by_those_who_wait_for_it() -> None:
    lasting, run = Lasting(), run_of()[0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lasting.wait_opened)
        await wait_all_tasks_blocked()
        lasting.note_opened(run)
    assert lasting.run is run
