"""Which runs have changed, for those who watch."""

from collections.abc import Callable

import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.runs.changes import RunChanges


async def test_changes_are_collected_in_order_while_there_is_a_watcher() -> None:
    changes, forgotten = RunChanges(), list[None]()
    changes.note("before")
    with changes.watched(lambda: forgotten.append(None)):
        with changes.watched(lambda: forgotten.append(None)):
            for run_id in ("b", "a", "b"):
                changes.note(run_id)
        assert (changes.begin(), forgotten) == (["b", "a"], [])
        changes.taken("b")
        assert changes.begin() == ["a"]
    assert (changes.begin(), changes.watchers, forgotten) == ([], 0, [None])


async def test_a_wait_ends_with_a_change_or_when_it_is_woken() -> None:
    changes, ended = RunChanges(), list[str]()

    async def wait(name: str) -> None:
        await changes.wait()
        ended.append(name)

    with changes.watched(lambda: None):
        async with trio.open_nursery() as nursery:
            ends: dict[str, Callable[[], None]] = {"changed": lambda: changes.note("a"), "woken": changes.wake}
            for name, end in ends.items():
                changes.begin()
                nursery.start_soon(wait, name)
                await wait_all_tasks_blocked()
                assert name not in ended
                end()
                await wait_all_tasks_blocked()
    assert ended == ["changed", "woken"]
