"""A client that goes away takes its turn with it: upstream connection, process and slot, at once and at any moment."""

import os
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.testing import Answer, Hang, Pause, Reply, Text
from tests.real.call import Call, chat
from tests.real.fake_cli import ANSWER, fake_cli
from tests.real.harness import Served, needs_claude, on_both_backends, serving, until

pytestmark = needs_claude

NOTICED_S = 30.0
RETRY_S = 0.02
ONE_SLOT: dict[str, Any] = {"max_concurrency": 1, "max_queue_size": 0}
HISTORY = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
HANGS = [
    pytest.param(Reply(before_headers=[Hang()]), False, id="before Claude says anything"),
    pytest.param(Reply(Text("one", Hang())), True, id="in the answer"),
]


async def answers(served: Served) -> None:
    """The slot is free and a turn works; while the last one ends it may still be refused."""
    while True:
        await trio.sleep(RETRY_S)
        async with Call.open(served.url, chat("Again")) as call:
            if await call.status() == 429:
                continue
            assert b'"finish_reason":"stop"' in await call.body()
            return


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
@pytest.mark.parametrize(("reply", "says_something"), HANGS)
async def test_a_client_that_leaves_ends_its_turn(
    tmp_path: Path, reply: Answer, says_something: bool, stream: bool, reset: bool
) -> None:
    async with serving(tmp_path, **ONE_SLOT) as served:
        served.api.enqueue(reply)
        async with Call.open(served.url, chat("Hi", stream=stream)) as call:
            request = await served.api.wait_for_request()
            if says_something and stream:
                assert await call.status() == 200
                await call.until_text("one")
            call.leave(reset=reset)
            with trio.fail_after(NOTICED_S):
                await request.disconnected.wait()
        await served.processes.wait_no_claude()
        await answers(served)
        assert len(served.api.requests) == 2


@pytest.mark.long
async def test_half_close_ends_the_turn_with_an_error(tmp_path: Path) -> None:
    async with serving(tmp_path, **ONE_SLOT) as served:
        served.api.enqueue(Reply(before_headers=[Hang()]))
        async with Call.open(served.url, chat("Hi")) as call:
            request = await served.api.wait_for_request()
            await call.end_sending()
            with trio.fail_after(NOTICED_S):
                await request.disconnected.wait()
            status, error = await call.answer()
        assert (status, error["error"]["code"]) == (400, "client_closed_connection")
        async with Call.open(served.url, None, "/health") as call:
            await call.end_sending()
            assert await call.status() == 200
        await answers(served)


@pytest.mark.long
@on_both_backends
async def test_a_client_that_leaves_before_claude_is_asked_costs_nothing(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, **ONE_SLOT, backend=backend) as served:
        async with Call.open(served.url, chat("Never asked")) as call:
            await until(lambda: bool(served.processes.marked()), "the turn's process has started")
            call.leave()
        await answers(served)
        assert [request.last_user_text for request in served.api.requests] == ["Again"]


async def leaves_at(served: Served, moment_s: float, messages: Any, *, stream: bool, reset: bool) -> None:
    """Ask, and be gone after that many seconds, answered or not."""
    async with Call.open(served.url, chat(messages, stream=stream)) as call:
        with trio.move_on_after(moment_s):
            await call.status()
            await call.body()
        call.leave(reset=reset)


async def many_leave(served: Served, count: int, at_once: int, latest_s: float) -> None:
    chooser = random.Random(count)  # noqa: S311 - the same moments on every run
    places = trio.CapacityLimiter(at_once)

    async def one() -> None:
        async with places:
            moment_s = chooser.uniform(0, latest_s)
            messages, stream, reset = chooser.choice(["Hi", HISTORY]), chooser.random() < 0.7, chooser.random() < 0.5
            await leaves_at(served, moment_s, messages, stream=stream, reset=reset)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)


async def nothing_is_left(served: Served) -> None:
    await served.processes.wait_no_claude()
    await until(lambda: not list(served.temporary.glob("*/*.jsonl")), "all transcripts are gone")
    await until(lambda: served.api.active == 0, "no upstream call is under way")
    await answers(served)
    assert [line for line in (await served.whole_log()).splitlines() if '"level":"error"' in line] == []


@pytest.mark.long
async def test_thirty_clients_that_leave_at_any_moment_leave_nothing_behind(tmp_path: Path) -> None:
    words = [piece for number in range(30) for piece in (f"{number} ", Pause(0.005))]
    async with serving(tmp_path, Reply(Text(*words)), max_concurrency=3) as served:
        await many_leave(served, count=30, at_once=3, latest_s=0.8)
        await nothing_is_left(served)


@pytest.mark.long
@on_both_backends
async def test_ten_turns_that_are_cancelled_at_once_leave_nothing_behind(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, max_concurrency=10, backend=backend) as served:
        served.api.enqueue(*[Reply(Text("one", Hang()))] * 10)
        async with AsyncExitStack() as stack:
            calls = [
                await stack.enter_async_context(Call.open(served.url, chat(messages, stream=True)))
                for messages in ("Hi", HISTORY)
                for _ in range(5)
            ]
            for call in calls:
                assert await call.status() == 200
                await call.until_text("one")
            assert len(served.processes.marked()) >= 10
            for call in calls:
                call.leave()
        await nothing_is_left(served)


@pytest.mark.long
@on_both_backends
async def test_two_hundred_clients_that_leave_a_quick_claude_leave_nothing_behind(tmp_path: Path, backend: str) -> None:
    async with serving(
        tmp_path, claude_command=fake_cli(tmp_path, ANSWER), max_concurrency=4, backend=backend
    ) as served:
        await answers(served)  # once the SDK is loaded
        await many_leave(served, count=200, at_once=8, latest_s=0.08)
        await nothing_is_left(served)


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_a_claude_that_is_killed_ends_its_answer_with_an_error_and_harms_no_other(
    tmp_path: Path, stream: bool
) -> None:
    async with serving(tmp_path, **ONE_SLOT) as served:
        served.api.enqueue(Reply(Text("one", Hang())))
        async with Call.open(served.url, chat("Hi", stream=stream)) as call:
            if stream:
                assert await call.status() == 200
                await call.until_text("one")
            else:
                await served.api.wait_for_request()
            for pid in served.processes.marked():
                os.kill(pid, signal.SIGKILL)
            error = await call.failure(502, stream=stream)
            assert error["type"] == "upstream_error"
            assert "exit status -9" in error["message"]
        await answers(served)
