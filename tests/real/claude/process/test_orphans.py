"""A server that is killed takes its processes and its private folder with it, and so does one whose guardian was."""

import os
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from claude_openai.testing import Hang, Reply, Text
from tests.real.call import Call, chat
from tests.real.command import Command, running
from tests.real.fake_cli import fake_cli
from tests.real.harness import needs_claude, until, until_one

pytestmark = needs_claude

HISTORY = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
HANGS = Reply(Text("one", Hang()))
# Neither signals nor the end of its input end it or its child.
STUBBORN = "trap '' TERM INT HUP; while :; do sleep 100; done"
STUBBORN_FAMILY = f"asked; begin; delta one; ({STUBBORN}) & {STUBBORN}"


async def answering(command: Command, stack: AsyncExitStack) -> Call:
    """A turn in the middle of its answer, with a transcript."""
    call = await stack.enter_async_context(Call.open(command.url, chat(HISTORY, stream=True)))
    assert await call.status() == 200
    await call.until_text("one")
    return call


@pytest.mark.parametrize("to_group", [False, True], ids=["alone", "with its group"])
async def test_a_killed_server_leaves_no_claude(tmp_path: Path, to_group: bool) -> None:
    async with running(tmp_path, reply=HANGS) as command, AsyncExitStack() as stack:
        await answering(command, stack)
        assert list(command.temporary.rglob("*.jsonl"))
        command.send(signal.SIGKILL, to_group=to_group)
        await command.left_nothing()
        await command.api.requests[0].disconnected.wait()


@pytest.mark.long
async def test_a_killed_server_leaves_no_stubborn_family(tmp_path: Path) -> None:
    flags = ("--claude-command", fake_cli(tmp_path, STUBBORN_FAMILY))
    async with running(tmp_path, *flags) as command, AsyncExitStack() as stack:
        for _ in range(2):
            await answering(command, stack)
        await until(lambda: len(command.processes.marked()) >= 5, "their families run")
        command.send(signal.SIGKILL)
        await command.left_nothing()


@pytest.mark.long
async def test_a_server_whose_guardian_is_killed_goes_on_and_still_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, reply=HANGS) as command, AsyncExitStack() as stack:
        await answering(command, stack)
        server = command.process.pid
        guardian = await until_one(partial(command.processes.guardians_of, server), "its guardian runs")
        os.kill(guardian, signal.SIGKILL)
        await until(lambda: guardian not in command.processes.guardians_of(server), "the guardian is dead")
        await answering(command, stack)
        # A new one comes with the next process, which is a spare's if this turn took one.
        await until(lambda: bool(command.processes.guardians_of(server)), "there is a guardian again")
        assert len(command.api.requests) == 2
        command.send(signal.SIGKILL)
        await command.left_nothing()


@pytest.mark.long
async def test_a_killed_server_that_was_idle_leaves_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as command:
        async with Call.open(command.url, chat("Hi")) as call:
            assert await call.status() == 200
            await call.body()
        command.send(signal.SIGKILL)
        await command.left_nothing()
