"""Reading responses from a state store into memory, where the newer state of both is kept."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import MockClock

from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.openai.responses.item_store import ItemStore
from claude_openai.protocol.openai.responses.response_store import MAX_EARLIER, ResponseStore
from claude_openai.protocol.openai.responses.stored_form import KeptInput
from claude_openai.state.access import StateAccess
from claude_openai.state.store import ACCESS_S
from claude_openai.web.shared_responses import ALIVE_S, BEAT_S, Collected, SharedResponses
from tests.state_in_memory import StateInMemory

T = TypeVar("T")
ME = "me"


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def here(work: Callable[[], T]) -> T:
    return work()


@asynccontextmanager
async def sharing(*states: StateInMemory) -> AsyncIterator[list[SharedResponses]]:
    """Yield servers with these stores, on the clock of the test."""
    async with trio.open_nursery() as nursery:
        yield [
            SharedResponses(
                StateAccess(state, 60, lambda: nursery, here, NULL_LOG),
                ItemStore(),
                ResponseStore(),
                now=trio.current_time,
            )
            for state in states
        ]


async def keep(server: SharedResponses, name: str, previous: str | None = None, status: str = "completed") -> None:
    output: list[dict[str, Any]] = [
        {"id": f"{kind}_{name}", "type": kind, "content": []} for kind in ("message", "reasoning")
    ]
    response = {"id": name, "status": status, "output": output, "previous_response_id": previous}
    server.responses.keep(response, KeptInput.of([name]), ME, 0)
    written = server.write(ME, name)
    assert written is not None
    await written.wait()


def status_of(server: SharedResponses, name: str) -> str:
    return str(json.loads(server.responses.response(name, ME, 0))["status"])


def inputs_of(server: SharedResponses | Collected, name: str) -> list[Any]:
    """Return the inputs of a conversation."""
    items: Any = server.responses.conversation(name, ME, 0).items
    return [item for item in items if isinstance(item, str)]


async def test_conversation_with_more_ids_than_a_value_has_is_read_whole(autojump_clock: MockClock) -> None:
    state, count = StateInMemory(), 2 * MAX_EARLIER + 10
    async with sharing(state, state) as (one, other):
        for number in range(count):
            await keep(one, str(number), str(number - 1) if number else None)
        last = str(count - 1)
        assert (await other.collect(ME, last)).reached
        assert inputs_of(other, last) == [str(number) for number in range(count)]
        assert len(state.gets) == 4
        assert not set(state.gets[-1]) & {name for names in state.gets[:-1] for name in names}


async def test_items_other_than_reasoning_are_read_by_their_ids(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a")
        assert (await other.collect(ME, None, ["message_a", "reasoning_a", "message_b"])).reached
        found = [other.items.recall(name, ME) for name in ("message_a", "reasoning_a", "message_b")]
        assert found == [{"id": "message_a", "type": "message", "content": []}, None, None]
        assert other.items.recall("message_a", "other") is None


async def test_deleted_response_is_dropped_by_all_servers_when_read(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a")
        one.items.remember({"id": "message_a", "type": "message", "content": []}, ME)
        assert await other.delete(ME, "a", ["message_a"])
        assert state.values == {}
        assert (await one.collect(ME, "a", ["message_a"])).reached
        assert (one.responses.form("a"), one.items.recall("message_a", ME)) == (None, None)


async def test_response_written_during_a_read_is_not_dropped(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.takes_s = 0.01
    async with sharing(state) as (one,):
        one.items.remember({"id": "message_a", "type": "message", "content": []}, ME)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, one, "a")
            await trio.sleep(0.005)
            assert (await one.collect(ME, "a", ["message_a"])).reached
        assert one.access.is_written(f"response:{ME}:a")
        assert status_of(one, "a") == "completed"
        assert one.items.recall("message_a", ME) is not None


async def test_unwritten_response_is_not_replaced_by_its_stored_state(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state) as (one,):
        await keep(one, "a", status="in_progress")
        state.problem = "The disk is full."
        await keep(one, "a")
        state.problem = ""
        assert await one.refresh(ME, "a")
        assert status_of(one, "a") == "completed"


async def test_a_response_that_is_too_large_for_the_store_stays_in_memory(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.max_bytes = 10
    async with sharing(state, state) as (one, other):
        await keep(one, "a")
        assert await one.refresh(ME, "a")
        assert status_of(one, "a") == "completed"
        assert await other.refresh(ME, "a")
        assert "a" not in other.responses


async def test_a_read_may_take_longer_if_only_the_store_has_an_answer(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a")
        await keep(one, "b", "a")
        state.takes_s = 2 * ACCESS_S
        assert not (await one.collect(ME, "b")).reached
        found = await other.collect(ME, "b", ["message_a"])
        assert (found.reached, [*found.items]) == (True, ["message_a"])
        assert "a" in found.responses


async def test_conversations_that_memory_has_no_room_for_at_once_are_each_found_whole(
    autojump_clock: MockClock,
) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, small):
        other = replace(small, responses=ResponseStore(max_responses=3), items=ItemStore(max_items=1))
        found = {}
        for name in ("a", "b"):
            await keep(one, f"{name}0")
            await keep(one, f"{name}1", f"{name}0")
            await keep(one, f"{name}2", f"{name}1")

        async def collect(name: str) -> None:
            found[name] = await other.collect(ME, f"{name}2", [f"message_{name}0", f"message_{name}1"])

        state.takes_s = ACCESS_S
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect, "a")
            nursery.start_soon(collect, "b")
        for name, collected in found.items():
            assert inputs_of(collected, f"{name}2") == [f"{name}{number}" for number in range(3)]
            assert [*collected.items] == [f"message_{name}0", f"message_{name}1"]


async def test_an_item_whose_response_was_never_written_is_found_in_memory(autojump_clock: MockClock) -> None:
    item = {"id": "message_a", "type": "message", "content": []}
    async with sharing(StateInMemory()) as (one,):
        one.items.remember(item, ME)
        one.note_item(ME, "message_a")
        assert (await one.collect(ME, None, ["message_a"])).items == {"message_a": item}


async def test_a_request_that_refers_to_nothing_is_no_sign_that_the_store_works(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    state.problem = "It is gone."
    async with sharing(state) as (one,):
        assert not await one.refresh(ME, "a")
        assert (await one.collect(ME, None)).reached
        assert one.access.problem == "It is gone."


async def test_a_store_that_fails_or_is_damaged_changes_nothing_in_memory(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a")
        state.values = dict.fromkeys(state.values, b"damaged")
        for server in (one, other):
            assert (await server.collect(ME, "a", ["message_a"])).reached
        state.problem = "It is gone."
        assert not await one.refresh(ME, "a")
        assert not await one.delete(ME, "a", [])
        assert (status_of(one, "a"), other.responses.form("a")) == ("completed", None)
        assert one.write(ME, "none") is None


async def test_response_is_failed_without_a_recent_sign_of_life(autojump_clock: MockClock) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a", status="in_progress")
        ended = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.show_life, lambda: not ended.is_set(), ended.wait)
            for _ in range(5):
                await trio.sleep(ALIVE_S / 2)
                assert await other.refresh(ME, "a")
                assert status_of(other, "a") == "in_progress"
            ended.set()
        await trio.sleep(ALIVE_S - BEAT_S)
        assert await other.refresh(ME, "a")
        assert status_of(other, "a") == "in_progress"
        await trio.sleep(2 * BEAT_S)
        assert await other.refresh(ME, "a")
        assert await one.refresh(ME, "a")
        assert (status_of(one, "a"), status_of(other, "a")) == ("in_progress", "failed")
        one.responses.clear()
        assert await one.refresh(ME, "a")
        assert status_of(one, "a") == "failed"


@pytest.mark.parametrize("sign", [None, b"", b"soon", b"nan"])
async def test_response_without_a_valid_sign_of_life_is_failed(autojump_clock: MockClock, sign: bytes | None) -> None:
    state = StateInMemory()
    async with sharing(state, state) as (one, other):
        await keep(one, "a", status="queued")
        name = f"server:{one.owner}"
        state.values |= {name: sign} if sign is not None else {}
        if sign is None:
            del state.values[name]
        assert await other.refresh(ME, "a")
        assert status_of(other, "a") == "failed"
