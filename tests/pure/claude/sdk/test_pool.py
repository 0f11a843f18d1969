"""Leases of conversations: how a request gets one, and what becomes of it. No Claude Code takes part."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from claude_openai.claude.process.launcher import ProcessSpec
from claude_openai.claude.sdk.conversation_state import TurnOutcome
from claude_openai.claude.sdk.pool import ConversationPool, Lease
from claude_openai.claude.sdk.settings import SdkSettings
from claude_openai.claude.transcript.session_file import Past
from claude_openai.protocol.turn.blocks import Message, ThinkingBlock, ToolUseBlock
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.protocol.turn.request import TurnRequest
from tests.pure.claude.sdk.conversations import HELLO, Events, asked, going_on, idle_one, parked_one, spec, with_results

BIND_WAIT_S = 3.0
Pool = Callable[..., ConversationPool]


class SilentProcess:
    """A process that takes what is written, and says nothing."""

    running = True
    exit_code = None
    unread = 0

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def read(self) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def wait_exit(self) -> None:
        await trio.sleep_forever()

    async def stop(self, *, grace_s: float) -> None:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def silent() -> AsyncIterator[Any]:
    yield SilentProcess()


def not_started() -> Any:
    raise OSError("no memory")


class StandInLauncher:
    """Spares start and are silent; other processes cannot be started, unless `opened` is replaced.

    Attributes:
        pasts: those for which a transcript was written.
    """

    def __init__(self) -> None:
        self.opened: Callable[[], Any] = not_started
        self.pasts: list[Past] = []

    @asynccontextmanager
    async def transcript(self, past: Past) -> AsyncIterator[Path | None]:
        self.pasts.append(past)
        yield None

    def spawn(self, model: str, **_: Any) -> ProcessSpec:
        return spec(self.opened)

    def spawn_spare(self, model: str, notes: Any, **_: Any) -> ProcessSpec:
        return spec(silent)


class NoNotes:
    async def notes_for(self, request: TurnRequest) -> tuple[()]:
        return await self.notes(request.claude_model)

    async def notes(self, model: str) -> tuple[()]:
        await trio.lowlevel.checkpoint()
        return ()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def launcher() -> StandInLauncher:
    return StandInLauncher()


@pytest.fixture
async def pool(launcher: StandInLauncher, events: Events) -> AsyncIterator[Pool]:
    """Makes a pool; what it starts ends with the test."""
    async with trio.open_nursery() as nursery:

        def make(kept: int = 4, spares: int = 0) -> ConversationPool:
            settings = SdkSettings(
                kept, idle_s=60, parked_s=600, spares=spares, default_model="sonnet", bind_wait_s=BIND_WAIT_S
            )
            made = ConversationPool(cast("Any", launcher), cast("Any", NoNotes()), settings, events.log, nursery)
            nursery.start_soon(made.spares.refill)
            return made

        yield make
        nursery.cancel_scope.cancel()


async def test_lease_whose_turn_ended_well_keeps_the_conversation(pool: Pool, events: Events) -> None:
    one_pool, one = pool(), idle_one()
    one_pool.kept.keep(one)
    for _ in range(2):
        async with one_pool.lease(going_on(), events.log) as lease:
            assert lease == Lease(one, "continued", replaceable=True)
            assert one_pool.counts() == {"spares": 0, "idle": 0, "parked": 0}
            one.answer_again()
        assert one_pool.counts() == {"spares": 0, "idle": 1, "parked": 0}
        assert one.process.alive
    assert [record["way"] for record in events.of("conversation.taken")] == ["continued", "continued"]


async def test_lease_whose_turn_was_cut_off_closes_the_conversation(pool: Pool, events: Events) -> None:
    one_pool, one = pool(), parked_one("a")
    one_pool.kept.keep(one)
    with trio.CancelScope() as scope:
        async with one_pool.lease(with_results("a", calls=("a",)), events.log) as lease:
            assert lease.route == "parked"
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert not one.process.alive
    assert one_pool.counts() == {"spares": 0, "idle": 0, "parked": 0}


async def test_lease_where_none_may_be_kept_closes_the_conversation(pool: Pool, events: Events) -> None:
    async with pool(kept=0).lease(going_on(), events.log) as lease:
        lease.conversation.state = idle_one().state
    assert not lease.conversation.process.alive
    assert events.of("conversation.evicted") == []


@pytest.mark.parametrize("how", ["reset", "in a new process"])
async def test_lease_of_a_new_conversation_leaves_waiting_ones(
    pool: Pool, events: Events, launcher: StandInLauncher, how: str
) -> None:
    one_pool, one = pool(), idle_one()
    one_pool.kept.keep(one)
    request = going_on(claude={"resetSession": True}) if how == "reset" else going_on()
    async with one_pool.lease(request, events.log, in_new_process=how != "reset") as lease:
        assert (lease.route, lease.replaceable) == ("replayed", False)
        assert lease.conversation is not one
    assert one.process.alive
    assert [past.turns for past in launcher.pasts] == [request.turns]


async def test_lease_of_a_process_that_was_not_started_fails_the_turn(pool: Pool, events: Events) -> None:
    failures: list[Any] = []

    async def emit(event: Any) -> None:
        failures.append(event)

    request = asked(*HELLO)
    async with pool().lease(request, events.log) as lease:
        assert (lease.route, lease.replaceable) == ("new", False)
        await lease.conversation.answer(request, lease.route, cast("Any", emit), replaceable=False)
    (failure,) = failures
    assert isinstance(failure, TurnFailed)
    assert "could not be started: no memory" in failure.error.message
    assert [record["kind"] for record in events.of("sdk.error")] == ["not_started"]


async def test_lease_of_a_silent_spare_can_be_replaced_after_a_bounded_wait(
    pool: Pool, events: Events, autojump_clock: MockClock
) -> None:
    one_pool = pool(spares=1)
    await trio.sleep(0.1)
    assert one_pool.counts()["spares"] == 1
    before = trio.current_time()
    async with one_pool.lease(asked(*HELLO), events.log) as lease:
        assert trio.current_time() == before + BIND_WAIT_S
        assert (lease.route, lease.replaceable) == ("new", True)
        assert lease.conversation.process.client is None
        assert lease.conversation.process.failure == "a waiting process did not answer within 3 s"
        assert not lease.conversation.process.alive
    assert not lease.conversation.process.alive


async def test_lease_that_is_cancelled_before_its_spare_answers_ends_the_spare(
    pool: Pool, events: Events, autojump_clock: MockClock
) -> None:
    one_pool = pool(spares=1)
    await trio.sleep(0.1)
    with trio.move_on_after(BIND_WAIT_S / 2) as waiting:
        async with one_pool.lease(asked(*HELLO), events.log):
            raise AssertionError("a silent process was lent")
    assert waiting.cancelled_caught
    assert len(events.of("conversation.gone")) == 1
    assert events.of("conversation.taken") == []


async def test_lease_that_is_cancelled_while_its_process_starts_leaves_no_task(
    pool: Pool, events: Events, launcher: StandInLauncher, autojump_clock: MockClock
) -> None:
    ended: list[bool] = []

    @asynccontextmanager
    async def slow() -> AsyncIterator[Any]:
        try:
            await trio.sleep(inf)
            yield
        finally:
            ended.append(True)

    launcher.opened = slow
    with trio.move_on_after(1) as waiting:
        async with pool().lease(asked(*HELLO), events.log):
            raise AssertionError("a process that has not started was lent")
    assert waiting.cancelled_caught
    assert ended == [True]


async def test_lease_past_calls_that_wait_ends_them(pool: Pool, events: Events) -> None:
    one_pool, one = pool(), parked_one("a")
    one_pool.kept.keep(one)
    async with one_pool.lease(with_results("a", calls=("a",), more=({"role": "user", "content": "So?"},)), events.log):
        assert not one.process.alive
    assert len(events.of("conversation.passed")) == 1


async def test_thinking_of_a_turn_with_calls_is_in_their_replay(
    pool: Pool, events: Events, launcher: StandInLauncher
) -> None:
    one_pool, one = pool(), parked_one("a")
    thought = ThinkingBlock("{}", "sonnet")
    one_pool.kept.keep(one)
    async with one_pool.lease(with_results("a", calls=("a",)), events.log):
        one.stand_in.died = True
        answer = Message("assistant", (ToolUseBlock("a", "read", "{}"),))
        outcome = TurnOutcome(answer, "", ("a",), (thought,), exact=True, reusable=True)
        one.state = one.state.after(asked(*HELLO), outcome, alive=one.process.alive)
    request = with_results("a", calls=("a",))
    async with one_pool.lease(request, events.log) as lease:
        assert lease.route == "replayed"
    (past,) = launcher.pasts
    assert past.turns[1] == Message("assistant", (thought, ToolUseBlock("a", "read", "{}")))
