"""Where the server listens: several addresses, Unix sockets, and sockets of a service manager."""

import grp
import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai import Config, serve
from claude_openai.errors import StartError
from claude_openai.testing import Pause
from tests.conditions import needs
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, until
from tests.scripted_backend import ScriptedBackend, full_turn

OWN_TOOLS = {"claude": {"toolMode": "readonly"}}
# Posts standard input to the socket in argv, and prints the status.
POST = """
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    body = sys.stdin.buffer.read()
    s.sendall(b"POST /v1/chat/completions HTTP/1.0\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n"
              b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
    print(s.makefile("rb").readline().split()[1].decode())
"""


@dataclass
class Listening:
    urls: list[str]
    stop: trio.Event
    stopped: trio.Event


@asynccontextmanager
async def listening(
    script: ScriptedBackend | None = None, *, sockets: Sequence[socket.socket] = (), **settings: Any
) -> AsyncIterator[Listening]:
    """A server on a scripted backend, which is stopped at the end of the block."""
    stop, stopped = trio.Event(), trio.Event()

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        backend = script or ScriptedBackend(full_turn("Hi"))
        await serve(Config(**settings), backend=backend, stop=stop, sockets=sockets, task_status=task_status)
        stopped.set()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            yield Listening(await nursery.start(run), stop, stopped)
            stop.set()


async def status_of(url: str, body: dict[str, Any] | None = None, **headers: str) -> int:
    async with Call.open(url, body, "/health" if body is None else "/v1/chat/completions", **headers) as call:
        return await call.status()


async def test_each_address_answers_and_the_file_is_private_and_ends_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(listen=("127.0.0.1:0", f"unix:{path}", "127.0.0.1:0")) as server:
        assert server.urls[1] == f"unix:{path}"
        assert len({*server.urls}) == 3
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for url in server.urls:
            assert await status_of(url, chat("Hi")) == 200
            assert await status_of(url, host="evil.example") == 403
    assert not path.exists()


async def refusal(**settings: Any) -> str:
    """Why a server does not start."""
    sockets = settings.pop("sockets", ())
    with trio.fail_after(LIMIT_S), pytest.raises(StartError) as refused:
        await serve(Config(**settings), backend=ScriptedBackend(full_turn("Hi")), sockets=sockets)
    return str(refused.value)


def other_group() -> grp.struct_group:
    """A group that new files do not get, if the process may give one."""
    groups = grp.getgrall()
    may_give = [group for group in groups if os.geteuid() == 0 or group.gr_gid in os.getgroups()]
    return next((group for group in may_give if group.gr_gid != os.getegid()), grp.getgrgid(os.getegid()))


async def test_mode_and_group_are_those_of_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "s"
    group = other_group()
    async with listening(listen=(f"unix:{path}",), unix_mode="0660", unix_group=group.gr_name):
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, group.gr_gid)
    assert "no group 'unknown-group'" in await refusal(listen=(f"unix:{path}",), unix_group="unknown-group")
    assert not path.exists()


async def test_only_a_file_on_which_nothing_listens_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with listening(listen=(f"unix:{path}",)) as server:
        assert "is in use" in await refusal(listen=("127.0.0.1:0", f"unix:{path}"))
        assert await status_of(server.urls[0]) == 200
    path.write_text("a file of the user")
    assert "is not a socket" in await refusal(listen=(f"unix:{path}",))
    assert path.read_text() == "a file of the user"
    assert "too long" in await refusal(listen=(f"unix:{tmp_path / ('s' * 200)}",))


async def test_file_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(listen=(f"unix:{path}",)) as first:
        path.rename(tmp_path / "old")
        async with listening(listen=(f"unix:{path}",)) as second:
            first.stop.set()
            await first.stopped.wait()
            assert await status_of(second.urls[0]) == 200


@needs("/proc")
async def test_own_tools_are_for_the_user_of_the_server_by_a_unix_socket(tmp_path: Path) -> None:
    async with listening(listen=(f"unix:{tmp_path / 's'}",)) as server:
        assert await status_of(server.urls[0], chat("Hi", **OWN_TOOLS)) == 200


@needs("root", "setsid")
async def test_own_tools_are_refused_to_another_user_of_a_unix_socket() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - a Path blocks; another user is to reach the socket
        path = f"{folder}/s"
        for mode, fields, expected in (("0666", OWN_TOOLS, "403"), ("0666", {}, "200"), ("0600", {}, "")):
            async with listening(listen=(f"unix:{path}",), unix_mode=mode):
                done = await trio.run_process(
                    ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", POST, path],
                    stdin=json.dumps(chat("Hi", **fields)).encode(),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
            assert done.stdout.decode().strip() == expected, done.stderr


async def test_restart_on_the_sockets_of_a_service_manager_refuses_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        slow = ScriptedBackend(full_turn("Hi", Pause(0.5)))
        async with listening(slow, sockets=[held.dup()]) as first, trio.open_nursery() as nursery:
            assert first.urls == [url]
            statuses: list[int] = []

            async def ask() -> None:
                statuses.append(await status_of(url, chat("Hi")))

            nursery.start_soon(ask)
            await until(lambda: slow.active == 1, "the turn runs")
            first.stop.set()
            await wait_all_tasks_blocked()
            nursery.start_soon(ask)  # the first server runs a turn, and accepts no connection
            await first.stopped.wait()
            async with listening(sockets=[held.dup()]):
                await until(lambda: len(statuses) == 2, "both are answered")
        assert statuses == [200, 200]


async def test_public_socket_of_a_service_manager_takes_a_key() -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:  # noqa: S104
        assert "without a key" in await refusal(sockets=[held.dup()])
        async with listening(sockets=[held.dup()], api_key="k") as server:
            url = server.urls[0].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            assert await status_of(url, chat("Hi")) == 401
