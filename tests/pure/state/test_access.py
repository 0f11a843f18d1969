"""Accesses to a state store: bounded in time, number and size, in order, with one log line for each change."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.state import access as access_module
from claude_openai.state.access import MAX_WRITES, WRITE_S, StateAccess
from claude_openai.state.store import ACCESS_S
from tests.state_in_memory import StateInMemory

T = TypeVar("T")


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def here(work: Callable[[], T]) -> T:
    return work()


@asynccontextmanager
async def accessing(state: StateInMemory) -> AsyncIterator[tuple[StateAccess, list[str]]]:
    events: list[str] = []

    def note(line: bytes) -> None:
        record: dict[str, Any] = json.loads(line)
        events.append(f"{record['event']}: {record['access']}, {record.get('reason')}")

    async with trio.open_nursery() as nursery:
        yield StateAccess(state, 60, lambda: nursery, here, Log(Level.TRACE, note, Redactor())), events


def put(access: StateAccess, name: str, value: bytes = b"1", size: int = 1) -> trio.Event:
    return access.put([name], lambda: {name: value}, size)


async def test_values_are_written_in_order_however_long_the_first_takes(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.takes_s = 0.1
    async with accessing(state) as (access, _):
        values = [b"%d" % number for number in range(20)]
        written = [put(access, "a", value) for value in values]
        await written[0].wait()
        assert not access.is_written("a")
        for index, event in enumerate(written):
            await event.wait()
            assert state.values == {"a": values[index]}
        assert access.is_written("a")


async def test_an_access_to_a_store_that_hangs_ends_at_its_bound_and_is_logged_once(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.takes_s = 1000
    async with accessing(state) as (access, events):
        for _ in range(2):
            begin = trio.current_time()
            assert not await access.read(lambda: access.get(["a"]), in_memory=True)
            assert trio.current_time() - begin == pytest.approx(ACCESS_S)
            assert not await access.delete(["a"])
            assert await access.clear() is None
            assert trio.current_time() - begin == pytest.approx(ACCESS_S + 2 * WRITE_S)
        state.takes_s = 0
        assert access.problem == "no answer within 3000 ms; no answer within 50 ms"
        assert await access.read(lambda: access.get(["a"]), in_memory=True)
        assert await access.clear() == 0
    assert access.problem == ""
    assert events == [
        "state.failed: read, no answer within 50 ms",
        "state.failed: write, no answer within 3000 ms",
        "state.works_again: read, None",
        "state.works_again: write, None",
    ]


async def test_the_reason_of_a_failure_is_logged_with_its_place(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with accessing(state) as (access, events):
        state.problem = "The disk is full."
        await put(access, "a").wait()
        assert (access.problem, access.is_written("a")) == ("The disk is full.", False)
        state.problem = ""
        await put(access, "a").wait()
        assert (access.problem, access.is_written("a")) == ("", True)
    assert events == ["state.failed: write, the store: The disk is full.", "state.works_again: write, None"]


async def test_write_that_has_begun_is_finished_when_the_server_stops(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.takes_s = 1
    async with accessing(state) as (access, _):
        done = put(access, "a")
        access.nursery().cancel_scope.cancel()
    assert done.is_set()
    assert state.values == {"a": b"1"}


async def test_write_after_the_end_of_the_server_is_not_begun(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with accessing(state) as (access, _):
        pass
    assert put(access, "a").is_set()
    assert not await access.delete(["a"])
    assert not access.is_written("a")


@pytest.mark.parametrize(("count", "size"), [(MAX_WRITES, 1), (2, access_module.MAX_WRITING_BYTES // 2)])
async def test_too_many_values_at_once_stay_in_memory(autojump_clock: MockClock, count: int, size: int) -> None:
    state = StateInMemory()
    state.takes_s = 0.001
    async with accessing(state) as (access, events):
        waiting = [put(access, str(number), size=size) for number in range(count)]
        assert not any(each.is_set() for each in waiting)
        assert put(access, "more").is_set()
        assert access.problem == "too many values wait to be stored"
        await waiting[-1].wait()
        assert (len(state.values), access.is_written("more")) == (count, False)
        await put(access, "more").wait()
        assert access.is_written("more")
    assert [event.split(":")[0] for event in events] == ["state.failed", "state.works_again"]


async def test_number_of_unwritten_names_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "MAX_UNWRITTEN", 2)
    state = StateInMemory()
    state.problem = "It is gone."
    async with accessing(state) as (access, _):
        for name in "abc":
            await put(access, name).wait()
        assert [access.is_written(name) for name in "abc"] == [True, False, False]
