"""Responses in the background with the openai package, and its retries, on the real Claude Code."""

import os
import signal
from pathlib import Path
from typing import Any

import openai
import pytest
import trio

from claude_openai.testing import Answer, Hang, Pause, Reply, Text
from tests.openai_schema import strict_openai_event, validate_event
from tests.real.call import MODEL
from tests.real.harness import OK, needs_claude, serving, until
from tests.real.openai_package import with_the_package

pytestmark = [needs_claude, pytest.mark.long]

HANG = Reply(Text("Hel", Hang()))
RETRY_TIMEOUT_S = 1.0


async def test_the_openai_package_polls_a_response(tmp_path: Path) -> None:
    def create(client: openai.OpenAI) -> str:
        response = client.responses.create(model=MODEL, input="Hi", background=True)
        assert response.status == "queued"
        assert response.background
        return response.id

    async with serving(tmp_path, Reply(Text("Hel", go_on := Pause(trio.Event()), "lo"))) as served:
        name = await with_the_package(served, create)
        await served.api.wait_for_request()
        running = await with_the_package(served, lambda client: client.responses.retrieve(name))
        assert running.status in ("queued", "in_progress")
        assert isinstance(go_on.until, trio.Event)
        go_on.until.set()
        done: list[Any] = []

        async def poll() -> None:
            while not done or done[-1].status in ("queued", "in_progress"):
                done.append(await with_the_package(served, lambda client: client.responses.retrieve(name)))

        await poll()
        assert (done[-1].status, done[-1].output_text) == ("completed", "Hello")
        served.api.enqueue(OK)
        continued = await with_the_package(
            served, lambda client: client.responses.create(model=MODEL, input="And?", previous_response_id=name)
        )
        assert continued.output_text == "ok"


async def test_the_openai_package_takes_up_a_stream_after_each_event(tmp_path: Path) -> None:
    def begin(client: openai.OpenAI) -> list[Any]:
        events = []
        with client.responses.create(model=MODEL, input="Hi", background=True, stream=True) as stream:
            for event in stream:
                events.append(event)
                if event.type == "response.output_text.delta":
                    return events
        raise AssertionError("the stream ended without a text")

    def take_up(client: openai.OpenAI, after: int) -> list[Any]:
        return list(client.responses.retrieve(name, stream=True, starting_after=after))

    script: list[Any] = [Pause(0.01)]
    for number in range(20):
        script += [f"{number} ", Pause(0.01)]
    async with serving(tmp_path, Reply(Text(*script))) as served:
        seen = await with_the_package(served, begin)
        name = seen[0].response.id
        rest = await with_the_package(served, lambda client: take_up(client, len(seen) - 1))
        whole = [*seen, *rest]
        assert [event.sequence_number for event in whole] == list(range(len(whole)))
        assert whole[-1].response.output_text == "".join(f"{number} " for number in range(20))
        for event in whole:
            raw = event.model_dump(exclude_unset=True)
            validate_event(raw)
            strict_openai_event(raw)

        def all_of_them(client: openai.OpenAI) -> None:
            for after in range(len(whole)):
                assert take_up(client, after) == whole[after + 1 :]

        await with_the_package(served, all_of_them)
        assert len(served.api.requests) == 1


async def test_a_cancelled_response_leaves_no_process(tmp_path: Path) -> None:
    def create(client: openai.OpenAI) -> str:
        return client.responses.create(model=MODEL, input="Hi", background=True).id

    async with serving(tmp_path, HANG) as served:
        name = await with_the_package(served, create)
        request = await served.api.wait_for_request()
        cancelled = await with_the_package(served, lambda client: client.responses.cancel(name))
        assert cancelled.status == "cancelled"
        assert served.processes.of_turns(served.api) == []
        await request.disconnected.wait()
        assert await with_the_package(served, lambda client: client.responses.cancel(name)) == cancelled
        await served.processes.wait_no_claude()


@pytest.mark.parametrize("name", ["kill", "stop"])
async def test_a_response_whose_process_dies_or_whose_server_stops_leaves_nothing(tmp_path: Path, name: str) -> None:
    def create(client: openai.OpenAI) -> str:
        return client.responses.create(model=MODEL, input="Hi", background=True).id

    async with serving(tmp_path, HANG) as served:
        response_id = await with_the_package(served, create)
        await served.api.wait_for_request()
        if name == "stop":
            served.scope.cancel()
            await served.stopped.wait()
        else:
            for pid in served.processes.of_turns(served.api):
                os.kill(pid, signal.SIGKILL)
            await until(lambda: not served.processes.of_turns(served.api), "the process is gone")
            failed: list[Any] = []
            while not failed or failed[-1].status in ("queued", "in_progress"):
                failed.append(await with_the_package(served, lambda client: client.responses.retrieve(response_id)))
            assert failed[-1].status == "failed"
        await served.processes.wait_no_claude()


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "a key"}], ids=["a retry", "a key"])
async def test_a_client_that_gives_up_and_tries_again_pays_once(tmp_path: Path, headers: dict[str, str]) -> None:
    headers = {name: value.replace(" ", "-") for name, value in headers.items()}

    def ask(client: openai.OpenAI) -> str:
        messages: Any = [{"role": "user", "content": "Hi"}]
        answer = client.chat.completions.create(model=MODEL, messages=messages, extra_headers=headers)
        return str(answer.choices[0].message.content)

    went_on = trio.Event()
    reply: Answer = Reply(Text("Hel", Pause(went_on), "lo"))
    async with serving(tmp_path, reply) as served, trio.open_nursery() as nursery:

        async def go_on() -> None:
            await served.api.wait_for_request()
            await until(lambda: "run.join" in served.log_text(), "the retry has joined")
            went_on.set()

        nursery.start_soon(go_on)
        options = {"timeout": RETRY_TIMEOUT_S, "max_retries": 100}
        assert await with_the_package(served, ask, **options) == "Hello"
        assert len(served.api.requests) == 1


async def test_a_turn_with_a_key_whose_client_is_gone_leaves_no_process(tmp_path: Path) -> None:
    def ask(client: openai.OpenAI) -> None:
        messages: Any = [{"role": "user", "content": "Hi"}]
        with client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, extra_headers={"Idempotency-Key": "k"}
        ) as stream:
            next(iter(stream))

    async with serving(tmp_path, HANG) as served:
        await with_the_package(served, ask)
        request = await served.api.wait_for_request()
        await request.disconnected.wait()
        await served.processes.wait_no_claude()
