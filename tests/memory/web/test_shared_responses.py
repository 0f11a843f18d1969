"""Stored responses in a state store: read and deleted by another server, and used from memory if the store fails."""

import time
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall
from claude_openai.state.access import WRITE_S
from claude_openai.state.store import ACCESS_S
from claude_openai.testing import Hang, Pause
from claude_openai.web.shared_responses import ALIVE_S
from tests.memory.client import Answer
from tests.memory.harness import Server, serving
from tests.openai_schema import validate_response
from tests.scripted_backend import full_turn
from tests.sse_reader import parse_typed_sse
from tests.state_in_memory import StateInMemory

PATH = "/v1/responses"
READ = {"type": "function", "name": "read", "strict": False, "parameters": {"type": "object"}}
CALLING = full_turn(ReasoningDelta("Hm"), "Let me see.", ToolCall("toolu_1", "read", "{}"), finish_reason="tool_calls")
RESULT = {"type": "function_call_output", "call_id": "toolu_1", "output": "ok"}
NOT_CONTINUED = (404, "previous_response_not_found", "previous_response_id")
NOT_FOUND = (404, "response_not_found", "response_id")
NOT_REACHED = (503, "store_not_reached", "previous_response_id")

streams = pytest.mark.parametrize("stream", [False, True])


async def ask(server: Server, given: Any = "Hi", key: str = "", **fields: Any) -> Answer:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return await server.post({"model": "claude-sonnet", "input": given, **fields}, PATH, **headers)


async def response_of(server: Server, given: Any = "Hi", key: str = "", **fields: Any) -> dict[str, Any]:
    answer = await ask(server, given, key, **fields)
    assert answer.status == 200, answer.body
    return parse_typed_sse(answer.body)[-1]["response"] if fields.get("stream") else answer.json()


async def chained(server: Server, count: int) -> list[str]:
    """Return the ids of responses, each of which continues the previous one."""
    ids: list[str] = []
    for number in range(count):
        previous = {"previous_response_id": ids[-1]} if ids else {}
        ids.append((await response_of(server, f"Number {number}", **previous))["id"])
    return ids


def refused(answer: Answer) -> tuple[int, str, str]:
    error = answer.error()
    return answer.status, error["code"], error["param"]


@streams
async def test_response_is_continued_by_another_server_as_by_its_own(stream: bool) -> None:
    state = StateInMemory()
    fields: dict[str, Any] = {"tools": [READ], "stream": stream}
    async with serving(CALLING, state=state) as one, serving(state=state) as other:
        first = await response_of(one, **fields)
        second = await response_of(other, [RESULT], previous_response_id=first["id"], **fields)
        await response_of(one, "Thanks.", previous_response_id=second["id"], **fields)
        user = {"role": "user", "content": "Hi"}
        whole = [user, *first["output"], RESULT, *second["output"], {"role": "user", "content": "Thanks."}]
        await response_of(one, whole, **fields)
        continued, whole_request = (turn.request for turn in one.backend.turns[1:])
        assert continued == whole_request


async def test_items_and_their_response_are_found_by_another_server() -> None:
    state = StateInMemory()
    async with serving(CALLING, state=state) as one, serving(state=state) as other:
        response = await response_of(one, tools=[READ])
        target = f"{PATH}/{response['id']}"
        assert (await other.get(target)).json() == response
        listed = (await other.get(f"{target}/input_items")).json()["data"]
        assert [item["content"][0]["text"] for item in listed] == ["Hi"]
        references = [{"type": "item_reference", "id": item["id"]} for item in response["output"]]
        await response_of(other, [{"role": "user", "content": "Hi"}, *references, RESULT], tools=[READ])
        assert "Let me see." in str(other.backend.turns[-1].request.turns)


async def test_a_long_conversation_is_read_at_once() -> None:
    state = StateInMemory()
    async with serving(state=state) as one, serving(state=state) as other:
        ids = await chained(one, 30)
        state.gets.clear()
        await response_of(other, previous_response_id=ids[-1])
        assert len(state.gets) == 2
        state.gets.clear()
        await response_of(other, previous_response_id=ids[-1])
        assert len(state.gets) == 1
        assert len(other.backend.turns[-1].request.turns) == 60


async def test_another_key_does_not_find_a_response_or_its_items() -> None:
    state = StateInMemory()
    async with serving(state=state) as one, serving(state=state) as other:
        mine = await response_of(one, key="mine")
        for server in (one, other):
            assert refused(await ask(server, previous_response_id=mine["id"], key="other")) == NOT_CONTINUED
            answer = await server.get(f"{PATH}/{mine['id']}", "DELETE", authorization="Bearer other")
            assert refused(answer) == NOT_FOUND
            reference = {"type": "item_reference", "id": mine["output"][0]["id"]}
            answer = await ask(server, [{"role": "user", "content": "Hi"}, reference], key="other")
            assert refused(answer) == (400, "invalid_value", "input[1]")
        await response_of(other, previous_response_id=mine["id"], key="mine")


async def test_a_response_that_another_server_deleted_is_gone_from_memory_too() -> None:
    state = StateInMemory()
    async with serving(state=state) as one, serving(state=state) as other:
        first = await response_of(one)
        second = await response_of(one, previous_response_id=first["id"])
        assert (await other.get(f"{PATH}/{first['id']}", "DELETE")).status == 200
        assert refused(await ask(one, previous_response_id=second["id"])) == NOT_CONTINUED
        assert refused(await one.get(f"{PATH}/{first['id']}")) == NOT_FOUND
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        assert (await ask(one, [{"role": "user", "content": "Hi"}, reference])).status == 400


@streams
async def test_a_store_that_hangs_delays_a_response_by_its_bound_and_memory_answers(stream: bool) -> None:
    state = StateInMemory()
    state.takes_s = 1000
    async with serving(state=state) as one, serving(state=state) as other:
        begin = trio.current_time()
        first = await response_of(one, stream=stream)
        assert trio.current_time() - begin == pytest.approx(ACCESS_S)
        await response_of(one, previous_response_id=first["id"], stream=stream)
        assert trio.current_time() - begin == pytest.approx(3 * ACCESS_S)
        answer = await ask(other, previous_response_id=first["id"])
        assert refused(answer) == NOT_REACHED
        assert answer.headers["x-claude-openai-started"] == "no"
        await trio.sleep(2 * WRITE_S)
        assert sorted(event["access"] for event in one.logged("state.failed")) == ["read", "write"]


async def test_a_slow_write_is_finished_after_the_answer() -> None:
    state = StateInMemory()
    state.takes_s = 10 * ACCESS_S
    async with serving(state=state) as one, serving(state=state) as other:
        first = await response_of(one)
        assert not state.values
        await trio.sleep(state.takes_s)
        state.takes_s = 0
        await response_of(other, previous_response_id=first["id"])


async def test_an_answer_waits_for_its_write_as_long_as_a_read_of_the_store_may_take() -> None:
    state = StateInMemory()
    state.refresh_s, state.takes_s = 1, 0.3
    async with serving(state=state) as one, serving(state=state) as other:
        first = await response_of(one, stream=True)
        assert (await other.get(f"{PATH}/{first['id']}")).status == 200


async def test_an_item_of_an_interrupted_answer_is_found_by_its_id() -> None:
    state = StateInMemory()
    interrupted = (*full_turn("Let me see.", ToolCall("toolu_1", "read", "{}"))[:-1], Hang())
    async with serving(lambda asked: full_turn() if asked.turns else interrupted, state=state) as one:
        client = one.connect()
        await client.post({"model": "claude-sonnet", "input": "Hi", "tools": [READ], "stream": True}, PATH)
        assert (await client.head())[0] == 200
        while True:
            event = await client.event()
            assert isinstance(event, dict)
            if event["type"] == "response.output_item.done":
                break
        client.leave()
        await one.backend.turns[0].ended.wait()
        reference = {"type": "item_reference", "id": event["item"]["id"]}
        given = [{"role": "user", "content": "Hi"}, reference, {"role": "user", "content": "Go on."}]
        assert (await ask(one, given)).status == 200


async def test_response_of_a_failed_write_is_found_and_stored_again_later() -> None:
    state = StateInMemory()
    async with serving(state=state) as one, serving(state=state) as other:
        state.problem = "The disk is full."
        first = await response_of(one)
        assert (await one.get(f"{PATH}/{first['id']}")).status == 200
        assert refused(await other.get(f"{PATH}/{first['id']}")) == (503, "store_not_reached", "response_id")
        state.problem = ""
        second = await response_of(one, previous_response_id=first["id"])
        # The first response is stored together with the second.
        for response in (first, second):
            assert (await other.get(f"{PATH}/{response['id']}")).status == 200
        await response_of(other, previous_response_id=second["id"])
        events = [*one.logged("state.failed"), *one.logged("state.works_again")]
        assert [event["access"] for event in events].count("write") == 2


async def test_delete_with_a_store_that_fails_is_an_error() -> None:
    state = StateInMemory()
    async with serving(state=state) as one:
        first = await response_of(one)
        state.problem = "It is gone."
        answer = await one.get(f"{PATH}/{first['id']}", "DELETE")
        assert answer.status == 503
        state.problem = ""
        assert (await one.get(f"{PATH}/{first['id']}", "DELETE")).status == 200
        assert not state.values


@pytest.mark.parametrize("damage", [b"", b"1\n", b"1\n{}\n{}", b"\xff\n", b"2\n{}\n"])
async def test_a_damaged_value_is_not_found(damage: bytes) -> None:
    state = StateInMemory()
    async with serving(state=state) as one, serving(state=state) as other:
        first = await response_of(one)
        state.values = dict.fromkeys(state.values, damage)
        assert refused(await ask(other, previous_response_id=first["id"])) == NOT_CONTINUED
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        assert (await ask(other, [{"role": "user", "content": "Hi"}, reference])).status == 400
        assert refused(await other.get(f"{PATH}/{first['id']}")) == NOT_FOUND


async def test_server_or_request_without_store_stores_nothing() -> None:
    state = StateInMemory()
    async with serving(state=state, store=False) as one, serving(state=state) as other:
        await response_of(one)
        await response_of(other, store=False)
        assert not state.values


async def in_background(server: Server) -> str:
    """Return the id of a response in the background whose turn has begun."""
    response = await response_of(server, background=True)
    await server.backend.wait_for_turn(1)
    await wait_all_tasks_blocked()
    return str(response["id"])


async def status_of(server: Server, name: str) -> str:
    return str((await server.get(f"{PATH}/{name}")).json()["status"])


async def test_a_response_in_the_background_is_polled_at_another_server() -> None:
    state = StateInMemory()
    async with serving(full_turn("Hel", Pause(1.5 * ALIVE_S), "lo"), state=state) as one, serving(state=state) as other:
        name = await in_background(one)
        (sign,) = (each for each in state.values if each.startswith("server:"))
        for _ in range(4):
            shown = state.values[sign]
            assert await status_of(other, name) in ("queued", "in_progress")
            await trio.sleep(ALIVE_S / 3)
            assert state.values[sign] != shown
        target = f"{PATH}/{name}"
        refusals = [
            await other.ask("POST", f"{target}/cancel", b"{}", headers={"content-type": "application/json"}),
            await other.get(target, "DELETE"),
        ]
        assert [refused(answer) for answer in refusals] == [(409, "runs_elsewhere", "response_id")] * 2
        await trio.sleep(ALIVE_S)
        assert (await other.get(target)).json() == (await one.get(target)).json()
        assert await status_of(other, name) == "completed"
        assert (await one.get(f"{target}?stream=true")).status == 200
        assert (await other.get(target, "DELETE")).status == 200
        assert refused(await one.get(f"{target}?stream=true")) == NOT_FOUND


async def test_response_of_a_server_that_ended_before_it_is_failed() -> None:
    state = StateInMemory()
    async with serving(full_turn("Hel", Pause(1), "lo"), state=state) as one:
        name = await in_background(one)
        left = dict(state.values)
    state.values = left
    async with serving(state=state) as other:
        (sign,) = (each for each in left if each.startswith("server:"))
        assert await status_of(other, name) == "queued"
        for old in (b"%f" % (time.time() - ALIVE_S), b"?", None):
            state.values = {**left, sign: old} if old else {each: left[each] for each in left if each != sign}
            response = (await other.get(f"{PATH}/{name}")).json()
            validate_response(response)
            assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
            assert (await ask(other, previous_response_id=name)).status == 400
        assert (await other.get(f"{PATH}/{name}", "DELETE")).status == 200


async def test_forget_empties_the_store_and_the_memory() -> None:
    state = StateInMemory()
    async with serving(state=state, control_key="control") as one, serving(state=state) as other:
        first = await response_of(one)
        background = await response_of(one, background=True)
        await one.backend.wait_for_turn(2)
        await wait_all_tasks_blocked()
        await one.post({"model": "claude-sonnet", "input": "Hi", "store": False}, PATH, idempotency_key="k")
        stored = len(state.values)
        assert (await one.post({}, "/control/forget")).status == 401
        answer = await one.post({}, "/control/forget", authorization="Bearer control")
        counts = {"object": "forgotten", "responses": 2, "items": 2, "answers": 2, "stored": stored}
        assert (answer.status, answer.json(), state.values) == (200, counts, {})
        for server in (one, other):
            for each in (first, background):
                assert refused(await server.get(f"{PATH}/{each['id']}?stream=true")) == NOT_FOUND
                assert refused(await ask(server, previous_response_id=each["id"])) == NOT_CONTINUED
        again = await one.post({"model": "claude-sonnet", "input": "Hi", "store": False}, PATH, idempotency_key="k")
        assert "x-claude-openai-joined" not in again.headers


async def test_forget_with_a_store_that_fails_is_an_error() -> None:
    state = StateInMemory()
    async with serving(state=state, control_key="control") as one:
        await response_of(one)
        state.problem = "It is gone."
        answer = await one.post({}, "/control/forget", authorization="Bearer control")
        assert (answer.status, answer.error()["code"]) == (503, "store_not_reached")
        warnings = (await one.get("/ready")).json()["warnings"]
        assert [each["reason"] for each in warnings] == ["store_not_reached"]
        assert (await one.get("/health")).json()["store"] == {"problem": "It is gone."}


async def test_forget_without_a_store_empties_the_memory() -> None:
    async with serving(control_key="control") as one:
        first = await response_of(one)
        answer = await one.post({}, "/control/forget", authorization="Bearer control")
        assert answer.json() == {"object": "forgotten", "responses": 1, "items": 1, "answers": 0, "stored": 0}
        assert refused(await one.get(f"{PATH}/{first['id']}")) == NOT_FOUND
