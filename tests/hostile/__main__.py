"""Attack a server: `python -m tests.hostile [--bodies N] [--requests N] [--seed N] [--seconds N]`.

A server over a scripted backend, in a process of its own, is sent bodies that cause much work, then many that are
hostile in all ways, then hostile HTTP requests, while another client asks for its health. Exits 1 if an answer was a
5xx or none that a client could read, if the health took too long, or if the server's memory grew. On a busy machine the
health takes long anyway; so the report has how long it took before, and how long one step of the event loop took.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from subprocess import PIPE
from typing import Final
from urllib.parse import urlsplit

import h11
import trio

from tests.hostile.bodies import hostile_bodies
from tests.hostile.client import Answer, Connection, complaint
from tests.hostile.heavy import heavy_bodies
from tests.hostile.requests import HOSTILE

ATTACKERS: Final = 4
REST_S: Final = 3
MAX_HEALTH_MS: Final = 250
# What an allocator may keep. A leak of 4 KB a request would be more.
MAX_GROWTH_MIB: Final = 64
ANSWER_WAIT_S: Final = 60
SHOWN: Final = 20


class Attack:
    """What is sent to a server, and what came of it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.statuses: Counter[int] = Counter()
        self.complaints: list[str] = []

    async def send_bodies(self, bodies: Iterator[tuple[str, bytes]], at_once: int = ATTACKERS) -> None:
        """Send them all, so many at a time."""
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(self._send_bodies, bodies)

    async def send_requests(self, requests: list[bytes]) -> None:
        for raw in requests:
            with trio.move_on_after(ANSWER_WAIT_S) as waiting:
                self._note(await self._answer_to(raw), raw)
            if waiting.cancelled_caught:
                self.complaints.append(f"no answer to {raw[:300]!r}")

    async def _send_bodies(self, bodies: Iterator[tuple[str, bytes]]) -> None:
        connection = Connection(*self._address)
        for target, body in bodies:
            try:
                with trio.fail_after(ANSWER_WAIT_S):
                    self._note(await connection.ask("POST", target, body), body)
            except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError, trio.TooSlowError) as error:
                await connection.aclose()
                self.complaints.append(f"{error!r} for {body[:300]!r}")
        await connection.aclose()

    async def _answer_to(self, raw: bytes) -> Answer:
        data = b""
        async with await trio.open_tcp_stream(*self._address) as stream:
            try:
                await stream.send_all(raw)
                await stream.send_eof()
            except (trio.BrokenResourceError, OSError):
                pass  # it has answered before it has read all
            try:
                while chunk := await stream.receive_some():
                    data += chunk
            except trio.BrokenResourceError:
                pass
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        return Answer(int((first.split() or ["", "0"])[1]), headers, body)

    def _note(self, answer: Answer, sent: bytes) -> None:
        self.statuses[answer.status] += 1
        wrong = complaint(answer)
        if wrong:
            self.complaints.append(f"{wrong} for {sent[:300]!r}")


@asynccontextmanager
async def child(*command: str) -> AsyncIterator[tuple[trio.Process, list[str]]]:
    """A module of this folder in a process, and its last line of output, which comes when the block has ended."""
    last: list[str] = []
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, [sys.executable, "-m", *command], stdin=PIPE, stdout=PIPE)
        process: trio.Process = await nursery.start(run)
        assert process.stdin is not None
        assert process.stdout is not None
        yield process, last
        await process.stdin.aclose()
        text = b"".join([chunk async for chunk in process.stdout])
        last.append(text.decode().strip())


def memory_mib(pid: int) -> int:
    """What a process has of the machine's memory; 0 where the system does not report it."""
    path = Path(f"/proc/{pid}/status")
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


async def attack(options: argparse.Namespace) -> bool:
    """Whether the server held."""
    bodies = hostile_bodies(options.seed, options.bodies)
    async with child("tests.hostile.server") as (server, longest_step_ms):
        assert server.stdout is not None
        url = urlsplit((await server.stdout.receive_some()).decode().strip())
        watcher = ("tests.hostile.health", str(url.hostname), str(url.port))
        attacked = Attack(str(url.hostname), url.port or 0)
        with trio.move_on_after(options.seconds) as limit:
            async with child(*watcher) as (_, rest):
                await trio.sleep(REST_S)
            async with child(*watcher) as (_, heavy):
                await attacked.send_bodies(heavy_bodies(), at_once=2)
            async with child(*watcher) as (_, many):
                memory = [memory_mib(server.pid)]
                await attacked.send_bodies(islice(bodies, options.bodies // 5))
                memory.append(memory_mib(server.pid))
                await attacked.send_bodies(bodies)
                await attacked.send_requests(HOSTILE[: options.requests])
                memory.append(memory_mib(server.pid))
    if limit.cancelled_caught:
        print("FAILED: not all was sent in time")
        return False
    waits = {"at rest": rest, "while heavy bodies are read": heavy, "while many are": many}
    health = {name: sorted(json.loads(last[0])) for name, last in waits.items()}
    print(f"answers by status: {dict(sorted(attacked.statuses.items()))}")
    for name, times in health.items():
        print(f"health {name}, ms: {spread(times)}")
    print(f"longest step of the event loop, ms: {longest_step_ms[0]}")
    print(f"memory before the many, after a fifth, at the end, MiB: {memory}")
    print(*attacked.complaints[:SHOWN], sep="\n")
    longest_ms = max(times[-1] for times in health.values())
    failures = {
        f"{len(attacked.complaints)} answers were wrong": bool(attacked.complaints),
        f"the health took more than {MAX_HEALTH_MS} ms": longest_ms > MAX_HEALTH_MS,
        f"memory grew by more than {MAX_GROWTH_MIB} MiB": memory[-1] - memory[1] > MAX_GROWTH_MIB,
    }
    print(*(f"FAILED: {name}" for name, failed in failures.items() if failed), sep="\n")
    return not any(failures.values())


def spread(waits: list[float]) -> str:
    middle, most = (waits[int(len(waits) * share)] for share in (0.5, 0.99))
    return f"half within {middle:.1f}, 99 % within {most:.1f}, the longest {waits[-1]:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Attack a server.")
    parser.add_argument("--bodies", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=len(HOSTILE))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3600)
    return 0 if trio.run(attack, parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
