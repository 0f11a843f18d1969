"""A server whose system lacks something: it says what, goes on, and recovers without a restart."""

import json
import os
import resource
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from claude_openai.testing import Reply
from tests.conditions import OTHER_USER, PACKAGES, needs, python_of_another_user
from tests.http_client import texts
from tests.real.call import Call, chat
from tests.real.command import MODULE, Command, running
from tests.real.harness import LIMIT_S, needs_claude, on_both_backends, until, until_one

pytestmark = [needs_claude, pytest.mark.long]

HISTORY: Final = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello" * 2000},
    {"role": "user", "content": "Again"},
]
ALONE: Final = ("--spares", "0", "--max-idle-sessions", "0")
# A small file system of its own in a folder that a variable names.
FULL: Final = (
    'mount -t tmpfs -o size=16k tmpfs "$TMPDIR" && head -c 16k /dev/zero > "$TMPDIR/filling" && exec "$0" "$@"'
)
MOUNTED: Final = 'mount -t tmpfs -o size=3m tmpfs "${}" && exec "$0" "$@"'


async def answered(command: Command, messages: Any = "Hi", **fields: Any) -> None:
    async with Call.open(command.url, chat(messages, stream=True, **fields)) as call:
        assert await call.status() == 200, await call.body()
        assert texts(await call.events()) == ["ok"]


async def refused(command: Command, messages: Any = "Hi") -> str:
    async with Call.open(command.url, chat(messages)) as call:
        status, error = await call.answer()
    assert (status, error["error"]["type"]) == (502, "upstream_error"), error
    message: str = error["error"]["message"]
    assert message.startswith("Claude Code could not be started: ")
    assert "--claude-command" not in message
    return message


async def is_healthy(command: Command) -> None:
    async with Call.open(command.url, None, "/health") as call:
        assert await call.status() == 200
        await call.body()


@contextmanager
def limited(pid: int, kind: int, soft: int) -> Iterator[None]:
    """A limit of a process, for as long as the block."""
    before, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, (before, hard))


def open_files(command: Command) -> int:
    return len(os.listdir(f"/proc/{command.process.pid}/fd"))  # noqa: PTH208


async def test_flood_of_half_requests_at_the_start_does_not_block_answers(tmp_path: Path) -> None:
    few_files = ("sh", "-c", 'ulimit -n 256 && exec "$0" "$@"', *MODULE)
    flags = (*ALONE, "--log-level", "info")
    async with running(tmp_path, *flags, reply=Reply("ok"), program=few_files) as command:
        host, _, port = command.url.removeprefix("http://").partition(":")
        streams = []
        for _ in range(400):
            stream = await trio.open_tcp_stream(host, int(port))
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
            streams.append(stream)
        await is_healthy(command)
        assert open_files(command) < 230
        await answered(command)
        await answered(command, HISTORY)
        for stream in streams:
            await stream.aclose()
        await is_healthy(command)
        # Once a minute, on a busy machine too.
        events = Counter(json.loads(line)["event"] for line in command.stdout().splitlines())
        assert events.keys() == {"confinement.tried", "http.request", "http.connections_replaced"}
        assert events["http.connections_replaced"] <= 3


@on_both_backends
async def test_descriptor_limit_is_an_error_for_the_client(tmp_path: Path, backend: str) -> None:
    async with running(tmp_path, *ALONE, "--backend", backend, reply=Reply("ok")) as command:
        await answered(command)
        await until(lambda: command.processes.claudes() == [], "the process is gone")
        with limited(command.process.pid, resource.RLIMIT_NOFILE, open_files(command) + 3):
            for messages in ("Hi", HISTORY):
                assert "Too many open files; start the server with a higher limit" in await refused(command, messages)
            await is_healthy(command)
        await answered(command)
        await answered(command, HISTORY)


@contextmanager
def folder_for_others() -> Iterator[Path]:
    """Others cannot enter pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@asynccontextmanager
async def of_another_user(*flags: str) -> AsyncIterator[Command]:
    """The command, run by somebody whom limits of processes bind: they do not bind root."""
    with folder_for_others() as folder:
        program = [*OTHER_USER, str(python_of_another_user()), "-m", "claude_openai"]
        if OTHER_USER:
            owned = 'chown 12345:12345 "$HOME" "$TMPDIR" && exec "$@"'
            program = ["sh", "-c", owned, "sh", *program]
        env = {"PYTHONPATH": PACKAGES}
        async with running(folder, *flags, reply=Reply("ok"), program=program, env=env) as command:
            yield command


async def set_limit_of_processes(command: Command, soft: int) -> None:
    # Only who has its user may do this to a process. The guardian forks for each.
    for pid in (command.process.pid, *command.processes.guardians_of(command.process.pid)):
        await trio.run_process([*OTHER_USER, "prlimit", "--pid", str(pid), f"--nproc={soft}:"])


@needs("another-user")
@on_both_backends
async def test_process_limit_is_an_error_for_the_client(backend: str) -> None:
    async with of_another_user(*ALONE, "--backend", backend) as command:
        await answered(command)
        await set_limit_of_processes(command, 1)
        for messages in ("Hi", HISTORY):
            assert "end some processes, or raise the limit of this user" in await refused(command, messages)
        await is_healthy(command)
        await set_limit_of_processes(command, 10_000)
        await answered(command)
        await answered(command, HISTORY)


def address_space(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmSize:")[2].split()[0]) * 1024


async def test_lack_of_memory_is_an_error_for_the_client(tmp_path: Path) -> None:
    async with running(tmp_path, *ALONE, reply=Reply("ok")) as command:
        await answered(command)
        guardian = await until_one(partial(command.processes.guardians_of, command.process.pid), "its guardian runs")
        with limited(guardian, resource.RLIMIT_AS, address_space(guardian) + 32 * 1024 * 1024):
            assert "lacks memory" in await refused(command)
            await is_healthy(command)
        await answered(command)


@contextmanager
def filled(command: Command, folder: Path) -> Iterator[None]:
    """No room is left in the file system of one of the server's folders, for as long as the block."""
    path = Path(f"/proc/{command.process.pid}/root{folder}/filling")
    try:
        with path.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 512):
                pass
        yield
    finally:
        path.unlink()


def mounted(variable: str) -> Sequence[str]:
    return ("unshare", "-rm", "sh", "-c", MOUNTED.format(variable), *MODULE)


@needs("user-namespaces")
@on_both_backends
async def test_full_temporary_folder_is_an_error_for_the_client(tmp_path: Path, backend: str) -> None:
    flags = (*ALONE, "--backend", backend)
    async with running(tmp_path, *flags, reply=Reply("ok"), program=mounted("TMPDIR")) as command:
        await answered(command)
        with filled(command, command.temporary):
            message = await refused(command, HISTORY)
            assert "No space left on device" in message
            assert "free some disk space, or start the server with another TMPDIR" in message
            await is_healthy(command)
        await answered(command, HISTORY)


@needs("another-user")
async def test_a_start_without_threads_is_one_line() -> None:
    with folder_for_others() as folder:
        folder.chmod(0o777)
        program = [str(python_of_another_user()), "-m", "claude_openai"]
        argv = [*OTHER_USER, "prlimit", "--nproc=1:1", *program, "--port", "0", "--no-log", "--output-dir", "runs"]
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "PYTHONPATH": PACKAGES}
        with trio.fail_after(LIMIT_S):
            done = await trio.run_process(argv, env=environ, capture_stdout=True, capture_stderr=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("claude-openai: cannot start: no more processes or threads can be started; end some")


@needs("user-namespaces")
async def test_a_start_with_a_full_folder_for_temporary_files_serves_all_the_same(tmp_path: Path) -> None:
    full = ("unshare", "-rm", "sh", "-c", FULL, *MODULE)
    async with running(tmp_path, *ALONE, reply=Reply("ok"), program=full) as command:
        await answered(command)
        await answered(command, HISTORY)
        await until(lambda: "No space left on device" in command.stderr(), "it says that it cannot be found")


@needs("user-namespaces")
async def test_with_a_full_home_answers_are_whole(tmp_path: Path) -> None:
    async with running(tmp_path, *ALONE, reply=Reply("ok"), program=mounted("HOME")) as command:
        await answered(command)
        with filled(command, command.home):
            await answered(command)
            await answered(command, HISTORY)
        await answered(command)
