"""More connections than the server may have open, and a system that gives it no more."""

import errno
import os
import resource
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.config import Config
from claude_openai.testing import Pause
from claude_openai.web.http.listener import connection_limit
from claude_openai.web.http.sockets import SocketListener
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import full_turn

HALF_A_HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
HALF_A_BODY = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


class Backlog:
    """A listener: who has connected and was not accepted yet; `errors` are raised first."""

    def __init__(self, server: Server, *errors: OSError) -> None:
        self.waiting: deque[trio.SocketStream] = deque()
        self.errors = deque(errors)
        self._server = server
        self._came = trio.lowlevel.ParkingLot()

    def connect(self) -> Client:
        client, stream = self._server.connection()
        self.waiting.append(stream)
        self._came.unpark_all()
        return client

    async def wait_for_client(self) -> None:
        await trio.lowlevel.checkpoint()
        while not self.waiting:
            await self._came.park()

    async def accept(self) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        if self.errors:
            raise self.errors.popleft()
        return self.waiting.popleft()


@asynccontextmanager
async def listening(limit: int, *errors: OSError, **settings: Any) -> AsyncIterator[tuple[Server, Backlog]]:
    async with serving(limit=limit, **settings) as server, trio.open_nursery() as accepting:
        backlog = Backlog(server, *errors)
        listeners = [cast("SocketListener", backlog)]
        accepting.start_soon(server.connections.accept, listeners, server.nursery)
        yield server, backlog
        accepting.cancel_scope.cancel()


async def half(backlog: Backlog, data: bytes) -> Client:
    client = backlog.connect()
    await client.send_raw(data)
    await wait_all_tasks_blocked()
    return client


async def idle(backlog: Backlog) -> Client:
    client = backlog.connect()
    await assert_healthy(client)
    return client


async def assert_healthy(client: Client) -> None:
    await client.send("GET", "/health")
    assert (await client.answer()).status == 200
    await wait_all_tasks_blocked()


async def assert_closed(client: Client) -> None:
    assert await client.raw_to_end() == b""
    assert trio.current_time() == 0


async def test_at_the_limit_the_longest_waiting_connection_is_closed() -> None:
    async with listening(3) as (server, backlog):
        clients = [await half(backlog, HALF_A_HEAD), await half(backlog, HALF_A_BODY), await idle(backlog)]
        for client in clients:
            newest = await idle(backlog)
            await assert_closed(client)
        await assert_healthy(newest)
        assert server.backend.turns == []


async def test_recently_used_connection_outlives_newer_idle_ones() -> None:
    async with listening(3) as (_, backlog):
        used = await idle(backlog)
        half_open = [await half(backlog, HALF_A_HEAD), await half(backlog, HALF_A_HEAD)]
        await assert_healthy(used)
        for client in half_open:
            await idle(backlog)
            await assert_closed(client)
        await assert_healthy(used)


async def test_flood_of_half_requests_does_not_block_answers() -> None:
    async with listening(50) as (server, backlog):
        for _ in range(20):
            for _ in range(60):
                await half(backlog, HALF_A_HEAD)
            assert len(server.nursery.child_tasks) <= 50
            await assert_healthy(backlog.connect())
            client = backlog.connect()
            await client.post(chat())
            assert (await client.answer()).status == 200
        assert trio.current_time() == 0
        (warning,) = server.logged("http.connections_replaced")
        assert (warning["level"], warning["connections"], warning["limit"]) == ("warning", 1, 50)


async def test_where_all_wait_for_an_answer_new_connections_wait_to_be_accepted() -> None:
    async with listening(2, script=full_turn(Pause(5), "ok")) as (_, backlog):
        asking = []
        for _ in range(2):
            asking.append(backlog.connect())
            await asking[-1].post(chat())
            await wait_all_tasks_blocked()
        late = backlog.connect()
        await late.send("GET", "/health")
        await wait_all_tasks_blocked()
        assert len(backlog.waiting) == 1
        assert (await late.answer()).status == 200
        assert trio.current_time() == 5
        for client in asking:
            assert (await client.answer()).status == 200


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_what_the_system_lacks_is_logged_once_a_minute_and_tried_again(number: int) -> None:
    # Ten tries a second for 150 s.
    errors = [OSError(number, os.strerror(number)) for _ in range(1500)]
    async with listening(10, *errors) as (server, backlog):
        client = backlog.connect()
        await client.send("GET", "/health")
        assert (await client.answer()).status == 200
        assert trio.current_time() == pytest.approx(150, abs=1)
        told = server.logged("http.accept_failed")
        assert [(record["level"], record["error"]) for record in told] == [("warning", os.strerror(number))] * 3
        assert server.logged("python.log") == []


async def test_without_a_descriptor_for_a_new_connection_the_longest_wait_for_a_request_ends() -> None:
    async with listening(10) as (_, backlog):
        clients = [await half(backlog, HALF_A_HEAD) for _ in range(2)]
        backlog.errors.append(OSError(errno.EMFILE, "Too many open files"))
        await idle(backlog)
        assert await clients[0].raw_to_end() == b""
        await clients[1].send_raw(b"Connection: close\r\n\r\n")
        assert (await clients[1].raw_to_end()).startswith(b"HTTP/1.1 200")


async def test_another_failure_of_the_listener_is_no_reason_to_go_on() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="broken"), flatten_subgroups=True):
        async with listening(10, OSError(errno.EINVAL, "broken")) as (_, backlog):
            backlog.connect()
            await trio.sleep(1)


SMALL = Config(max_concurrency=1, max_queue_size=0, max_idle_sessions=0, spares=0)


@pytest.mark.parametrize(
    ("config", "files", "limit"),
    [
        (Config(), 1_000_000, 1000),
        (Config(max_queue_size=5000), 1_000_000, 10_004),
        (Config(), 1024, 1024 - 64 - 8 * 12 - 20),
        (SMALL, 256, 256 - 64 - 12 - 20),
        (Config(), 64, 16),
        (Config(), resource.RLIM_INFINITY, 1000),
    ],
)
def test_the_limit_leaves_descriptors_for_processes_and_files(
    config: Config, files: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    monkeypatch.setattr(os, "listdir", lambda _: ["0"] * 20)
    assert connection_limit(config) == limit
