"""`Runs.open` without HTTP, for what a connection hides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import BadRequest, QueueFull, ShuttingDown
from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.events import Event, TextDelta, TurnCompleted, TurnFailed, TurnStarted
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.runs.admission import Admission
from claude_openai.runs.registry import CHANNEL_EVENTS, RunLimits, Runs
from claude_openai.runs.run import Run
from claude_openai.testing import Hang, Pause
from tests.scripted_backend import ScriptedBackend, TurnStep, deltas, full_turn

BODY = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}]}'
REQUEST = parse_chat_request(BODY, ModelCatalog("sonnet"))
LIMITS = RunLimits(silence_s=120, total_s=0, stall_s=30)
LIMIT_S = 1000


class Setup:
    """The parts, with one slot and no queue."""

    def __init__(self, *script: TurnStep, cleanup_s: float = 0) -> None:
        self.backend = ScriptedBackend(script, cleanup_s=cleanup_s)
        self.admission = Admission(1, 0)
        self.runs = Runs(self.backend, self.admission, LIMITS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Run]:
        with trio.fail_after(LIMIT_S):
            async with self.runs.open(REQUEST, NULL_LOG) as run:
                yield run
        assert (self.admission.running, self.admission.queued, self.backend.active) == (0, 0, 0)
        assert not self.runs._active


async def events_of(run: Run) -> list[Event]:
    return [event async for event in run.events]


async def test_the_events_of_a_run_end_with_it() -> None:
    async with Setup(*full_turn("a")).open() as run:
        assert [type(event).__name__ for event in await events_of(run)] == ["TurnStarted", "TextDelta", "TurnCompleted"]
        assert (run.state, run.error) == ("completed", None)


async def test_the_silence_of_claude_begins_when_its_last_event_is_taken() -> None:
    async with Setup(TurnStarted("claude"), *deltas(CHANNEL_EVENTS), Hang()).open() as run:
        await trio.sleep(20)
        *_, end = await events_of(run)
        assert trio.current_time() == 20 + LIMITS.silence_s
        assert isinstance(end, TurnFailed)
        assert "the last was text, 120.0 s ago" in end.error.message


async def test_a_run_whose_events_are_not_taken_is_cancelled_even_if_its_response_is_not() -> None:
    setup = Setup(*full_turn(*deltas(2000)))
    async with setup.open() as run:
        await setup.admission.wait_idle()
        assert trio.current_time() == 30 + 1  # the stall, and the wait of the last word
        assert run.error is not None
        assert (run.error.status, run.error.code, run.error.may_retry) == (504, "client_stalled", False)
        said = await events_of(run)
        assert set(said[1:]) == {TextDelta("x")}
    assert setup.backend.turns[0].outcome == "cancelled"


async def test_leaving_the_block_before_the_end_cancels_the_turn() -> None:
    setup = Setup(*full_turn("a", Hang()), cleanup_s=2)
    async with setup.open() as run:
        await run.events.receive()
    assert trio.current_time() == 2
    assert (run.state, setup.backend.turns[0].outcome) == ("cancelled", "cancelled")


async def test_leaving_the_block_after_the_end_waits_for_the_process_and_cancels_nothing() -> None:
    setup = Setup(*full_turn("a"), Pause(2))
    async with setup.open() as run:
        while not isinstance(await run.events.receive(), TurnCompleted):
            pass
    assert trio.current_time() == 2
    assert (run.state, setup.backend.turns[0].outcome) == ("completed", "returned")


async def test_a_block_that_raises_cancels_the_turn() -> None:
    setup = Setup(*full_turn("a", Hang()))

    async def respond() -> None:
        async with setup.open():
            await setup.backend.wait_for_turn()
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        await respond()
    assert setup.backend.turns[0].outcome == "cancelled"


async def test_cancelled_run_reports_the_reason_once_and_ends() -> None:
    setup = Setup(*full_turn("a", Hang()))
    why, later = ShuttingDown("the first"), BadRequest("the second")
    async with setup.open() as run:
        await setup.backend.wait_for_turn()
        await wait_all_tasks_blocked()
        run.cancel(why)
        run.cancel(later)
        assert (await events_of(run))[-1] == TurnFailed(why)
        assert run.error is why
    assert setup.backend.turns[0].cancel_reason == "the first"


async def test_a_run_that_completed_is_not_failed_by_a_late_cancel() -> None:
    setup = Setup(*full_turn("a"), Hang())
    async with setup.open() as run:
        await setup.backend.wait_for_turn()
        await wait_all_tasks_blocked()
        run.cancel(ShuttingDown("too late"))
        assert isinstance((await events_of(run))[-1], TurnCompleted)
        assert (run.state, run.error) == ("completed", None)


async def test_a_request_that_finds_no_place_starts_nothing() -> None:
    setup = Setup(*full_turn("a", Hang()))
    async with setup.open():
        await setup.backend.wait_for_turn()
        with pytest.raises(QueueFull):
            await setup.runs.open(REQUEST, NULL_LOG).__aenter__()
        assert len(setup.runs._active) == len(setup.backend.turns) == 1
