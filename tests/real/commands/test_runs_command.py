"""Runs as somebody at a shell sees them: real servers, real commands, the real Claude Code."""

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.testing import Hang, Pause, Reply, Text, ToolUse
from tests.real.call import Call, chat
from tests.real.command import Shell, shell
from tests.real.harness import needs_claude, on_both_backends, until
from tests.real.run_commands import listed, read, statuses, tailing
from tests.real.terminal import in_terminal

pytestmark = [needs_claude, pytest.mark.long]

LOOK = {"type": "function", "function": {"name": "look"}}
ASKED = [{"role": "user", "content": "Look!"}]


def assert_private(folder: Path) -> None:
    """Only its owner can read it, and there is nothing of the prompt."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "Hi" not in path.read_text()


@on_both_backends
async def test_a_run_is_followed_and_cancelled_while_it_streams_and_both_outlive_the_server(
    tmp_path: Path, backend: str
) -> None:
    async with shell(tmp_path, Reply("first answer")) as user:
        server = await user.start("--max-idle-sessions", "0", "--backend", backend)
        assert server.output_dir == str(user.home / ".claude-openai" / "output")
        async with Call.open(server.base_url, chat("Hi")) as call:
            assert await call.status() == 200
            first = call.headers["x-claude-openai-run"]
            await call.body()
        await until(lambda: user.processes.marked() == [server.pid], "the first turn's process is gone")
        user.api.enqueue(Reply(Text("Hel", "lo", Hang())))
        async with Call.open(server.base_url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            second = call.headers["x-claude-openai-run"]
            assert call.headers["x-claude-openai-conversation"] == "new"
            await call.until_text("lo")
            assert await statuses(user) == ["running", "completed"]
            assert (await user("tail", second)).code == 0  # what there is so far
            async with tailing(user, "-f", second[:12]) as tail:
                await read(tail, "Hello")
                cancelled = await user("cancel", second[4:])
                assert cancelled == type(cancelled)(0, f"{second} cancelled\n", "")
                assert set(user.processes.of_turns(user.api)) <= {server.pid, tail.pid}
                error, done = await call.events()
                assert isinstance(error, dict)
                assert (error["error"]["code"], done) == ("run_cancelled", "[DONE]")
                assert await tail.wait() == 1
                assert tail.stderr is not None
                told = (await tail.stderr.receive_some()).decode()
        assert told == f"claude-openai: {second} was cancelled: The run was cancelled on the server.\n"
        running = await listed(user)
        assert [(run["id"], run["status"]) for run in running] == [(second, "cancelled"), (first, "completed")]
        assert running[0]["error"] == error["error"]
        assert running[1]["usage"]["total_tokens"] > 0
        assert (await user("tail", first)).stdout == "first answer\n"
        assert (await user("cancel", first)).code == 1

        assert (await user("stop")).code == 0
        assert await listed(user) == running
        tailed = await user("tail", "-f", second)
        assert (tailed.code, tailed.stdout) == (1, "Hello\n")
        assert_private(Path(server.output_dir))


async def test_watched_table_follows_the_runs_and_the_size_of_the_terminal(tmp_path: Path) -> None:
    gate = trio.Event()
    async with shell(tmp_path, Reply("before")) as user:
        server = await user.start()
        async with in_terminal(user, "runs", "--watch", columns=120, lines=5) as terminal:
            await terminal.shows("RUN ")
            user.api.enqueue(Reply(Text("one", Pause(gate), " two")))
            async with Call.open(server.base_url, chat("Hi", stream=True)) as call:
                assert await call.status() == 200
                await call.until_text("one")
                await terminal.shows("running")
                assert "\x1b[32mrunning\x1b[0m" in terminal.output.decode()
                gate.set()
                await call.events()
            await terminal.shows("completed")
            for _ in range(5):
                async with Call.open(server.base_url, chat("Hi")) as call:
                    assert await call.status() == 200
                    await call.body()
            # The table is cut to the height, so that its head stays on the screen.
            await terminal.until(lambda lines: "RUN" in lines[0] and all(lines[:4]), "a full screen")
            terminal.resize(45, 5)
            await terminal.until(lambda lines: "STATUS" in lines[0] and "BACKEND" not in lines[0], "a narrow table")
            terminal.press("\x03")
            assert await terminal.process.wait() == 130


async def test_tail_without_an_id_prints_each_run_until_it_is_interrupted(tmp_path: Path) -> None:
    gate = trio.Event()
    async with shell(tmp_path, Reply("before")) as user:
        server = await user.start()
        async with Call.open(server.base_url, chat("Hi")) as call:
            assert await call.status() == 200
            await call.body()
        user.api.enqueue(Reply(Text("one", Pause(gate), " two")), Reply("three"))
        async with Call.open(server.base_url, chat("Hi", stream=True)) as call, tailing(user, "-f") as tail:
            assert await call.status() == 200
            await call.until_text("one")
            await read(tail, "one")
            gate.set()
            await read(tail, " two\n")
            await call.events()
            async with Call.open(server.base_url, chat("Hi")) as second:
                assert await second.status() == 200
                await second.body()
            await read(tail, "three\n")
            tail.send_signal(signal.SIGINT)
            assert await tail.wait() == 130
            assert tail.stderr is not None
            told = (await tail.stderr.receive_some()).decode().splitlines()
        ids = [run["id"] for run in await listed(user)][:2]
        assert told == [f"claude-openai: {run_id}, claude-sonnet:" for run_id in reversed(ids)]


@pytest.mark.parametrize(("flags", "code"), [((), 2), (("-f",), 1)])
async def test_tail_without_an_id_needs_a_server_to_follow(tmp_path: Path, flags: tuple[str, ...], code: int) -> None:
    async with shell(tmp_path) as user:
        refused = await user("tail", *flags)
        assert (refused.code, refused.stdout, len(refused.stderr.splitlines())) == (code, "", 1)


async def test_a_run_whose_server_was_killed_has_failed(tmp_path: Path) -> None:
    async with shell(tmp_path, Reply(Text("Hel", Hang()))) as user:
        server = await user.start("--output-dir", "captured")
        async with Call.open(server.base_url, chat("Hi", stream=True)) as call:
            await call.status()
            await call.until_text("Hel")
            run_id = call.headers["x-claude-openai-run"]
            async with tailing(user, "-f", run_id) as interrupted, tailing(user, "-f", run_id) as tail:
                await read(interrupted, "Hel")
                interrupted.send_signal(signal.SIGINT)
                assert await interrupted.wait() == 130
                assert interrupted.stderr is not None
                assert await interrupted.stderr.receive_some() == b""
                await read(tail, "Hel")
                os.kill(server.pid, signal.SIGKILL)
                assert await tail.wait() == 1
        (run,) = await listed(user, "--output-dir", "captured")
        assert (run["id"], run["status"], run["error"]["code"]) == (run_id, "failed", "server_ended")
        tailed = await user("tail", "--output-dir", "captured", run_id)
        assert (tailed.code, tailed.stdout) == (1, "Hel\n")


async def call_a_tool(url: str, user: Shell) -> tuple[str, dict[str, Any]]:
    user.api.enqueue(Reply(ToolUse("mcp__openai__look", {}, f"toolu_{len(user.api.requests)}")))
    async with Call.open(url, chat(ASKED, tools=[LOOK])) as call:
        _, answer = await call.answer()
    return call.headers["x-claude-openai-run"], answer["choices"][0]["message"]


async def test_a_parked_run_is_completed_by_its_results_or_cancelled_with_its_process(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        server = await user.start()
        _, message = await call_a_tool(server.base_url, user)
        assert await statuses(user) == ["parked"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "seen"}
        async with Call.open(server.base_url, chat([*ASKED, message, result], tools=[LOOK])) as call:
            await call.answer()
        assert [(run["status"], run["conversation"]) for run in await listed(user)] == [
            ("completed", "parked"),
            ("completed", "new"),
        ]
        before = user.processes.of_turns(user.api)
        run_id, _ = await call_a_tool(server.base_url, user)
        assert set(user.processes.of_turns(user.api)) - set(before)
        assert (await user("cancel", run_id)).stdout == f"{run_id} cancelled\n"
        assert set(user.processes.of_turns(user.api)) <= set(before)
        assert (await statuses(user))[0] == "cancelled"
        raw = [json.loads(line)["type"] for line in (await user("tail", "--raw", run_id)).stdout.splitlines()]
        assert raw[:4] == ["asked", "running", "answering", "tool_call"]
        assert raw[-2:] == ["end", "end"]
