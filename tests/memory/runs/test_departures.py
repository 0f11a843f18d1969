"""A client goes away: its turn is cancelled at once, its slot is free when the process is gone, the next one runs."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.protocol.turn.events import TurnStarted
from claude_openai.testing import Hang, Pause
from claude_openai.web.views import Views
from tests.http_client import texts
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, TurnStep, deltas, full_turn

CLEANUP_S = 2
REASON = "the client went away"

Leave = Callable[[Client], None]
both_ways = pytest.mark.parametrize("leave", [Client.leave, Client.half_close])


def once(*steps: TurnStep) -> ScriptedBackend:
    """The first turn does this, all others answer."""
    turns = 0

    def script(_: object) -> tuple[TurnStep, ...]:
        nonlocal turns
        turns += 1
        return steps if turns == 1 else full_turn("next")

    return ScriptedBackend(script, cleanup_s=CLEANUP_S)


async def assert_cancelled_at_once_and_free(server: Server) -> None:
    """The backend has seen the cancel; the slot follows when its process is gone; the next request is answered."""
    left_at = trio.current_time()
    await wait_all_tasks_blocked()
    turn = server.backend.turns[0]
    assert (turn.outcome, turn.cancel_reason) == ("cancelled", REASON)
    assert server.admission.running == 1
    await server.admission.wait_idle()
    assert trio.current_time() == left_at + CLEANUP_S
    server.assert_free()
    answer = await server.post(chat())
    assert answer.json()["choices"][0]["message"]["content"] == "next"


@both_ways
async def test_before_the_first_word(leave: Leave) -> None:
    async with serving(once(Hang())) as server:
        client = server.connect()
        await client.post(chat(stream=True))
        await server.backend.wait_for_turn()
        leave(client)
        await assert_cancelled_at_once_and_free(server)


@both_ways
async def test_while_comments_are_sent(leave: Leave) -> None:
    async with serving(once(Hang())) as server:
        client = await server.streaming()
        await trio.sleep(40)
        leave(client)
        await assert_cancelled_at_once_and_free(server)


@both_ways
async def test_in_the_middle_of_a_stream(leave: Leave) -> None:
    async with serving(once(*full_turn("Hel", Pause(60), "lo"))) as server:
        client = await server.streaming()
        await client.until_text("Hel")
        leave(client)
        await assert_cancelled_at_once_and_free(server)


async def test_in_the_middle_of_a_burst_that_it_does_not_read() -> None:
    async with serving(once(*full_turn(*deltas(5000, "x" * 100)))) as server:
        client = server.connect(capacity=1000)
        await client.post(chat(stream=True))
        await client.head()
        await wait_all_tasks_blocked()
        client.leave()
        await assert_cancelled_at_once_and_free(server)


@both_ways
async def test_while_it_waits_for_a_whole_answer(leave: Leave) -> None:
    async with serving(once(TurnStarted("claude"), Hang())) as server:
        client = server.connect()
        await client.post(chat())
        await server.backend.wait_for_turn()
        leave(client)
        await assert_cancelled_at_once_and_free(server)


@both_ways
@pytest.mark.parametrize("stream", [True, False])
async def test_in_the_queue(leave: Leave, stream: bool) -> None:
    async with serving(full_turn(Pause(5)), max_concurrency=1, max_queue_size=2) as server:
        first, second, third = (server.connect() for _ in range(3))
        for number, client in enumerate((first, second, third)):
            await client.post(chat(str(number), stream=stream and client is second))
            await wait_all_tasks_blocked()
        assert server.admission.queued == 2
        leave(second)
        await wait_all_tasks_blocked()
        assert server.admission.queued == 1
        fourth = server.connect()
        await fourth.post(chat("3"))
        for client in (first, third, fourth):
            assert (await client.answer()).status == 200
        assert [turn.request.prompt.text for turn in server.backend.turns] == ["0", "2", "3"]
        assert trio.current_time() == 15


async def test_in_the_middle_of_its_own_request() -> None:
    async with serving() as server:
        client = server.connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await client.send_raw(head + b'Content-Length: 1000\r\n\r\n{"model"')
        await wait_all_tasks_blocked()
        client.leave()
        await wait_all_tasks_blocked()
        assert server.backend.turns == []
        assert (await server.post(chat())).status == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_half_close_during_a_turn_cancels_it_with_an_error(stream: bool) -> None:
    async with serving(once(Hang())) as server:
        client = server.connect()
        await client.post(chat(stream=stream))
        await server.backend.wait_for_turn()
        client.half_close()
        await assert_told_that_it_left(server, client)
        assert [turn.outcome for turn in server.backend.turns] == ["cancelled"]


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/responses"])
async def test_half_close_with_the_request_starts_no_turn(target: str) -> None:
    async with serving() as server:
        client = server.connect()
        await client.post({**chat(), "input": "Hi"}, target)
        client.half_close()
        await assert_told_that_it_left(server, client)
        assert server.backend.turns == []


async def assert_told_that_it_left(server: Server, client: Client) -> None:
    answer = await client.answer()
    assert (answer.status, answer.error()["code"]) == (400, "client_closed_connection")
    assert "closed its sending side" in answer.error()["message"]
    (line,) = server.logged("http.request")
    assert (line["status"], line["request_id"]) == (499, answer.headers["x-request-id"])
    assert await client.raw_to_end() == b""


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/health", 200), ("GET", "/v1/models", 200), ("GET", "/nope", 404), ("POST", "/v1/chat/completions", 415)],
)
async def test_a_half_close_with_a_request_that_needs_no_turn_is_answered(
    method: str, target: str, status: int
) -> None:
    async with serving() as server:
        client = server.connect()
        await client.send(method, target)
        client.half_close()
        assert (await client.answer()).status == status
        assert [line["status"] for line in server.logged("http.request")] == [status]
        assert await client.raw_to_end() == b""
        assert trio.current_time() == 0


async def test_a_request_without_a_turn_ends_a_second_after_its_client_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(_: Views) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Views, "models", hang)
    async with serving() as server:
        client = server.connect()
        await client.send("GET", "/v1/models")
        await wait_all_tasks_blocked()
        client.leave()
        await trio.sleep(0.9)
        assert server.nursery.child_tasks
        await trio.sleep(0.2)
        assert not server.nursery.child_tasks
        assert [line["status"] for line in server.logged("http.request")] == [499]


async def test_after_the_answer_the_process_may_end_in_peace() -> None:
    async with serving(ScriptedBackend(cleanup_s=CLEANUP_S), max_concurrency=1) as server:
        client = await server.streaming()
        await client.body()
        client.leave()
        await server.admission.wait_idle()
        assert server.backend.turns[0].outcome == "returned"


async def test_a_client_that_leaves_takes_no_other_with_it() -> None:
    async with serving(full_turn("Hel", Pause(5), "lo"), max_concurrency=2) as server:
        leaving, staying = await server.streaming(), await server.streaming()
        await leaving.until_text("Hel")
        leaving.leave()
        assert texts(await staying.events()) == ["Hel", "lo"]
        assert [turn.outcome for turn in server.backend.turns] == ["cancelled", "returned"]
