"""Cancels and disconnects at every moment: each client sees an end, and nothing is left."""

import itertools
import random
from collections.abc import Callable

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import ShuttingDown
from claude_openai.testing import Pause
from tests.memory.client import Answer, Client
from tests.memory.harness import Server, chat, run_in_memory, serving
from tests.scripted_backend import ScriptedBackend, TurnStep, full_turn

CLIENTS = 200
SLOTS = 20
STOPPED = ShuttingDown("The server is shutting down.", may_retry=False)

# Under hypothesis the scheduler is seeded too, so a storm that fails comes back.
storm = settings(derandomize=True, phases=[Phase.generate])
seeds = given(st.sampled_from([1, 2]))


def chatty(deltas: int) -> tuple[TurnStep, ...]:
    """A turn with a checkpoint after each delta."""
    said: list[str | TurnStep] = []
    for number in range(deltas):
        said += [f"{number} ", Pause(0)]
    return full_turn(*said)


def end_of(answer: Answer) -> str:
    """Return how an answer ended; fail if it did not end as it must."""
    if answer.headers["content-type"] == "application/json":
        if answer.status == 200:
            return str(answer.json()["choices"][0]["finish_reason"])
        return str(answer.error()["code"])
    *_, last = answer.events()
    assert isinstance(last, dict)
    return str(last["error"]["code"] if "error" in last else last["choices"][0]["finish_reason"])


@pytest.mark.long
@storm
@seeds
def test_clients_whose_runs_are_cancelled_at_random_moments_all_see_an_end(seed: int) -> None:
    ends: list[str] = []

    async def client(server: Server, stream: bool, delay: int) -> None:
        for _ in range(delay):
            await trio.lowlevel.checkpoint()
        ends.append(end_of(await server.post(chat(stream=stream))))

    async def cancel_now_and_then(server: Server, chance: random.Random) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            if chance.random() < 0.01:
                server.runs.cancel_all(STOPPED)

    async def main() -> None:
        chance = random.Random(seed)  # noqa: S311 - the storm must be the same each time
        async with serving(chatty(10), max_concurrency=SLOTS, max_queue_size=CLIENTS) as server:
            async with trio.open_nursery() as cancelling:
                cancelling.start_soon(cancel_now_and_then, server, chance)
                async with trio.open_nursery() as clients:
                    for _ in range(CLIENTS):
                        clients.start_soon(client, server, chance.random() < 0.8, chance.randrange(600))
                cancelling.cancel_scope.cancel()
            server.assert_free()
            assert (await server.post(chat())).status == 200

    run_in_memory(main)
    assert len(ends) == CLIENTS
    assert set(ends) == {"stop", "shutting_down"}


@storm
@seeds
def test_clients_that_leave_at_random_moments_leave_nothing_behind(seed: int) -> None:
    backend = ScriptedBackend(chatty(30))

    async def client(server: Server, chance: random.Random) -> None:
        connection = server.connect(capacity=chance.choice([100, 10_000]))
        await connection.post(chat(stream=chance.random() < 0.8))
        for _ in range(chance.randrange(150)):
            await trio.lowlevel.checkpoint()
        if chance.random() < 0.3:
            connection.half_close()
            await trio.lowlevel.checkpoint()
        connection.leave()

    async def main() -> None:
        chance = random.Random(seed)  # noqa: S311 - the storm must be the same each time
        async with serving(backend, max_concurrency=SLOTS, max_queue_size=CLIENTS) as server:
            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(client, server, chance)
            await server.admission.wait_idle()
            await wait_all_tasks_blocked()
            server.assert_free()
            assert not server.nursery.child_tasks
            assert (await server.post(chat())).status == 200
            assert backend.most_active == SLOTS
            assert len(server.logged("http.request")) == CLIENTS + 1

    run_in_memory(main)
    assert {turn.outcome for turn in backend.turns} == {"cancelled", "returned"}


def stop_runs(server: Server, _: Client) -> None:
    server.runs.cancel_all(STOPPED)


def leave(_: Server, client: Client) -> None:
    client.leave()


def half_close(_: Server, client: Client) -> None:
    client.half_close()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("how", [stop_runs, leave, half_close])
async def test_a_run_that_is_cancelled_at_any_checkpoint_gives_its_slot_back(
    how: Callable[[Server, Client], None], stream: bool
) -> None:
    for moment in itertools.count():
        backend = ScriptedBackend(chatty(3))
        async with serving(backend, max_concurrency=1) as server:
            client, queued = server.connect(), server.connect()
            await client.post(chat(stream=stream))
            for _ in range(moment):
                await trio.lowlevel.checkpoint()
            had_ended = bool(server.logged("http.request"))
            how(server, client)
            await queued.post(chat())
            assert (await queued.answer()).status == 200
            await server.admission.wait_idle()
            server.assert_free()
            if how is stop_runs:
                assert end_of(await client.answer()) in ("stop", "shutting_down")
        if had_ended:
            break
    assert moment > 10
