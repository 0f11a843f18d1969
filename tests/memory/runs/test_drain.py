"""The graceful end of a server: before it, as a lame duck, when it refuses, and at a second signal."""

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.commands.serve import _handle_signals
from claude_openai.errors import RateLimited, ShuttingDown
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.protocol.turn.reports import ModelSpent, Spent
from claude_openai.runs.drain import drain_at
from claude_openai.testing import Pause
from tests.memory.client import Answer
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, full_turn

STARTED = "x-claude-openai-started"


def stopping(server: Server, lame_duck_s: float = 5, timeout_s: float = 60) -> trio.Event:
    """The event that stops the server."""
    stop = trio.Event()
    server.nursery.start_soon(drain_at, stop, server.admission, lame_duck_s, timeout_s, server.log)
    return stop


async def reason(server: Server) -> str | None:
    """Why the server is not ready."""
    answer = await server.get("/ready")
    found = [each["reason"] for each in answer.json()["reasons"]]
    assert (answer.status, len(found)) in ((200, 0), (503, 1))
    return found[0] if found else None


def is_kept(answer: Answer) -> bool:
    """Whether the connection is kept for another request."""
    return answer.headers.get("connection") != "close"


async def test_server_before_its_stop_is_ready_and_keeps_connections() -> None:
    async with serving() as server:
        stop = stopping(server)
        assert await reason(server) is None
        answer = await server.post(chat())
        assert (answer.status, is_kept(answer)) == (200, True)
        stop.set()
        await server.admission.wait_draining()


async def test_lame_duck_is_not_ready_at_once_takes_turns_and_closes_connections() -> None:
    async with serving() as server:
        kept = server.connect()
        await kept.post(chat())
        assert is_kept(await kept.answer())
        stopping(server).set()
        await wait_all_tasks_blocked()
        assert await reason(server) == "lame_duck"
        await trio.sleep(4.9)
        for client in (kept, server.connect()):
            await client.post(chat())
            answer = await client.answer()
            assert (answer.status, is_kept(answer), STARTED in answer.headers) == (200, False, False)
            assert await client.raw_to_end() == b""
        await server.admission.wait_draining()


async def test_after_the_lame_duck_turns_are_refused_and_running_ones_end() -> None:
    async with serving(full_turn(Pause(20))) as server:
        kept = server.connect()
        await kept.send("GET", "/health")
        await kept.answer()
        running = server.connect()
        await running.post(chat())
        stopping(server).set()
        await trio.sleep(5.1)
        assert await reason(server) == "draining"
        await kept.post(chat())
        refused = await kept.answer()
        assert (refused.status, refused.error()["code"]) == (503, "shutting_down")
        assert (refused.headers["retry-after"], refused.headers[STARTED], is_kept(refused)) == ("5", "no", False)
        assert await kept.raw_to_end() == b""
        assert (await running.answer()).status == 200
        assert trio.current_time() == 20
    assert [each["event"] for each in server.records if each["event"].startswith("server.")] == [
        "server.lame_duck",
        "server.drain",
    ]


async def test_server_without_a_time_for_the_lame_duck_refuses_at_once() -> None:
    async with serving() as server:
        stopping(server, 0).set()
        await wait_all_tasks_blocked()
        assert await reason(server) == "draining"
        assert (await server.post(chat())).status == 503
        assert server.logged("server.lame_duck") == []


@pytest.mark.parametrize(("timeout_s", "ends"), [(60, 20), (7, 12)])
async def test_drain_ends_with_the_last_turn_or_with_its_time(timeout_s: float, ends: float) -> None:
    async with serving(full_turn(Pause(20))) as server:
        client = server.connect()
        await client.post(chat())
        stop = trio.Event()
        stop.set()
        await drain_at(stop, server.admission, 5, timeout_s, server.log)
        assert trio.current_time() == ends


@pytest.mark.parametrize("wait_s", [1, 6])
async def test_second_signal_stops_at_once_also_a_lame_duck(wait_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exited(Exception):
        pass

    def leave(code: int) -> None:
        raise Exited(code, trio.current_time())

    async def signals() -> AsyncIterator[int]:
        yield signal.SIGTERM
        await trio.sleep(wait_s)
        yield signal.SIGTERM

    monkeypatch.setattr(os, "_exit", leave)
    async with serving() as server:
        stop = stopping(server)
        with pytest.raises(Exited) as exited:
            await _handle_signals(signals(), stop, None)
        assert exited.value.args == (128 + signal.SIGTERM, wait_s)
        await server.admission.wait_draining()


async def test_each_refusal_says_that_nothing_was_started() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=1, max_queue_size=0, api_key="k") as server:
        key = {"authorization": "Bearer k"}
        busy = server.connect()
        await busy.post(chat(), authorization="Bearer k")
        await wait_all_tasks_blocked()

        async def ask(body: dict[str, Any]) -> Answer:
            return await server.post(body, authorization="Bearer k")

        refused = {
            401: await server.post(chat()),
            400: await ask({"model": "claude"}),
            404: await ask(chat(model="gpt-4o")),
            415: await server.ask("POST", "/v1/chat/completions", b"{}", headers=key),
            405: await server.ask("GET", "/v1/chat/completions", headers=key),
            403: await server.get("/health", host="elsewhere.example"),
            429: await ask(chat()),
            503: await server.ask("GET", "/ready"),
        }
        for status, answer in refused.items():
            assert (answer.status, answer.headers[STARTED]) == (status, "no")
        assert (await busy.answer()).status == 200
        assert STARTED not in (await server.get("/health")).headers


async def test_malformed_request_says_that_nothing_was_started() -> None:
    async with serving() as server:
        client = server.connect()
        await client.send_raw(b"GET / HTTP/1.1\r\nbad header\r\n\r\n")
        assert b"\r\nx-claude-openai-started: no\r\n" in await client.raw_to_end()


async def test_failure_of_a_turn_does_not_say_that_nothing_was_started() -> None:
    async with serving((TurnFailed(RateLimited("Claude's limit is reached.")),)) as server:
        answer = await server.post(chat())
        assert (answer.status, STARTED in answer.headers) == (429, False)


async def test_only_the_cancelled_run_that_had_no_slot_says_that_nothing_was_started() -> None:
    async with serving(full_turn(Pause(600)), max_concurrency=1) as server:
        running, queued = server.connect(), server.connect()
        for client in (running, queued):
            await client.post(chat())
            await wait_all_tasks_blocked()
        server.runs.cancel_all(ShuttingDown("The server is shutting down.", may_retry=False))
        assert STARTED not in (await running.answer()).headers
        assert (await queued.answer()).headers[STARTED] == "no"


async def test_run_that_reaches_the_limit_of_usage_in_the_queue_started_nothing() -> None:
    backend = ScriptedBackend(full_turn(Pause(1)))
    async with serving(backend, max_concurrency=1, max_cost_per_day=1.0) as server:
        running, queued = server.connect(), server.connect()
        for client in (running, queued):
            await client.post(chat())
            await wait_all_tasks_blocked()
        server.runs.ledger.spend(Spent({"claude-sonnet-5": ModelSpent(cost_usd=2.0)}))
        assert (await running.answer()).status == 200
        refused = await queued.answer()
        assert (refused.status, refused.headers[STARTED], len(backend.turns)) == (429, "no", 1)
        assert [run.view().waited_ms for run in server.runs.all()] == [0, None]
