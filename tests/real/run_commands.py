"""The commands that list and print runs, called as a user does."""

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.real.command import MODULE, Shell

__all__ = ["listed", "read", "statuses", "tailing"]


async def listed(user: Shell, *flags: str) -> list[dict[str, Any]]:
    said = await user("runs", "--json", *flags)
    assert (said.code, said.stderr) == (0, "")
    runs: list[dict[str, Any]] = json.loads(said.stdout)
    return runs


async def statuses(user: Shell) -> list[str]:
    return [run["status"] for run in await listed(user)]


@asynccontextmanager
async def tailing(user: Shell, *argv: str) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [*MODULE, "tail", *argv],
        cwd=user.folder,
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with process.stdout, process.stderr:
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def read(process: trio.Process, text: str) -> None:
    """Read what it prints to the end of the text."""
    assert process.stdout is not None
    seen = b""
    while not seen.endswith(text.encode()):
        data = await process.stdout.receive_some()
        assert data, seen
        seen += data
