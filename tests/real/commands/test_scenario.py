"""A day of a server in the background, as somebody at a shell has it, on both backends: real processes throughout."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from claude_openai.testing import Hang, RecordedRequest, Reply, Text
from tests.conditions import needs
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.command import INSTANCE_FILES, Shell, shell
from tests.real.harness import needs_claude, on_both_backends, until
from tests.real.run_commands import listed, read, statuses, tailing

pytestmark = [needs_claude, pytest.mark.long]

AT_ONCE: Final = 10
DISK_BYTES: Final = 128 * 1024
WORD: Final = "word " * 200


def scripted(request: RecordedRequest) -> Reply:
    """What Claude says: it never comes to an end, says more than the disk holds, or is friendly."""
    asked = str(request.messages)
    if "without end" in asked:
        return Reply(Text("Hel", "lo", Hang()))
    if "at length" in asked:
        return Reply(Text(*[WORD] * 400))
    return Reply("friendly")


async def answer(url: str, messages: Any) -> dict[str, Any]:
    async with Call.open(url, chat(messages)) as call:
        status, completion = await call.answer()
    assert status == 200, completion
    message: dict[str, Any] = completion["choices"][0]["message"]
    return message


async def begin(stack: AsyncExitStack, url: str) -> Call:
    """An answer that is under way, and has no end."""
    call = await stack.enter_async_context(Call.open(url, chat("Talk without end.", stream=True)))
    assert await call.status() == 200
    await call.until_text("lo")
    return call


async def ends_with(call: Call, code: str) -> None:
    events = await call.events()
    assert isinstance(events[-2], dict)
    assert (events[-2]["error"]["code"], events[-1]) == (code, "[DONE]")


def turns(user: Shell) -> list[int]:
    """The processes of turns: those of the user's but for the server."""
    return [pid for pid in user.processes.of_turns(user.api) if pid != user.server().pid]


@pytest.mark.long
@on_both_backends
async def test_a_day_of_a_server(tmp_path: Path, backend: str) -> None:
    flags = ("--backend", backend, "--max-idle-sessions", "0", "--drain-timeout-ms", "200")
    async with shell(tmp_path, scripted) as user, AsyncExitStack() as stack:
        server = await user.start(*flags)
        status = json.loads((await user("status", "--json")).stdout)
        assert (status["running"], status["health"], status["pid"]) == (True, "ok", server.pid)

        said = [{"role": "user", "content": "Hi"}]
        first = await answer(server.base_url, said)
        assert first["content"] == "friendly"
        assert (await answer(server.base_url, [*said, first, *said]))["content"] == "friendly"
        await until(lambda: turns(user) == [], "the turns' processes are gone")

        # A run is followed while it streams, and cancelled in the middle.
        call = await begin(stack, server.base_url)
        run_id = call.headers["x-claude-openai-run"]
        async with tailing(user, "-f", run_id) as tail:
            await read(tail, "Hello")
            (group,) = [pid for pid in turns(user) if pid != tail.pid and os.getpgid(pid) == pid]
            assert (await user("cancel", run_id)).stdout == f"{run_id} cancelled\n"
            await ends_with(call, "run_cancelled")
            assert group not in turns(user)
            assert await tail.wait() == 1
        assert (await statuses(user))[0] == "cancelled"

        # The server is killed with a run under way: it has failed, nothing is left, and a new one starts.
        call = await begin(stack, server.base_url)
        os.kill(server.pid, signal.SIGKILL)
        await user.processes.wait_none()
        assert (await listed(user))[0]["error"]["code"] == "server_ended"
        assert set(user.files()) == INSTANCE_FILES

        server = await user.start(*flags, "--process-timeout-ms", "3000")
        async with Call.open(server.base_url, chat("Talk without end.", stream=True)) as call:
            # On a busy machine the time may be over before Claude has begun.
            if await call.status() == 200:
                await ends_with(call, "timeout")
            else:
                assert json.loads(await call.body())["error"]["code"] == "timeout"
        await until(lambda: turns(user) == [], "the turn's process is gone")
        assert [run["status"] for run in await listed(user)] == [
            *("failed", "failed", "cancelled", "completed", "completed")
        ]
        stopped = await user("stop")
        assert (stopped.code, stopped.stderr) == (0, "")
        assert user.processes.all() == []
        assert user.files() == []


@pytest.mark.long
@on_both_backends
async def test_ten_at_once_are_cancelled_by_their_ids_and_leave_nothing(tmp_path: Path, backend: str) -> None:
    async with shell(tmp_path, scripted) as user, AsyncExitStack() as stack:
        more = ("--max-concurrency", str(AT_ONCE), "--max-idle-sessions", "0")
        server = await user.start("--backend", backend, *more)
        calls: list[Call] = []

        async def start() -> None:
            calls.append(await begin(stack, server.base_url))

        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(start)
        assert await statuses(user) == ["running"] * AT_ONCE
        assert len(turns(user)) >= AT_ONCE

        async def cancel(call: Call) -> None:
            run_id = call.headers["x-claude-openai-run"]
            cancelled = await user("cancel", run_id)
            assert (cancelled.code, cancelled.stdout) == (0, f"{run_id} cancelled\n")

        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(cancel, call)
                nursery.start_soon(ends_with, call, "run_cancelled")
        assert turns(user) == []
        assert await statuses(user) == ["cancelled"] * AT_ONCE
        assert (await user("stop")).code == 0
        assert user.processes.all() == []


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of its own that is soon full."""
    folder.mkdir(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@needs("mount")
@on_both_backends
async def test_a_full_disk_stops_no_turn_and_the_runs_end_as_they_ended(tmp_path: Path, backend: str) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with shell(tmp_path, scripted) as user:
            kept = ("--output-dir", str(disk))
            server = await user.start("--backend", backend, "--max-idle-sessions", "0", *kept)
            async with Call.open(server.base_url, chat("Talk at length.", stream=True)) as call:
                assert await call.status() == 200
                assert "".join(texts(await call.events())) == WORD * 400
            run_id = call.headers["x-claude-openai-run"]
            assert shutil.disk_usage(disk).free == 0
            for flags in ((), ("-f",)):
                tailed = await user("tail", *flags, run_id)
                assert tailed.code == 1
                assert (WORD * 400).startswith(tailed.stdout.rstrip("\n"))
                assert f"the output of {run_id} is incomplete" in tailed.stderr
            # One for which there is no room at all is answered too.
            assert (await answer(server.base_url, "Hi"))["content"] == "friendly"
            told = [run for run in await listed(user) if run["id"] == run_id]
            log = Path(server.log_file or "")
            assert '"runs.not_captured"' in await trio.Path(log).read_text()

            assert (await user("stop")).code == 0
            # With the disk as full as it was, the file alone says how it ended.
            assert [run for run in await listed(user) if run["id"] == run_id] == told
            assert told[0]["status"] == "completed"
            assert (await user("tail", run_id)).code == 1
