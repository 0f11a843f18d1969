"""Work beside the event loop."""

import threading

import pytest
import trio
import trio.testing

from claude_openai.offload import MAX_THREADS, in_thread


async def test_the_event_loop_goes_on_while_work_is_done() -> None:
    go_on = threading.Event()

    async def loop_is_free() -> None:
        go_on.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop_is_free)
        assert await in_thread(lambda: go_on.wait(60)) is True


async def test_what_the_work_raises_is_raised() -> None:
    nothing: dict[str, int] = {}
    with pytest.raises(LookupError, match="lost"):
        await in_thread(lambda: nothing["lost"])


async def test_no_more_work_is_done_at_once_than_there_are_threads() -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def work() -> bool:
        begun.release()
        return go_on.wait(60)

    async with trio.open_nursery() as nursery:
        for _ in range(MAX_THREADS + 3):
            nursery.start_soon(in_thread, work)
        for _ in range(MAX_THREADS):
            assert await trio.to_thread.run_sync(begun.acquire, True, 60)
        await trio.testing.wait_all_tasks_blocked()
        assert not begun.acquire(blocking=False)
        go_on.set()
    assert [begun.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]


async def test_a_cancel_leaves_no_work_behind() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(60)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, work)
        assert await trio.to_thread.run_sync(begun.wait, 60)
        nursery.cancel_scope.cancel()
        go_on.set()
    assert ended.is_set()
