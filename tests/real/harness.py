"""The whole server for a test: the bundled CLI and the Agent SDK in the middle, a stand-in for Claude at one end and a
client at the other, all on loopback.

`serving` runs the server inside the test's own trio program, `Call` is one request over a raw socket, read as far as a
test wants. Every process that a server starts carries a variable of its own, so a test can tell which are left without
trusting the server's word for it. Knows no behaviour that is under test.
"""

import importlib.util
import json
import os
import select
import struct
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import h11
import openai
import pytest
import trio

from claude_openai import Config, serve
from claude_openai.claude.hermetic import stand_in_environment
from claude_openai.testing import Answer, MessagesApi, Reply, Script
from tests.sse_reader import Message, SseReader

__all__ = [
    "LIMIT_S",
    "OK",
    "Call",
    "Marked",
    "Served",
    "call",
    "chat_body",
    "config_for",
    "deltas",
    "needs_claude",
    "needs_proc",
    "post",
    "serving",
]

# Far beyond what any of it takes, so that only a hang meets it: this machine may be busy with other things.
LIMIT_S: Final = 60.0
MODEL: Final = "claude-sonnet"
OK: Final = Reply("ok")

Body: TypeAlias = dict[str, Any]


def _claude_is_there() -> bool:
    spec = importlib.util.find_spec("claude_agent_sdk")
    return spec is not None and spec.origin is not None and (Path(spec.origin).parent / "_bundled/claude").exists()


needs_claude = pytest.mark.skipif(not _claude_is_there(), reason="claude-agent-sdk brings no bundled claude CLI here")
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are counted through /proc")


class Marked:
    """The processes that carry a variable of their own, and so do all their children.

    Attributes:
        environment: give it to the server in `extra_env`, or to a command.
    """

    def __init__(self) -> None:
        self._name = "TEST_RING_MARK"
        self._value = uuid.uuid4().hex
        self.environment = {self._name: self._value}

    def pids(self) -> list[int]:
        """Those alive at this moment, and those dead that nobody has reaped if they are children of this process."""
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (self._carries(folder) or _is_own_zombie(folder)):
                found.append(int(folder.name))
        return sorted(found)

    async def wait_gone(self, within_s: float = 10.0) -> None:
        """Return when none is left; fails the test if some are after `within_s` seconds."""
        with trio.move_on_after(within_s):
            while pids := self.pids():
                for pid in pids:
                    await _wait_dead(pid)
            return
        raise AssertionError(f"processes are left: {[_command_line(pid) for pid in self.pids()]}")

    async def wait_seen(self, count: int = 1, within_s: float = 10.0) -> list[int]:
        """Return when at least `count` of them run."""
        with trio.fail_after(within_s):
            while len(pids := self.pids()) < count:
                await trio.lowlevel.checkpoint()
            return pids

    def _carries(self, folder: Path) -> bool:
        with suppress(OSError):
            return f"{self._name}={self._value}".encode() in (folder / "environ").read_bytes().split(b"\0")
        return False


def _is_own_zombie(folder: Path) -> bool:
    with suppress(OSError):
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        return state == "Z" and int(parent) == os.getpid()
    return False


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return f"{pid}"


async def _wait_dead(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    await trio.lowlevel.checkpoint()
