"""The server inside another trio program: started with its URLs, cancelled without a trace, as often as wanted."""

import sys
from functools import partial
from pathlib import Path

import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude.backend import Emit, Parked
from claude_openai.logs.log import Log
from claude_openai.preload import NEEDED_LATER
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import Hang, Pause, RecordedRequest, Reply, Text
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, Served, needs_claude, serving
from tests.scripted_backend import ScriptedBackend

pytestmark = needs_claude


async def refuses_connections(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        stream = await trio.open_tcp_stream(host, int(port))
    except OSError:
        return True
    await stream.aclose()
    return False


async def test_start_gives_the_urls_and_cancelling_leaves_no_listener() -> None:
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            urls: list[str] = await nursery.start(serve, Config(port=0, log=False))
            (url,) = urls
            assert url.startswith("http://127.0.0.1:")
            async with Call.open(url, None, "/health") as call:
                assert (await call.answer())[1]["status"] == "ok"
            nursery.cancel_scope.cancel()
        assert await refuses_connections(url)


async def test_host_is_notified_when_all_modules_are_loaded() -> None:
    loaded = trio.Event()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            start = partial(serve, Config(port=0, log=False, spares=0), on_loaded=loaded.set)
            await nursery.start(start)
            await loaded.wait()
            assert {*NEEDED_LATER, "claude_openai.claude.sdk.pool"} <= sys.modules.keys()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stream", [False, True])
async def test_cancel_ends_running_turns_with_an_error(tmp_path: Path, stream: bool) -> None:
    reply = Reply(Text("one", Hang()))
    async with serving(tmp_path, reply) as served, Call.open(served.url, chat("Hi", stream=stream)) as call:
        await served.api.wait_for_request()
        if stream:
            assert await call.status() == 200
            await call.until_text("one")
        served.scope.cancel()
        await served.stopped.wait()
        assert served.processes.all() == []
        assert list(served.temporary.iterdir()) == []
        assert await refuses_connections(served.url)
        assert (await call.failure(503, stream=stream))["code"] == "shutting_down"


class SlowToEnd(ScriptedBackend):
    """Its turns hang, and end only when they may, or after a while."""

    def __init__(self) -> None:
        super().__init__((Hang(),))
        self.may_end = trio.Event()

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        try:
            return await super().turn(request, emit, log)
        finally:
            with trio.move_on_after(LIMIT_S / 3, shield=True):
                await self.may_end.wait()


async def test_cancelled_server_accepts_no_request_while_turns_end() -> None:
    backend, scope = SlowToEnd(), trio.CancelScope()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        with scope:
            await serve(Config(port=0, log=False), backend=backend, task_status=task_status)

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (url,) = await nursery.start(run)
            async with Call.open(url, chat("Hi")) as running:
                await backend.wait_for_turn()
                scope.cancel()
                async with Call.open(url, chat("Hi")) as call:
                    status, error = await call.answer()
                assert (status, error["error"]["code"]) == (503, "shutting_down")
                backend.may_end.set()
                assert await running.status() == 503
    assert len(backend.turns) == 1


@pytest.mark.long
async def test_a_set_event_stops_it_once_its_answers_have_ended(tmp_path: Path) -> None:
    stop, gate = trio.Event(), trio.Event()
    reply = Reply(Text("one", Pause(gate), " two"))
    async with serving(tmp_path, reply, stop=stop) as served, Call.open(served.url, chat("Hi", stream=True)) as call:
        assert await call.status() == 200
        await call.until_text("one")
        stop.set()
        gate.set()
        events = await call.events()
        assert (texts(events), events[-1]) == ([" two"], "[DONE]")
        await served.stopped.wait()
        assert await refuses_connections(served.url)


async def test_two_servers_live_in_one_program_and_one_outlives_the_other(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    async with serving(folders[0], Reply("from the first")) as first:
        async with serving(folders[1], Reply("from the second")) as second:
            assert [await said(served) for served in (first, second)] == ["from the first", "from the second"]
        assert await refuses_connections(second.url)
        assert await said(first) == "from the first"
        assert (len(first.api.requests), len(second.api.requests)) == (2, 1)


async def said(served: Served) -> str:
    async with Call.open(served.url, chat("Hi")) as call:
        status, completion = await call.answer()
    assert status == 200
    content: str = completion["choices"][0]["message"]["content"]
    return content


def echo(request: RecordedRequest) -> Reply:
    """The last word of the prompt, many times, with time for others in between."""
    word = request.last_user_text.split()[-1]
    return Reply(Text(*[piece for number in range(40) for piece in (f"{word}-{number} ", Pause(0.002))]))


@pytest.mark.long
async def test_conversations_at_the_same_time_never_mix(tmp_path: Path) -> None:
    names = ("alder", "birch", "cedar", "damson")
    heard: dict[str, list[str]] = {}

    async def converse(served: Served, name: str) -> None:
        messages = [
            {"role": "system", "content": f"system of {name}"},
            {"role": "user", "content": f"question of {name}"},
            {"role": "assistant", "content": f"answer of {name}"},
            {"role": "user", "content": f"prompt of {name}"},
        ]
        async with Call.open(served.url, chat(messages, stream=True)) as call:
            assert await call.status() == 200
            heard[name] = texts(await call.events())

    async with serving(tmp_path, echo, max_concurrency=len(names)) as served:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(converse, served, name)
        assert heard == {name: [f"{name}-{number} " for number in range(40)] for name in names}
        assert len(served.api.requests) == len(names)
        for request in served.api.requests:
            words = request.raw.decode()
            (name,) = (name for name in names if name in words)
            assert all(f"{part} of {name}" in words for part in ("system", "question", "answer", "prompt"))
