"""The guardian and its supervisors on small programs: any end of a program ends all that it ever started."""

import ctypes
import marshal
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.claude.process import guardian_program as supervisor
from claude_openai.claude.process.guardian import Guardian, Link, guarding
from claude_openai.claude.process.supervised import KILL_WAIT_S, SupervisedProcess, supervised
from claude_openai.logs.log import NULL_LOG, Level, open_log
from tests.conditions import needs
from tests.real.daemons import WAYS, alive, new_number
from tests.real.harness import read_proc, until

pytestmark = needs("/proc")

LIMIT_S = 60.0
ENVIRONMENT = {"PATH": os.environ["PATH"]}
PR_GET_CHILD_SUBREAPER = 37
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
async def guardian(tmp_path: Path) -> AsyncIterator[Guardian]:
    with guarding(tmp_path, NULL_LOG) as it:
        yield it


@asynccontextmanager
async def shell(
    guardian: Guardian, script: str, log: Any = NULL_LOG, kill_wait_s: float = KILL_WAIT_S
) -> AsyncIterator[SupervisedProcess]:
    argv, cwd = ["/bin/sh", "-c", script], Path("/")
    with trio.fail_after(LIMIT_S):
        async with supervised(
            argv, env=ENVIRONMENT, cwd=cwd, guardian=guardian, log=log, kill_wait_s=kill_wait_s
        ) as process:
            yield process


def leaving(way: str, number: str) -> str:
    """A script that starts a process in this way, and stays."""
    return f"{WAYS[way].format(number)}\nwhile :; do sleep 100; done"


async def gone(number: str) -> None:
    await until(lambda: not alive(number), lambda: f"{number} has ended")


@ways
async def test_what_a_program_started_ends_when_its_owner_is_done(guardian: Guardian, way: str) -> None:
    number = new_number()
    async with shell(guardian, leaving(way, number)):
        await until(lambda: bool(alive(number)), "it runs")
    assert alive(number) == []


@ways
async def test_what_a_program_started_ends_when_the_program_is_killed(guardian: Guardian, way: str) -> None:
    number = new_number()
    async with shell(guardian, leaving(way, number)) as process:
        await until(lambda: bool(alive(number)), "it runs")
        os.kill(process.pid, signal.SIGKILL)
        await process.wait_exit()
        await gone(number)
        assert process.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("way", [way for way in WAYS if way != "foreground"])
async def test_what_a_program_started_ends_when_the_program_leaves(guardian: Guardian, way: str) -> None:
    number = new_number()
    async with shell(guardian, f"{WAYS[way].format(number)}\nread -r line; exit 3") as process:
        await until(lambda: bool(alive(number)), "it runs")
        await process.stop(grace_s=LIMIT_S)
        assert alive(number) == []
        assert process.exit_code == 3


@ways
async def test_what_a_program_started_ends_when_its_supervisor_is_killed(guardian: Guardian, way: str) -> None:
    number = new_number()
    async with shell(guardian, leaving(way, number)) as process:
        await until(lambda: bool(alive(number)), "it runs")
        os.kill(parent(process.pid), signal.SIGKILL)
        await process.wait_exit()
        await gone(number)
        await until(lambda: not Path(f"/proc/{process.pid}").exists(), "the program has ended too")
        assert process.exit_code is None
    async with shell(guardian, "exit 5") as process:
        await process.wait_exit()
        assert process.exit_code == 5


SERVER = """
import sys, trio
from pathlib import Path
from claude_openai.claude.process.guardian import guarding
from claude_openai.claude.process.supervised import supervised
from claude_openai.logs.log import NULL_LOG

async def main(folder, path, script):
    with guarding(folder, NULL_LOG) as guardian:
        argv = ["/bin/sh", "-c", script]
        async with supervised(argv, env={"PATH": path}, cwd=Path("/"), guardian=guardian, log=NULL_LOG):
            await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]), *sys.argv[2:])
"""


def server_of(folder: Path, script: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", SERVER, str(folder), ENVIRONMENT["PATH"], script])


@ways
async def test_what_a_program_started_ends_when_the_server_is_killed_and_the_folder_goes(
    tmp_path: Path, way: str
) -> None:
    number, folder = new_number(), tmp_path / "private"
    (folder / "with" / "more").mkdir(parents=True)
    with server_of(folder, leaving(way, number)) as server:
        await until(lambda: bool(alive(number)), "it runs")
        server.kill()
        server.wait()
        await gone(number)
        await until(lambda: not folder.exists(), "the folder is gone")


async def test_an_ended_background_process_is_reaped_while_the_program_runs(guardian: Guardian) -> None:
    # Scripts wait for the end of a daemon with `kill -0`, which holds for a zombie too.
    script = "(sh -c 'sleep 0 & echo $!' &) | { read -r pid; while kill -0 $pid 2>/dev/null; do sleep 0.01; done; }"
    async with shell(guardian, f"{script}; echo ended; read -r line") as process:
        assert await process.read() == b"ended\n"


@pytest.fixture
def no_subreaper() -> Iterator[None]:
    """Make this process no subreaper during the test; the guard against leaks has made it one."""
    set_flag = partial(ctypes.CDLL(None).prctl, supervisor.PR_SET_CHILD_SUBREAPER)
    assert set_flag(0, 0, 0, 0) == 0
    yield
    assert set_flag(1, 0, 0, 0) == 0


async def test_the_server_does_not_become_the_reaper_of_its_own_children(
    no_subreaper: None, guardian: Guardian
) -> None:
    async with shell(guardian, "echo x; read -r line") as process:
        assert await process.read() == b"x\n"
        is_reaper = ctypes.c_int(-1)
        assert ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(is_reaper), 0, 0, 0) == 0
        assert is_reaper.value == 0


async def test_a_program_starts_with_default_signals_and_no_descriptors_but_its_pipes(guardian: Guardian) -> None:
    script = "ls /proc/self/fd; grep -E 'SigIgn|SigBlk' /proc/self/status; echo end"
    said = b""
    async with shell(guardian, script) as process:
        while not said.endswith(b"end\n"):
            said += await process.read()
    descriptors, _, signals = said.decode().partition("SigBlk")
    assert descriptors.split() == ["0", "1", "2", "3"]  # 3 is the folder that `ls` reads
    masks = [int(word, 16) for word in signals.replace(":", " ").split()[0:3:2]]
    # 32 and 33 are glibc's own: a program started with posix_spawn, as pytest's workers are on 3.13, ignores them.
    assert [number for number in signal.valid_signals() for mask in masks if mask >> (number - 1) & 1] == []


@pytest.mark.parametrize(
    ("argv", "cwd", "named"),
    [
        (["/nowhere/at/all"], "/", "/nowhere/at/all"),
        (["/etc/passwd"], "/", "/etc/passwd"),
        (["/bin/true"], "/nowhere/at/all", "/nowhere/at/all"),
    ],
    ids=["no program", "not executable", "no folder"],
)
async def test_what_cannot_be_started_raises_with_its_cause(
    guardian: Guardian, argv: list[str], cwd: str, named: str
) -> None:
    with pytest.raises(OSError, match=named) as raised:
        await guardian.start(argv, env={}, cwd=Path(cwd))
    assert raised.value.errno
    async with shell(guardian, "exit 0") as process:
        await process.wait_exit()


async def test_long_arguments_and_a_large_environment_arrive(guardian: Guardian) -> None:
    env = {**ENVIRONMENT, **{f"V{number}": "x" * 100_000 for number in range(10)}, "odd": "\udcff\n"}
    argv = ["/bin/sh", "-c", 'printf "%s." "${#V9}" "$1" | md5sum; printf %s "$odd"', "sh", "\udcfe" * 1000]
    async with supervised(argv, env=env, cwd=Path("/"), guardian=guardian, log=NULL_LOG) as process:
        said = b""
        while chunk := await process.read():
            said += chunk
    expected = (await trio.run_process(argv, env=env, capture_stdout=True)).stdout
    assert said == expected
    assert said.endswith(b"\xff\n")


async def test_a_cancel_while_a_program_starts_ends_it(guardian: Guardian, monkeypatch: pytest.MonkeyPatch) -> None:
    number, asked = new_number(), trio.Event()

    async def hangs(link: Link) -> str:
        asked.set()
        return await trio.sleep_forever()

    monkeypatch.setattr(Link, "next_line", hangs)
    async with trio.open_nursery() as nursery:

        async def start() -> None:
            await guardian.start(["/bin/sh", "-c", leaving("nohup", number)], env=ENVIRONMENT, cwd=Path("/"))

        nursery.start_soon(start)
        await asked.wait()
        await until(lambda: bool(alive(number)), "it runs")
        nursery.cancel_scope.cancel()
    await gone(number)


async def test_a_program_whose_watch_fails_is_ended(guardian: Guardian, monkeypatch: pytest.MonkeyPatch) -> None:
    number = new_number()

    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(SupervisedProcess, "__init__", fails)
    with pytest.raises(MemoryError):
        async with shell(guardian, f"exec sleep {number}"):
            pass
    await gone(number)


async def test_killed_guardian_is_started_again_and_logged(tmp_path: Path) -> None:
    log_file, number = tmp_path / "log", new_number()
    with open_log(Level.DEBUG, log_file) as log, guarding(tmp_path / "private", log) as guardian:
        async with shell(guardian, leaving("nohup", number)) as before:
            os.kill(guardian.pid, signal.SIGKILL)
            async with shell(guardian, "exit 4") as after:
                await after.wait_exit()
                assert after.exit_code == 4
            assert before.running
            await until(lambda: bool(alive(number)), "what the first one started runs on")
        assert alive(number) == []
    assert log_file.read_text().count('"guardian.restarted"') == 1


async def test_a_guardian_that_cannot_be_started_again_is_an_error_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any, **__: Any) -> None:
        raise OSError(24, "Too many open files")

    with guarding(tmp_path / "private", NULL_LOG) as guardian, monkeypatch.context() as patch:
        os.kill(guardian.pid, signal.SIGKILL)
        patch.setattr(subprocess, "Popen", no_room)
        for _ in range(2):
            with pytest.raises(OSError, match="Too many open files"):
                await guardian.start(["/bin/true"], env={}, cwd=Path("/"))
            # What gets the number of the descriptor that was closed hears nothing of it.
            others = [socket.socketpair() for _ in range(8)]
            with pytest.raises(OSError, match="Too many open files"):
                await guardian.start(["/bin/true"], env={}, cwd=Path("/"))
            for near, far in others:
                far.setblocking(False)
                with pytest.raises(BlockingIOError):
                    far.recv(1)
                near.close()
                far.close()
        patch.undo()
        async with shell(guardian, "exit 6") as process:
            await process.wait_exit()
            assert process.exit_code == 6


async def test_without_descriptors_for_its_pipes_a_start_fails_and_leaks_none(
    guardian: Guardian, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shell(guardian, "exit 0") as process:
        await process.wait_exit()
    before, pipe = len(os.listdir("/proc/self/fd")), os.pipe  # noqa: PTH208 - in an async test
    made: list[tuple[int, int]] = []

    def two_pipes() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(pipe())
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", two_pipes)
        with pytest.raises(OSError, match="Too many open files"):
            await guardian.start(["/bin/true"], env={}, cwd=Path("/"))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    async with shell(guardian, "exit 7") as process:
        await process.wait_exit()
        assert process.exit_code == 7


async def test_two_that_find_the_guardian_dead_start_one(tmp_path: Path) -> None:
    codes: list[int | None] = []
    with guarding(tmp_path / "private", NULL_LOG) as guardian:
        os.kill(guardian.pid, signal.SIGKILL)
        async with trio.open_nursery() as nursery:

            async def run(code: int) -> None:
                async with shell(guardian, f"exit {code}") as process:
                    await process.wait_exit()
                    codes.append(process.exit_code)

            for code in range(8):
                nursery.start_soon(run, code)
        assert set(codes) == set(range(8))
        assert len(children(os.getpid(), lambda argv: str(tmp_path).encode() in b" ".join(argv))) == 1


async def test_abandoned_process_is_still_ended_later(tmp_path: Path) -> None:
    number, log_file = new_number(), tmp_path / "log"
    with open_log(Level.DEBUG, log_file) as log, guarding(tmp_path / "private", NULL_LOG) as guardian:
        async with shell(guardian, leaving("double fork", number), log, kill_wait_s=0.05) as process:
            await until(lambda: bool(alive(number)), "it runs")
            stopped = parent(process.pid)
            os.kill(stopped, signal.SIGSTOP)
        assert alive(number)
        os.kill(stopped, signal.SIGCONT)
        await gone(number)
        await until(lambda: not Path(f"/proc/{stopped}").exists(), "its supervisor was reaped")
    assert '"process.abandoned"' in log_file.read_text()


@pytest.mark.long
async def test_a_supervisor_that_hangs_is_ended_with_the_guardian(tmp_path: Path) -> None:
    number, folder = new_number(), tmp_path / "private"
    folder.mkdir()
    with server_of(folder, leaving("daemon", number)) as server:
        await until(lambda: bool(alive(number)), "it runs")
        (supervisor_pid,) = [parent(pid) for pid in alive(number)]
        os.kill(supervisor_pid, signal.SIGSTOP)
        server.kill()
        server.wait()
        await gone(number)
        await until(lambda: not folder.exists(), "the folder is gone")


@pytest.mark.parametrize("way", ["foreground", "session"])
def test_without_a_subreaper_what_still_has_its_parent_is_ended(way: str) -> None:
    """As on macOS."""
    number = new_number()
    script = f"setsid sh -c 'sleep {number}; :'; :" if way == "session" else f"sleep {number}; :"
    near, far = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            near.close()
            supervisor.supervise(far, [os.open(os.devnull, os.O_RDWR) for _ in range(3)], subreaper=False)
        finally:
            os._exit(0)
    far.close()
    near.settimeout(LIMIT_S)
    request = marshal.dumps(([b"/bin/sh", b"-c", script.encode()], os.environb.copy(), b"/"))
    near.sendall(supervisor.message(request))
    assert near.recv(100).startswith(b"started ")
    trio.run(until, lambda: bool(alive(number)), "it runs")
    near.shutdown(socket.SHUT_WR)
    assert near.recv(100) == b"exited -9\n"
    assert near.recv(100) == b""
    near.close()
    os.waitpid(pid, 0)
    trio.run(until, lambda: not alive(number), "it has ended")


@needs("/bin/ps")
def test_without_proc_the_processes_are_listed_by_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert (os.getpid(), os.getppid()) in supervisor.processes()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def children(of: int, wanted: Callable[[list[bytes]], bool]) -> list[int]:
    found = []
    for pid, above in supervisor.processes():
        if above == of and wanted(read_proc(pid, "cmdline").split(b"\0")):
            found.append(pid)
    return found
