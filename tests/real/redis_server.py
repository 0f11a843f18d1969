"""A Redis or Valkey on loopback, which can be ended and started again."""

import gc
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.conditions import REDIS, needs
from tests.real.balancers import free_port
from tests.real.harness import LIMIT_S, POLL_S

__all__ = ["RedisServer", "coredis_warnings", "needs_redis", "redis_serving"]

needs_redis: Final = needs("redis-server")
# coredis leaves the channels of a connection that could not be opened to the garbage collector.
coredis_warnings: Final = pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning")


class RedisServer:
    """See the module.

    Args:
        folder: where it saves its data when it is stopped.
        port: where it listens.
        flags: more settings.
    """

    def __init__(self, folder: Path, port: int, flags: tuple[str, ...]) -> None:
        self._folder = folder
        self._port = port
        self._flags = flags
        self.url = f"redis://127.0.0.1:{port}/1"
        self.process: trio.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(REDIS), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        saving = ["--save", "", "--appendonly", "no"]
        with (self._folder / "redis.log").open("ab") as log:
            self.process = await trio.lowlevel.open_process(
                [*command, *saving, *self._flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        with trio.fail_after(LIMIT_S):
            while not await self._answers():  # noqa: ASYNC110 - there is no event
                await trio.sleep(POLL_S)

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it with a signal."""
        assert self.process is not None
        self.process.send_signal(number)
        await self.process.wait()

    async def restart(self) -> None:
        """Let it save its data and end, and start it again."""
        assert self.process is not None
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            await stream.send_all(b"SHUTDOWN SAVE\r\n")
            await self.process.wait()
        await self.start()

    async def ask(self, *words: str) -> bytes:
        """Send a command, and return the first line of the answer."""
        async with await trio.open_tcp_stream("127.0.0.1", self._port) as stream:
            parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
            await stream.send_all("".join(["*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n", f"*{len(words)}\r\n", *parts]).encode())
            found = b""
            while found.count(b"\r\n") < 2:
                found += await stream.receive_some()
        return found.split(b"\r\n")[1]

    async def _answers(self) -> bool:
        try:
            return (await self.ask("PING")).startswith((b"+PONG", b"-NOAUTH"))
        except (OSError, trio.BrokenResourceError):
            return False


@asynccontextmanager
async def redis_serving(folder: Path, *flags: str) -> AsyncIterator[RedisServer]:
    """Run a Redis; kill it at the end of the block.

    Args:
        folder: of its files.
        flags: more settings.
    """
    server = RedisServer(folder, await free_port(), flags)
    try:
        await server.start()
        yield server
    finally:
        with trio.CancelScope(shield=True):
            if server.process is not None and server.process.returncode is None:
                await server.stop()
        # Here the warnings of `coredis_warnings` are expected.
        gc.collect()
