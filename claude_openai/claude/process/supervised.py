"""One supervised process: started by the guardian, with drained pipes and a bounded end.

The supervisor (`guardian_program`) sends the signals: it kills the process with all its descendants on request, and
kills the descendants when the process ends. Here every wait for that is bounded, and giving up is logged; the
supervisor then continues alone.
"""

import fcntl
import sys
import termios
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from claude_openai.claude.process.guardian import Guardian, Started
from claude_openai.file_access import READ_BYTES
from claude_openai.logs.log import Log

__all__ = ["SupervisedProcess", "supervised"]

KILL_WAIT_S: Final = 2.0
STDERR_TAIL_BYTES = 4096
LAST_WORDS_WAIT_S = 1.0


class SupervisedProcess:
    """A running process. Made by `supervised`, which owns its tasks.

    Attributes:
        exit_code: set once the process has ended.
        unread: the number of written bytes that the process had not read when it ended.
    """

    def __init__(self, started: Started, log: Log, kill_wait_s: float = KILL_WAIT_S) -> None:
        self.pid = started.pid
        self._link = started.link
        self._stdin, self._stdout, self._stderr = started.stdin, started.stdout, started.stderr
        self._log = log
        self._kill_wait_s = kill_wait_s
        self._writing = trio.Lock()  # the SDK writes from several tasks at once
        self._tail: deque[bytes] = deque()
        self._stderr_ended = trio.Event()
        self._watching = trio.CancelScope(shield=True)
        self._exited = trio.Event()
        self._gone = trio.Event()
        self.exit_code: int | None = None
        self.unread = 0

    @property
    def running(self) -> bool:
        return not self._exited.is_set()

    @property
    def stderr_tail(self) -> str:
        """The end of its standard error, at most 4 KiB."""
        return b"".join(self._tail)[-STDERR_TAIL_BYTES:].decode(errors="replace").strip()

    async def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            trio.BrokenResourceError: the process has closed its input.
        """
        async with self._writing:
            await self._stdin.send_all(data)

    async def read(self) -> bytes:
        """Return a chunk of its standard output, b"" at the end."""
        try:
            return bytes(await self._stdout.receive_some(READ_BYTES))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return b""

    async def wait_exit(self) -> None:
        await self._exited.wait()

    async def why_gone(self) -> str:
        """Wait for the end of its pipes; describe how it ended, with the end of its standard error."""
        with trio.move_on_after(LAST_WORDS_WAIT_S):
            await self.wait_exit()
            await self._stderr_ended.wait()  # standard error may end later than standard output
        code, stderr = self.exit_code, self.stderr_tail
        ended = "it closed its output" if code is None else f"it ended with exit status {code}"
        return f"{ended}; end of its standard error: {stderr}" if stderr else ended

    async def stop(self, *, grace_s: float) -> None:
        """End the process and its descendants, shielded, and return when none is left.

        It returns after `grace_s` + `kill_wait_s` at most.

        SIGTERM is not used: Claude Code answers it with one more upstream call if tool calls are open, and it has
        nothing to save. It answers the end of its input in the same way, so a grace period is for an idle process only.

        Args:
            grace_s: seconds in which it may exit after its input ends; 0 kills it at once.
        """
        leaves = [(self._stdin.close, grace_s)] if grace_s else []
        with trio.CancelScope(shield=True):
            for step, wait_s in (*leaves, (self.kill, self._kill_wait_s)):
                if self._gone.is_set():
                    return
                step()
                with trio.move_on_after(wait_s):
                    await self._gone.wait()
            if not self._gone.is_set():
                self._log.error("process.abandoned", pid=self.pid)
                self._watching.cancel()

    def kill(self) -> None:
        """Have the process and its descendants killed; `stop` waits for the end."""
        self._link.kill()

    async def watch(self) -> None:
        """Wait for the end of the process and of its descendants, even if its request is cancelled."""
        with self._watching:
            exited = await self._link.next_line()  # "" if its supervisor was killed, which kills the process too
            self.exit_code = int(exited.removeprefix("exited ")) if exited else None
            self.unread = _unread(self._stdin)
            self._exited.set()
            self._log.debug("process.exit", pid=self.pid, exit_code=self.exit_code)
            await self._link.next_line()
            self._gone.set()

    async def drain_stderr(self) -> None:
        """Read standard error, so that the process never blocks on it; keep the end of it."""
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while chunk := await self._stderr.receive_some(READ_BYTES):
                self._log.debug("process.stderr", pid=self.pid, text=bytes(chunk))
                self._tail.append(bytes(chunk)[-STDERR_TAIL_BYTES:])
                while len(self._tail) > 1 and sum(map(len, self._tail)) - len(self._tail[0]) >= STDERR_TAIL_BYTES:
                    self._tail.popleft()
        self._stderr_ended.set()


@asynccontextmanager
async def supervised(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    guardian: Guardian,
    log: Log,
    kill_wait_s: float = KILL_WAIT_S,
) -> AsyncIterator[SupervisedProcess]:
    """Run a process for the length of the block; afterwards the process and its descendants are gone.

    Args:
        argv: the program and its arguments.
        env: all its environment variables.
        cwd: its working directory.
        guardian: starts it.
        log: for events of the process.
        kill_wait_s: seconds after which a killed process that has not ended is given up.

    Raises:
        OSError: the process could not be started.
    """
    started = await guardian.start(argv, env=env, cwd=cwd)
    try:
        process = SupervisedProcess(started, log, kill_wait_s)
        log.debug("process.start", pid=process.pid)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.watch)
            nursery.start_soon(process.drain_stderr)
            try:
                yield process
            finally:
                await process.stop(grace_s=0)
                nursery.cancel_scope.cancel()
    finally:
        started.close()


def _unread(pipe: trio.lowlevel.FdStream) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
    except (OSError, ValueError):  # not supported by the system; the pipe is closed
        return 0
