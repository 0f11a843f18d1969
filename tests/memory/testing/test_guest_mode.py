"""`fake_claude` in a trio loop that is the guest of asyncio's: it answers, clients of both loops use it, it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import openai
import outcome
import pytest
import trio
from trio.testing import MockClock

from claude_openai.testing import FakeClaude, Hang, Pause, Reply, ScriptError, fake_claude

# The openai package does not close the generators of its streams (3.57), which trio reports.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}
LIMIT_S = 60
T = TypeVar("T")


def start_guest(
    program: Callable[[], Awaitable[T]], clock: MockClock | None = None
) -> asyncio.Future[outcome.Outcome[T]]:
    """Start a trio program in the running loop of asyncio."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[outcome.Outcome[T]] = loop.create_future()
    trio.lowlevel.start_guest_run(
        program,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
        clock=clock,
    )
    return ended


class Guest:
    """A fake in a guest run, for a program on asyncio."""

    def __init__(self, *answers: Any) -> None:
        self._answers = answers
        self._stop = trio.Event()
        self._started: asyncio.Future[FakeClaude] = asyncio.get_running_loop().create_future()
        self._ended = start_guest(self._serve)

    async def __aenter__(self) -> FakeClaude:
        return await self._started

    async def __aexit__(self, *_error: object) -> None:
        self._stop.set()
        (await self._ended).unwrap()

    async def _serve(self) -> None:
        async with fake_claude(*self._answers) as claude:
            self._started.set_result(claude)
            await self._stop.wait()


def asyncio_client(claude: FakeClaude) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=claude.url, api_key=claude.api_key, http_client=http, max_retries=0)


def run(program: Callable[[], Awaitable[None]]) -> None:
    """Run a program on asyncio, after which no task may be left."""

    async def main() -> None:
        await asyncio.wait_for(program(), LIMIT_S)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main(), debug=True)


@pytest.mark.parametrize("clock", [None, MockClock(autojump_threshold=0)], ids=["real", "mock"])
def test_client_in_memory_gets_the_script_and_no_time_passes_but_the_scripts(clock: MockClock | None) -> None:
    pause_s = 0 if clock is None else 60

    async def guest() -> float:
        async with fake_claude(Reply("Hel", Pause(pause_s), "lo")) as claude:
            began = trio.current_time()
            answer = await claude.openai().chat.completions.create(**CHAT)
            assert answer.choices[0].message.content == "Hello"
            return trio.current_time() - began

    async def host() -> None:
        passed = (await start_guest(guest, clock)).unwrap()
        assert clock is None or passed == pause_s

    run(host)


def test_client_on_asyncio_gets_the_script_and_leaving_cancels_its_turn() -> None:
    async def host() -> None:
        async with Guest("Hello") as claude:
            claude.answer(Reply("Hel", Hang()))
            async with asyncio_client(claude) as client:
                answer = await client.chat.completions.create(**CHAT)
                assert answer.choices[0].message.content == "Hello"
                async with await client.chat.completions.create(**CHAT, stream=True) as chunks:
                    async for chunk in chunks:
                        if chunk.choices[0].delta.content:
                            break
        assert [(each.outcome, each.received) for each in claude.requests] == [
            ("completed", "Hello"),
            ("cancelled", "Hel"),
        ]

    run(host)


def test_script_that_was_not_followed_fails_in_the_host() -> None:
    async def host() -> None:
        with pytest.raises(ScriptError, match=r"answer 1 .* was not asked for"):
            async with Guest("Hello"):
                pass

    run(host)


def test_host_that_is_cancelled_ends_the_fake_and_its_turns() -> None:
    claudes: list[FakeClaude] = []

    async def agent(asked: asyncio.Event) -> None:
        def hang(_request: object) -> Reply:
            asked.set()
            return Reply(Hang())

        async with Guest(hang) as claude:
            claudes.append(claude)
            async with asyncio_client(claude) as client:
                await client.chat.completions.create(**CHAT)

    async def host() -> None:
        asked = asyncio.Event()
        task = asyncio.create_task(agent(asked))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(host)
    assert [request.outcome for claude in claudes for request in claude.requests] == ["cancelled"]
