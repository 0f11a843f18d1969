"""Responses in the background: polled, streamed, taken up again, cancelled, and each by its own caller alone."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import ShuttingDown, UpstreamError
from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall, TurnFailed, TurnStarted
from claude_openai.runs import kept_answers
from claude_openai.runs.drain import drain_at
from claude_openai.runs.kept_answers import KEPT_S, KeptAnswers
from claude_openai.testing import Hang, Pause
from tests.memory.client import Answer, Client
from tests.memory.harness import Server, chat, serving
from tests.openai_schema import strict_openai_event, strict_openai_response, validate_event, validate_response
from tests.scripted_backend import ScriptedBackend, full_turn
from tests.sse_reader import parse_typed_sse

PATH = "/v1/responses"
SLOW = full_turn("Hel", Pause(5), "lo")
READ = {"type": "function", "name": "read", "strict": False, "parameters": {"type": "object"}}
# A turn with an item of each kind.
FULL = full_turn(
    Pause(1), ReasoningDelta("Hm"), Pause(1), "Let me", Pause(1), " see.", ToolCall("toolu_1", "read", "{}"), Pause(1)
)
NOT_FOUND = (404, "response_not_found", "response_id")

streams = pytest.mark.parametrize("stream", [True, False])


def asked(given: str = "Hi", **fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet", "input": given, "background": True, **fields}


def checked(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    response = answer.json()
    validate_response(response)
    strict_openai_response(response)
    assert response["background"] is True
    return response


async def created(server: Server, turn: int = 1, **fields: Any) -> str:
    """The id of a response whose turn has begun."""
    response = checked(await server.post(asked(**fields), PATH))
    assert response["status"] == "queued"
    await server.backend.wait_for_turn(turn)
    await wait_all_tasks_blocked()
    return str(response["id"])


async def state(server: Server, name: str, **headers: str) -> dict[str, Any]:
    return checked(await server.get(f"{PATH}/{name}", **headers))


async def cancel(server: Server, name: str, **headers: str) -> Answer:
    headers = {"content-type": "application/json", **headers}
    return await server.ask("POST", f"{PATH}/{name}/cancel", headers=headers)


async def events(server: Server, name: str, after: int | None = None) -> list[dict[str, Any]]:
    query = "stream=true" if after is None else f"stream=true&starting_after={after}"
    return events_of(await server.get(f"{PATH}/{name}?{query}"))


def events_of(answer: Answer) -> list[dict[str, Any]]:
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    found = parse_typed_sse(answer.body)
    for event in found:
        validate_event(event)
        strict_openai_event(event)
    return found


def refused(answer: Answer) -> tuple[int, str, str]:
    error = answer.error()
    return answer.status, error["code"], error["param"]


def text_of(response: dict[str, Any]) -> str:
    return str(response["output"][-1]["content"][0]["text"])


async def test_a_response_in_the_background_is_polled_until_its_end() -> None:
    async with serving(SLOW) as server:
        name = await created(server)
        assert trio.current_time() == 0
        running = await state(server, name)
        assert (running["status"], running["output"], running["completed_at"]) == ("in_progress", [], None)
        await trio.sleep(6)
        done = await state(server, name)
        assert (done["status"], text_of(done)) == ("completed", "Hello")
        assert done["usage"]["output_tokens"] == 5
        answer = await server.post({"model": "claude-sonnet", "input": "And?", "previous_response_id": name}, PATH)
        assert answer.status == 200


async def test_a_response_that_waits_for_a_slot_is_queued() -> None:
    async with serving(SLOW, max_concurrency=1) as server:
        await created(server)
        answer = await server.post(asked(), PATH)
        await wait_all_tasks_blocked()
        name = answer.json()["id"]
        assert (await state(server, name))["status"] == "queued"
        assert [item["content"][0]["text"] for item in (await server.get(f"{PATH}/{name}/input_items")).json()["data"]]
        await trio.sleep(11)
        assert (await state(server, name))["status"] == "completed"


async def test_a_response_that_has_no_answer_yet_is_not_continued() -> None:
    async with serving(SLOW) as server:
        name = await created(server)
        answer = await server.post({"model": "claude-sonnet", "input": "And?", "previous_response_id": name}, PATH)
        assert refused(answer) == (400, "invalid_value", "previous_response_id")
        assert "the status of this one is queued" in answer.error()["message"]
        assert len(server.backend.turns) == 1


async def test_a_stream_is_taken_up_after_each_event_while_it_runs_and_after_its_end() -> None:
    async with serving(FULL) as server:
        client = server.connect()
        await client.post(asked(stream=True, tools=[READ]), PATH)
        await client.head()
        first = await client.event()
        assert isinstance(first, dict)
        name = first["response"]["id"]
        live: dict[int, list[dict[str, Any]]] = {}

        async def take_up(after: int) -> None:
            live[after] = await events(server, name, after)

        async with trio.open_nursery() as nursery:
            for after in range(30):
                nursery.start_soon(take_up, after)
            whole = await events(server, name)
        types = [event["type"] for event in whole]
        assert types[:3] == ["response.created", "response.queued", "response.in_progress"]
        assert types[-1] == "response.completed"
        assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
        assert [event["response"]["status"] for event in whole[:3]] == ["queued", "queued", "in_progress"]
        assert 20 < len(whole) < 30
        for after in range(30):
            assert live[after] == await events(server, name, after) == whole[after + 1 :]
        assert (await events(server, name)) == whole
        assert (await state(server, name)) == whole[-1]["response"]
        assert len(server.backend.turns) == 1


@pytest.mark.parametrize("leave", [Client.leave, Client.half_close])
async def test_a_client_that_leaves_the_stream_ends_only_its_reading(leave: Any) -> None:
    async with serving(SLOW) as server:
        client = server.connect()
        await client.post(asked(stream=True), PATH)
        await client.head()
        first = await client.event()
        assert isinstance(first, dict)
        leave(client)
        await trio.sleep(4)
        assert (await state(server, first["response"]["id"]))["status"] == "in_progress"
        reader = server.connect()
        await reader.send("GET", f"{PATH}/{first['response']['id']}?stream=true")
        await reader.head()
        leave(reader)
        await trio.sleep(2)
        assert (await state(server, first["response"]["id"]))["status"] == "completed"
        assert [turn.outcome for turn in server.backend.turns] == ["returned"]


@streams
async def test_a_cancelled_response_ends_for_all(stream: bool) -> None:
    async with serving(ScriptedBackend(full_turn("Hel", Hang()), cleanup_s=2)) as server:
        reader = server.connect()
        name = await created(server)
        if stream:
            await reader.send("GET", f"{PATH}/{name}?stream=true")
        cancelled = checked(await cancel(server, name))
        assert (cancelled["status"], cancelled["error"], text_of(cancelled)) == ("cancelled", None, "Hel")
        assert (server.backend.active, trio.current_time()) == (0, 2)
        assert await state(server, name) == cancelled == checked(await cancel(server, name))
        if stream:
            *_, last = events_of(await reader.answer())
            assert (last["type"], last["response"]) == ("response.incomplete", cancelled)
        assert [run.state for run in server.runs.all()] == ["cancelled"]
        answer = await server.post({"model": "claude-sonnet", "input": "And?", "previous_response_id": name}, PATH)
        assert refused(answer) == (400, "invalid_value", "previous_response_id")


async def test_a_response_that_waits_for_a_slot_is_cancelled_without_a_turn() -> None:
    async with serving(SLOW, max_concurrency=1) as server:
        await created(server)
        name = (await server.post(asked(), PATH)).json()["id"]
        cancelled = checked(await cancel(server, name))
        assert (cancelled["status"], cancelled["output"]) == ("cancelled", [])
        await server.admission.wait_idle()
        assert len(server.backend.turns) == 1


@pytest.mark.parametrize("steps", range(40))
async def test_a_cancel_at_any_moment_of_the_end_finds_one_state(steps: int) -> None:
    async with serving(full_turn("Hel", *[Pause(0)] * 10, "lo", *[Pause(0)] * 10)) as server:
        name = (await server.post(asked(), PATH)).json()["id"]
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        ended = checked(await cancel(server, name))
        assert ended["status"] in ("cancelled", "completed")
        await server.admission.wait_idle()
        assert await state(server, name) == ended
        assert (await events(server, name))[-1]["response"] == ended


async def test_only_responses_in_the_background_can_be_cancelled() -> None:
    async with serving() as server:
        name = (await server.post({"model": "claude-sonnet", "input": "Hi"}, PATH)).json()["id"]
        assert refused(await cancel(server, name)) == (400, "not_in_background", "response_id")
        assert refused(await cancel(server, "resp_1")) == NOT_FOUND
        name = await created(server, turn=2)
        answer = await server.post([1], f"{PATH}/{name}/cancel")
        assert answer.status == 400


async def test_a_deleted_response_is_cancelled_and_gone() -> None:
    async with serving(full_turn("Hel", Hang())) as server:
        name = await created(server)
        assert (await server.get(f"{PATH}/{name}", "DELETE")).status == 200
        assert [turn.outcome for turn in server.backend.turns] == ["cancelled"]
        for target, method in ((name, "GET"), (name, "DELETE"), (f"{name}?stream=true", "GET")):
            assert refused(await server.get(f"{PATH}/{target}", method)) == NOT_FOUND
        assert refused(await cancel(server, name)) == NOT_FOUND


async def test_a_response_is_found_only_by_its_caller() -> None:
    async with serving(SLOW) as server:
        answer = await server.post(asked(), PATH, authorization="Bearer mine")
        name = answer.json()["id"]
        for headers in ({}, {"authorization": "Bearer other"}):
            for target, method in ((name, "GET"), (f"{name}?stream=true", "GET"), (name, "DELETE")):
                assert refused(await server.get(f"{PATH}/{target}", method, **headers)) == NOT_FOUND
            assert refused(await cancel(server, name, **headers)) == NOT_FOUND
        await trio.sleep(6)
        assert (await state(server, name, authorization="Bearer mine"))["status"] == "completed"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_failed_turn_is_a_failed_response(begun: bool) -> None:
    steps = full_turn("Hel")[:-1] if begun else ()
    async with serving((*steps, TurnFailed(UpstreamError("It died.")))) as server:
        name = (await server.post(asked(), PATH)).json()["id"]
        await server.admission.wait_idle()
        failed = await state(server, name)
        assert (failed["status"], failed["error"]["message"]) == ("failed", "It died.")
        found = await events(server, name)
        assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]


@streams
@pytest.mark.parametrize(("fields", "settings"), [({"store": False}, {}), ({}, {"store": False})])
async def test_a_response_that_is_not_stored_is_refused_in_the_background(
    fields: dict[str, Any], settings: dict[str, Any], stream: bool
) -> None:
    async with serving(**settings) as server:
        answer = await server.post(asked(stream=stream, **fields), PATH)
        assert refused(answer) == (400, "unsupported_value", "background")
        assert server.backend.turns == []


@streams
async def test_there_are_at_most_as_many_as_the_setting_says(stream: bool) -> None:
    async with serving(SLOW, max_background=2) as server:
        for turn in (1, 2):
            await created(server, turn)
        answer = await server.post(asked(stream=stream), PATH)
        assert (answer.status, answer.error()["code"]) == (429, "background_full")
        assert (await server.post(chat())).status == 200
        await trio.sleep(1)
        await created(server, 4)


@streams
async def test_a_request_that_is_refused_leaves_nothing(stream: bool) -> None:
    async with serving(SLOW, max_concurrency=1, max_queue_size=0, max_background=1) as server:
        client = server.connect()
        await client.post(chat())
        await server.backend.wait_for_turn()
        for _ in range(2):
            answer = await server.post(asked(stream=stream), PATH)
            assert (answer.status, answer.error()["code"]) == (429, "queue_full")
        assert (await client.answer()).status == 200
        assert (await server.post(asked(stream=stream), PATH)).status == 200


async def test_the_events_of_ended_responses_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeptAnswers.__init__, "__defaults__", (2, kept_answers.MAX_BYTES))
    monkeypatch.setattr("tests.memory.harness.LIMIT_S", 3 * KEPT_S)
    async with serving() as server:
        names = [await created(server, turn) for turn in (1, 2, 3)]
        assert refused(await server.get(f"{PATH}/{names[0]}?stream=true")) == (400, "unsupported_parameter", "stream")
        first = await state(server, names[0])
        assert first["status"] == "completed"
        assert checked(await cancel(server, names[0])) == first
        for name in names[1:]:
            assert (await events(server, name))[-1]["type"] == "response.completed"
        await trio.sleep(KEPT_S + 1)
        assert refused(await server.get(f"{PATH}/{names[1]}?stream=true")) == NOT_FOUND


async def test_a_response_that_runs_longer_than_responses_are_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.memory.harness.LIMIT_S", 3 * KEPT_S)
    async with serving(full_turn("Hel", *[Pause(100)] * 40), process_timeout_ms=int(2e9)) as server:
        name = await created(server)
        await trio.sleep(KEPT_S + 100)
        assert (await state(server, name))["status"] == "in_progress"
        assert len(await events(server, name, 5)) > 1
        assert (await state(server, name))["status"] == "completed"


async def test_the_time_limits_hold_in_the_background() -> None:
    async with serving((TurnStarted("claude"), Hang()), turn_timeout_ms=60_000) as server:
        name = await created(server)
        await trio.sleep(61)
        assert (await state(server, name))["status"] == "failed"
        assert [turn.outcome for turn in server.backend.turns] == ["cancelled"]


async def test_a_stopping_server_fails_what_still_runs() -> None:
    async with serving((TurnStarted("claude"), Hang())) as server:
        name = await created(server)
        reader = server.connect()
        await reader.send("GET", f"{PATH}/{name}?stream=true&starting_after=1")
        await wait_all_tasks_blocked()
        server.admission.draining = True
        assert (await server.post(asked(), PATH)).error()["code"] == "shutting_down"
        server.runs.cancel_all(ShuttingDown("Over.", may_retry=False))
        found = events_of(await reader.answer())
        assert [event["type"] for event in found] == ["response.in_progress", "error", "response.failed"]


@pytest.mark.parametrize(("timeout_s", "status"), [(10, "completed"), (2, "failed")])
async def test_a_drain_waits_for_a_response_in_the_background(timeout_s: float, status: str) -> None:
    async with serving(SLOW) as server:
        name = await created(server)
        stop = trio.Event()
        stop.set()
        await drain_at(stop, server.admission, 0, timeout_s, server.log)
        assert trio.current_time() == min(timeout_s, 5)
        server.runs.cancel_all(ShuttingDown("Over.", may_retry=False))
        await server.admission.wait_idle()
        assert (await state(server, name))["status"] == status


@streams
async def test_the_same_key_gives_the_same_response(stream: bool) -> None:
    async with serving(SLOW) as server:
        answers = [await server.post(asked(), PATH, idempotency_key="k") for _ in range(2)]
        await server.backend.wait_for_turn()
        await trio.sleep(6)
        answers.append(await server.post(asked(), PATH, idempotency_key="k"))
        found = [checked(answer) for answer in answers]
        assert len({response["id"] for response in found}) == len(server.backend.turns) == 1
        assert [response["status"] for response in found] == ["queued", "in_progress", "completed"]
        if stream:
            answer = await server.post(asked(stream=True), PATH, idempotency_key="k")
            assert (answer.status, answer.error()["code"]) == (409, "idempotency_key_reused")


async def test_a_client_that_leaves_before_it_has_the_id_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> None:
        await trio.sleep(10)

    monkeypatch.setattr("claude_openai.web.views.Views._opened", slow)
    async with serving() as server:
        client = server.connect()
        await client.post(asked(), PATH)
        await wait_all_tasks_blocked()
        client.leave()
        await wait_all_tasks_blocked()
        assert (server.backend.turns, trio.current_time()) == ([], 0)
        assert not server.nursery.child_tasks
