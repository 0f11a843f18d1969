"""Turns in which nothing happens, turns that take too long, and clients that read nothing."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import ShuttingDown
from claude_openai.protocol.turn.events import TurnStarted
from claude_openai.testing import Alive, Hang, Pause, ScriptedBackend, TurnStep, deltas, full_turn
from tests.http_client import texts
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving

ENDLESS = (TurnStarted("claude"), Hang())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_turn_that_never_says_a_word_is_504_and_not_to_be_retried(stream: bool) -> None:
    async with serving((Hang(),), process_timeout_ms=8_000) as server:
        answer = await server.post(chat(stream=stream))
        assert trio.current_time() == 8
        assert (answer.status, answer.error()["type"], answer.error()["code"]) == (504, "timeout_error", "timeout")
        assert "8 s (--process-timeout-ms)" in answer.error()["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert server.backend.turns[0].outcome == "cancelled"


async def test_a_turn_that_begins_and_never_ends_is_504_when_nothing_is_streamed() -> None:
    async with serving(ENDLESS, process_timeout_ms=8_000) as server:
        assert (await server.post(chat())).status == 504
        assert trio.current_time() == 8


async def test_a_stream_that_takes_too_long_ends_in_one_error_event_and_done() -> None:
    async with serving(full_turn("Hel", Hang()), process_timeout_ms=30_000) as server:
        client = await server.streaming()
        chunks = await client.events()
        assert trio.current_time() == 30
        assert texts(chunks) == ["Hel"]
        error, done = chunks[-2:]
        assert isinstance(error, dict)
        assert (error["error"]["code"], done) == ("timeout", "[DONE]")


async def test_a_stream_of_twenty_minutes_is_whole_on_the_default_settings() -> None:
    steps: list[str | TurnStep] = [step for number in range(1200) for step in (Pause(1), str(number))]
    async with serving(full_turn(*steps)) as server:
        client = await server.streaming()
        *chunks, done = await client.events()
        assert (texts(chunks), done) == ([str(number) for number in range(1200)], "[DONE]")
        assert trio.current_time() == 1200


async def refused(server: Server) -> tuple[float, str, str]:
    """When a turn that is not streamed is given up, with what code, and why."""
    answer = await server.post(chat())
    assert (answer.status, answer.error()["type"]) == (504, "timeout_error")
    assert answer.headers["x-should-retry"] == "false"
    return trio.current_time(), answer.error()["code"], answer.error()["message"]


async def test_silence_counts_from_the_last_event_and_the_error_names_it() -> None:
    async with serving(full_turn(Pause(100), "Hel", Pause(100), "lo", Hang())) as server:
        at_s, code, message = await refused(server)
        assert (at_s, code) == (320, "timeout")
        assert "no sign of life for 120 s (--process-timeout-ms); the last was text, 120.0 s ago" in message


async def test_silence_from_the_beginning_is_told_as_such() -> None:
    async with serving((Hang(),)) as server:
        assert "there was none since the turn began" in (await refused(server))[2]


async def test_signs_of_life_that_are_no_events_keep_a_turn_alive() -> None:
    async with serving(full_turn(*(Pause(119), Alive()) * 10)) as server:
        assert (await server.post(chat())).status == 200
        assert trio.current_time() == 1190


async def test_a_wait_that_was_announced_is_no_silence() -> None:
    async with serving(full_turn(Alive("a retry", for_s=300), Pause(419))) as server:
        assert (await server.post(chat())).status == 200
    async with serving(full_turn("Hel", Alive("a retry", for_s=300), "lo", Hang())) as server:
        before_s = trio.current_time()
        at_s, _, message = await refused(server)
        assert at_s - before_s == 420
        assert "the last was text" in message


async def test_a_sign_of_life_takes_the_place_of_the_wait_that_was_announced() -> None:
    async with serving(full_turn(Alive("a tool at work", for_s=600), Pause(5), Alive("its result"), Hang())) as server:
        at_s, _, message = await refused(server)
        assert at_s == 125
        assert "its result, 120.0 s ago" in message


WORKING = full_turn(*(Pause(1), "x") * 100)


async def test_a_turn_that_works_is_cut_only_by_a_bound_of_its_whole() -> None:
    async with serving(WORKING, turn_timeout_ms=60_500) as server:
        at_s, code, message = await refused(server)
        assert (at_s, code) == (60.5, "turn_timeout")
        assert "longer than 60.5 s (--turn-timeout-ms)" in message
        assert "the last was text, 0.5 s ago" in message


async def test_the_bound_of_the_whole_does_not_count_the_queue() -> None:
    async with serving(WORKING, max_concurrency=1, turn_timeout_ms=101_000) as server:
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            await client.post(chat())
        assert [(await client.answer()).status for client in clients] == [200] * 3
        assert trio.current_time() == 300


async def test_the_time_counts_from_the_slot_and_not_from_the_queue() -> None:
    async with serving(full_turn(Pause(7)), max_concurrency=1, process_timeout_ms=8_000) as server:
        clients = [server.connect() for _ in range(5)]
        for client in clients:
            await client.post(chat())
        assert [(await client.answer()).status for client in clients] == [200] * 5
        assert trio.current_time() == 35


async def test_the_slot_of_a_turn_that_took_too_long_is_free_when_its_process_is_gone() -> None:
    backend = ScriptedBackend((Hang(),), cleanup_s=2)
    async with serving(backend, max_concurrency=1, process_timeout_ms=8_000) as server:
        answer = await server.post(chat())
        assert answer.status == 504
        assert trio.current_time() == 10  # the error is told when nothing of the turn is left
        await wait_all_tasks_blocked()
        server.assert_free()


async def test_a_turn_that_completed_in_time_is_not_spoilt_by_a_process_that_dies_too_late() -> None:
    async with serving((*full_turn("Hi"), Hang()), process_timeout_ms=8_000) as server:
        answer = await server.post(chat(stream=True))
        assert texts(answer.events()) == ["Hi"]
        assert trio.current_time() == 0
        await server.admission.wait_idle()
        assert trio.current_time() == 8


async def test_a_request_whose_body_does_not_come_is_given_up_after_a_minute() -> None:
    async with serving() as server:
        client = server.connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await client.send_raw(head + b'Content-Length: 1000\r\n\r\n{"model"')
        assert (await client.raw_to_end()).startswith(b"HTTP/1.1 400")
        assert trio.current_time() == 60


async def test_a_request_whose_head_does_not_come_is_given_up_as_an_idle_connection() -> None:
    async with serving(idle_connection_ms=75_000) as server:
        client = server.connect()
        await client.send_raw(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
        assert await client.raw_to_end() == b""
        assert trio.current_time() == 75


FLOOD = full_turn(*deltas(20_000, "x" * 100))
STALL: dict[str, Any] = {"stall_timeout_ms": 30_000, "process_timeout_ms": 1_000_000}


async def flooded(server: Server) -> Client:
    client = server.connect(capacity=1000)
    await client.post(chat(stream=True))
    assert (await client.head())[0] == 200
    return client


async def test_a_client_that_reads_nothing_loses_its_slot_and_its_connection() -> None:
    async with serving(FLOOD, max_concurrency=1, **STALL) as server:
        client = await flooded(server)
        await wait_all_tasks_blocked()
        assert server.admission.running == 1
        await server.admission.wait_idle()
        assert trio.current_time() == 30
        assert server.backend.turns[0].outcome == "cancelled"
        assert b"[DONE]" not in await client.raw_to_end()
        assert trio.current_time() == 30
        (record,) = server.logged("http.request")
        assert record["status"] == 499


async def test_a_client_that_reads_slowly_but_steadily_gets_everything() -> None:
    script: tuple[TurnStep, ...] = full_turn(*deltas(2000, "x" * 100))
    async with serving(script, **STALL) as server:
        client = await flooded(server)
        said = 0
        while (event := await client.event()) != "[DONE]":
            assert event is not None
            said += len(texts([event]))
            if said % 10 == 0:
                await trio.sleep(0.5)
        assert said == 2000
        assert trio.current_time() > 90


async def test_the_wait_for_a_slow_client_is_not_the_silence_of_claude() -> None:
    async with serving((*FLOOD[:-1], Hang()), stall_timeout_ms=30_000, process_timeout_ms=5_000) as server:
        client = await flooded(server)
        said = 0
        while (event := await client.event()) is not None and isinstance(event, dict) and "choices" in event:
            said += len(texts([event]))
            if said % 2000 == 1:
                await trio.sleep(20)  # most of which the backend waits
        assert said == len(FLOOD) - 2
        all_read_s = trio.current_time()
        assert all_read_s > 100
        assert isinstance(event, dict)
        assert "no sign of life for 5 s" in event["error"]["message"]


async def test_a_client_that_reads_on_after_its_run_was_cancelled_still_sees_why() -> None:
    error = ShuttingDown("The server is shutting down.", may_retry=False)
    async with serving(FLOOD, **STALL) as server:
        client = await flooded(server)
        await wait_all_tasks_blocked()
        server.runs.cancel_all(error)
        await server.admission.wait_idle()
        assert trio.current_time() == 1  # so long the last word waits for room
        assert (await client.events())[-2:] == [error.body(), "[DONE]"]


async def test_a_client_that_reads_nothing_cannot_hold_the_server_when_it_stops() -> None:
    async with serving(FLOOD, **STALL) as server:
        await flooded(server)
        await wait_all_tasks_blocked()
        await server.connections.close(server.nursery)
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            assert not server.nursery.child_tasks
        assert trio.current_time() == 1


async def test_the_next_request_is_answered_while_a_client_reads_nothing() -> None:
    async with serving(lambda request: FLOOD if request.stream else full_turn("Hi"), **STALL) as server:
        await flooded(server)
        assert (await server.post(chat())).status == 200
        assert trio.current_time() == 0


async def test_a_whole_answer_that_is_not_read_holds_no_slot() -> None:
    async with serving(FLOOD, max_concurrency=1, **STALL) as server:
        client = server.connect(capacity=1000)
        await client.post(chat())
        await wait_all_tasks_blocked()
        server.assert_free()
        assert trio.current_time() == 0
