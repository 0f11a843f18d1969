"""Who runs, who waits, who is turned away."""

from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import ShuttingDown
from claude_openai.testing import Pause
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving
from tests.named_keys import bearer, named_key, write_keys
from tests.scripted_backend import ScriptedBackend, full_turn


def prompts(backend: ScriptedBackend) -> list[str]:
    return [turn.request.prompt.text for turn in backend.turns]


async def ask_in_order(server: Server, count: int) -> list[Client]:
    """Ask one after the other, each when the one before has its place."""
    clients = []
    for number in range(count):
        clients.append(server.connect())
        await clients[-1].post(chat(str(number)))
        await wait_all_tasks_blocked()
    return clients


async def test_no_more_turns_run_than_there_are_slots_and_the_rest_waits_in_order() -> None:
    backend = ScriptedBackend(full_turn(Pause(1)))
    async with serving(backend, max_concurrency=3, max_queue_size=20) as server:
        clients = await ask_in_order(server, 12)
        assert (server.admission.running, server.admission.queued) == (3, 9)
        assert [(await client.answer()).status for client in clients] == [200] * 12
        assert backend.most_active == 3
        # Requests that get their slots in the same moment may begin in any order.
        waves = [set(prompts(backend)[first : first + 3]) for first in range(0, 12, 3)]
        assert waves == [{"0", "1", "2"}, {"3", "4", "5"}, {"6", "7", "8"}, {"9", "10", "11"}]
        assert trio.current_time() == 4


async def test_run_without_a_slot_has_the_reason_until_it_gets_one() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=1) as server:
        clients = await ask_in_order(server, 2)
        records = [run.view() for run in server.runs.all()]
        assert [(each.status, each.waiting_for) for each in records] == [("running", None), ("queued", "slot")]
        (line,) = [record for record in server.records if record["event"] == "run.queued"]
        assert (line["level"], line["run_id"], line["queued"]) == ("info", records[1].id, 1)
        assert line["message"] == "All 1 slots are taken (--max-concurrency)."
        clients[1].leave()
        await clients[0].answer()
        assert [run.view().waiting_for for run in server.runs.all()] == [None, None]


async def test_above_the_queue_it_is_429_at_once_with_a_wait() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=2, max_queue_size=3) as server:
        await ask_in_order(server, 5)
        for stream in (True, False):
            answer = await server.post(chat(stream=stream))
            assert answer.status == 429
            assert (answer.error()["type"], answer.error()["code"]) == ("rate_limit_error", "queue_full")
            assert answer.headers["retry-after"] == "5"
            assert "All 2 slots are taken and the queue is full (3 waiting)" in answer.error()["message"]
        assert trio.current_time() == 0
        assert len(server.backend.turns) == 2


async def test_one_request_of_a_key_does_not_wait_for_a_hundred_of_another(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))
    async with serving(full_turn(Pause(1)), keys_file=path, max_concurrency=2, max_queue_size=200) as server:
        many = [server.connect() for _ in range(100)]
        for client in many:
            await client.post(chat(), **bearer("ann"))
        await wait_all_tasks_blocked()
        assert (server.admission.running, server.admission.queued) == (2, 98)
        assert (await server.post(chat("one"), **bearer("bob"))).status == 200
        assert trio.current_time() == 2  # the turn that ends first, and its own
        assert prompts(server.backend).index("one") in (2, 3)
        assert [(await client.answer()).status for client in many] == [200] * 100


async def test_a_full_queue_of_one_key_makes_room_for_another_by_its_newest_request(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))
    async with serving(full_turn(Pause(1)), keys_file=path, max_concurrency=1, max_queue_size=3) as server:
        clients = []
        for name in ("ann", "ann", "ann", "ann", "bob", "bob"):  # ann has four places, and then two
            clients.append(server.connect())
            await clients[-1].post(chat(), **bearer(name))
            await wait_all_tasks_blocked()
        assert (server.admission.running, server.admission.queued) == (1, 3)
        refused = [await clients[number].answer() for number in (3, 2)]
        assert [(answer.status, answer.error()["code"]) for answer in refused] == [(429, "queue_full")] * 2
        assert refused[0].headers["retry-after"] == "5"
        assert refused[0].headers["x-claude-openai-started"] == "no"
        for name in ("ann", "bob"):
            assert (await server.post(chat(), **bearer(name))).status == 429
        assert trio.current_time() == 0
        assert [(await clients[number].answer()).status for number in (0, 1, 4, 5)] == [200] * 4
        assert len(server.backend.turns) == 4
        assert server.admission.rejected["queue_full"] == 4


async def test_with_no_queue_a_request_runs_at_once_or_not_at_all() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=1, max_queue_size=0) as server:
        (first,) = await ask_in_order(server, 1)
        assert (await server.post(chat())).status == 429
        assert (await first.answer()).status == 200
        assert (await server.post(chat())).status == 200


async def test_the_slot_is_kept_until_the_process_of_the_turn_is_gone() -> None:
    async with serving(ScriptedBackend(cleanup_s=3), max_concurrency=1) as server:
        assert (await server.post(chat())).status == 200
        assert trio.current_time() == 0
        assert server.admission.running == 1
        assert (await server.post(chat())).status == 200
        assert trio.current_time() == 3


async def test_queued_stream_gets_comments() -> None:
    async with serving(full_turn(Pause(60)), max_concurrency=1) as server:
        await ask_in_order(server, 1)
        client = await server.streaming()
        assert trio.current_time() == 10
        await client.event()
        assert trio.current_time() == 60
        assert len(client.comments) == 3


async def test_a_draining_server_turns_new_requests_away_and_ends_the_old_ones_well() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=1) as server:
        running, queued = await ask_in_order(server, 2)
        server.admission.draining = True
        answer = await server.post(chat())
        assert (answer.status, answer.error()["code"]) == (503, "shutting_down")
        assert int(answer.headers["retry-after"]) > 0
        assert (await running.answer()).status == (await queued.answer()).status == 200
        await server.admission.wait_idle()


async def test_runs_cancelled_at_shutdown_send_their_clients_an_error() -> None:
    async with serving(full_turn("Hel", Pause(600)), max_concurrency=1) as server:
        running = await server.streaming()
        await running.until_text("Hel")
        (queued,) = await ask_in_order(server, 1)
        error = ShuttingDown("The server is shutting down.", may_retry=False)
        server.runs.cancel_all(error)
        assert await running.event() == error.body()
        assert await running.event() == "[DONE]"
        answer = await queued.answer()
        assert (answer.status, answer.error()["code"]) == (503, "shutting_down")
        assert answer.headers["x-should-retry"] == "false"
        turn = server.backend.turns[0]
        assert (turn.outcome, turn.cancel_reason) == ("cancelled", error.message)
        assert len(server.backend.turns) == 1
