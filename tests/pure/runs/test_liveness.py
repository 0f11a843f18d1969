"""A turn is cancelled after a time without a sign of life, or after its whole time."""

import trio
from trio.testing import MockClock

from claude_openai.runs.liveness import Liveness


async def cancelled_at(liveness: Liveness) -> float:
    with trio.CancelScope() as turn:
        await liveness.watch(turn)
        await trio.sleep_forever()
    return trio.current_time()


async def test_turn_without_a_sign_of_life_is_cancelled(autojump_clock: MockClock) -> None:
    began, liveness = trio.current_time(), Liveness(10, 0)
    assert await cancelled_at(liveness) == began + 10
    assert liveness.expired is not None
    assert "for 10 s (--process-timeout-ms); there was none since the turn began" in liveness.expired.message


async def test_a_sign_counts_from_its_time_and_an_announcement_from_its_end(autojump_clock: MockClock) -> None:
    began, liveness = trio.current_time(), Liveness(10, 0)
    await trio.sleep(5)
    liveness.alive("a retry", 20)
    assert await cancelled_at(liveness) == began + 35
    assert liveness.expired is not None
    assert "the last was a retry, 30.0 s ago" in liveness.expired.message


async def test_the_whole_time_ends_a_turn_with_signs_of_life(autojump_clock: MockClock) -> None:
    began, liveness = trio.current_time(), Liveness(10, 12)
    await trio.sleep(9)
    liveness.note("text")
    assert await cancelled_at(liveness) == began + 12
    assert liveness.expired is not None
    assert (liveness.expired.code, liveness.expired.may_retry) == ("turn_timeout", False)


async def test_wait_for_the_client_is_not_silence(autojump_clock: MockClock) -> None:
    began, liveness = trio.current_time(), Liveness(10, 0)
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            with liveness.held():
                await trio.sleep(100)

        nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        assert await cancelled_at(liveness) == began + 110
