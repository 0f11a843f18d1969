"""`fake_claude` in a loop with an instrument: it works as without, and each of its tasks ends."""

from collections import Counter
from typing import Any

import openai
import pytest
import trio
from trio.testing import MockClock

from claude_openai.testing import Pause, Reply, fake_claude

CHAT: dict[str, Any] = {"model": "claude-sonnet", "messages": [{"role": "user", "content": "Hi"}]}


class Tasks(trio.abc.Instrument):
    """Counts the tasks that are alive."""

    def __init__(self) -> None:
        self.alive: Counter[str] = Counter()

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.alive[task.name] += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self.alive[task.name] -= 1


@pytest.mark.parametrize("has_socket", [False, True])
def test_fake_works_under_an_instrument_and_leaves_no_task(has_socket: bool) -> None:
    tasks = Tasks()

    async def main() -> float:
        before = +tasks.alive
        async with fake_claude(Reply("Hel", Pause(60), "lo")) as claude:
            options: dict[str, Any] = {}
            if has_socket:
                options = {"base_url": claude.url, "http_client": openai.DefaultAsyncHttpxClient(trust_env=False)}
            answer = await claude.openai(**options).chat.completions.create(**CHAT)
            assert answer.choices[0].message.content == "Hello"
            assert +tasks.alive > before
        assert +tasks.alive == before
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0), instruments=[tasks]) == 60
