"""One supervised process: a session of its own, drained pipes, and an end that is certain and bounded.

Knows processes and signals, nothing of what is said over the pipes. Rules: the group is watched by the guardian before
the first await; the leader is waited for by its exit and not by the end of its pipes, which a grandchild can hold open;
the group is killed while the dead leader still holds its number, so the number cannot be somebody else's; every wait of
the kill ladder is bounded, and giving up is logged.
"""

import fcntl
import os
import signal
import subprocess
import sys
import termios
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import trio

from claude_openai.claude.guardian import Guardian
from claude_openai.logs.log import Log

__all__ = ["SupervisedProcess", "supervised"]

READ_BYTES = 65536
KILL_WAIT_S = 2.0
# How long a pipe may stay silent after the leader's death before it is closed against a grandchild that escaped the
# group.
ORPHAN_PIPE_S = 0.5
STDERR_TAIL_BYTES = 4096
EXIT_CODE_WAIT_S = 1.0


class SupervisedProcess:
    """A running child. Made by `supervised`, which owns its tasks.

    Attributes:
        exit_code: once it has ended and is reaped.
        unread: then, how many of the bytes that were written to it it has not read.
    """

    def __init__(self, process: trio.Process, guardian: Guardian, log: Log) -> None:
        self.pid = process.pid
        self._process = process
        self._stdin, self._stdout, self._stderr = (
            cast("trio.lowlevel.FdStream", stream) for stream in (process.stdin, process.stdout, process.stderr)
        )
        self._guardian = guardian
        self._log = log
        self._writing = trio.Lock()  # the SDK writes from several tasks at once
        self._reads = 0
        self._waits_for_output = False
        self._tail: deque[bytes] = deque()
        self._waiting = trio.CancelScope(shield=True)
        self._exited = trio.Event()
        self.exit_code: int | None = None
        self.unread = 0

    @property
    def running(self) -> bool:
        return not self._exited.is_set()

    @property
    def stderr_tail(self) -> str:
        """The last words on standard error, at most 4 KiB."""
        return b"".join(self._tail)[-STDERR_TAIL_BYTES:].decode(errors="replace").strip()

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            trio.BrokenResourceError: the process reads no more.
        """
        async with self._writing:
            await self._stdin.send_all(data)

    async def read(self) -> bytes:
        """Some of its standard output, b"" at the end."""
        self._waits_for_output = True
        try:
            return bytes(await self._stdout.receive_some(READ_BYTES))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return b""
        finally:
            self._waits_for_output = False
            self._reads += 1

    async def wait_exit(self) -> None:
        await self._exited.wait()

    async def why_gone(self) -> str:
        """How it ended and its last words, for messages, once its pipes have ended."""
        with trio.move_on_after(EXIT_CODE_WAIT_S):
            await self.wait_exit()
        code, words = self.exit_code, self.stderr_tail
        ended = "its output ended" if code is None else f"it ended with exit status {code}"
        return f"{ended}; its last words: {words}" if words else ended

    async def stop(self, *, grace_s: float) -> None:
        """End it and its group, whatever they do. Shielded; returns when it is reaped, after `grace_s` + 2 s at most.

        There is no SIGTERM on the way: Claude Code answers it with one more upstream call if tool calls are open, and
        it has nothing to save. It answers the end of its input in the same way, so that is for one at rest only.

        Args:
            grace_s: how long it may take to leave by itself when its input ends; 0 kills it at once.
        """
        leaves = [(self._stdin.close, grace_s)] if grace_s else []
        with trio.CancelScope(shield=True):
            for step, wait_s in (*leaves, (self.kill, KILL_WAIT_S)):
                if self._exited.is_set():
                    return
                step()
                with trio.move_on_after(wait_s):
                    await self._exited.wait()
            if not self._exited.is_set():
                self._log.error("process.abandoned", pid=self.pid)
                self._waiting.cancel()

    def kill(self) -> None:
        """Kill its group; `stop` waits for the end."""
        if self.running:
            _kill_group(self.pid, signal.SIGKILL)

    async def watch(self) -> None:
        """Wait for the leader's death, take its group with it, reap it. Goes on when its request is cancelled."""
        with self._waiting:
            await _dead_but_not_reaped(self.pid)
            _kill_group(self.pid, signal.SIGKILL)
            self.exit_code = await self._process.wait()
            self._guardian.forget(self.pid)
            self.unread = _unread(self._stdin)
            self._exited.set()
            self._log.debug("process.exit", pid=self.pid, exit_code=self.exit_code)
        await self._close_silent_output()

    async def _close_silent_output(self) -> None:
        while True:
            seen = self._reads
            await trio.sleep(ORPHAN_PIPE_S)
            if self._waits_for_output and self._reads == seen:
                self._stdout.close()
                return

    async def drain_stderr(self) -> None:
        """Read standard error, so that the child never blocks on it; keep the end of it."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while chunk := await self._stderr.receive_some(READ_BYTES):
                self._log.debug("process.stderr", pid=self.pid, text=bytes(chunk))
                self._tail.append(bytes(chunk)[-STDERR_TAIL_BYTES:])
                while len(self._tail) > 1 and sum(map(len, self._tail)) - len(self._tail[0]) >= STDERR_TAIL_BYTES:
                    self._tail.popleft()

    def close_pipes(self) -> None:
        for stream in (self._stdin, self._stdout, self._stderr):
            stream.close()


@asynccontextmanager
async def supervised(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, guardian: Guardian, log: Log
) -> AsyncIterator[SupervisedProcess]:
    """Run a process for as long as the block; afterwards it and its group are gone.

    Raises:
        OSError: it could not be started.
    """
    child = await trio.lowlevel.open_process(
        list(argv),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    guardian.watch(child.pid)  # no await since the spawn
    process = SupervisedProcess(child, guardian, log)
    log.debug("process.start", pid=process.pid)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.watch)
        nursery.start_soon(process.drain_stderr)
        try:
            yield process
        finally:
            await process.stop(grace_s=0)
            process.close_pipes()
            nursery.cancel_scope.cancel()


async def _dead_but_not_reaped(pid: int) -> None:
    if sys.platform != "linux":  # pragma: no cover
        # No way to wait without reaping; trio's own wait follows at once.
        return
    descriptor = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)


def _unread(pipe: trio.lowlevel.FdStream) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # the system does not say; it is closed
        return 0


def _kill_group(group: int, number: signal.Signals) -> None:
    # EPERM: on macOS, a group of which only zombies are left.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
