"""Failures of a server in the background.

A start that does not end, output of other programs, files that are removed, a server that hangs.
"""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.commands.instance.control_client import READ_S, get_json, stream
from claude_openai.commands.instance.health import TIMEOUT_S, ask
from claude_openai.commands.instance.record import Instance
from claude_openai.commands.start import start
from claude_openai.config import config_from
from claude_openai.errors import StartError
from tests.instances import ONE
from tests.real.command import ADVICE, INSTANCE_FILES, MODULE, Shell, shell
from tests.real.harness import LIMIT_S, needs_claude, until
from tests.real.terminal import in_terminal

pytestmark = [needs_claude, pytest.mark.long]


def as_daemon(user: Shell, *lines: str) -> None:
    """Have every daemon that is started from here do something else first."""
    folder = user.folder.parent / "site"
    folder.mkdir(exist_ok=True)
    code = ["import os, sys, time", "if 'daemon' in sys.orig_argv:", *(f"    {line}" for line in lines)]
    (folder / "sitecustomize.py").write_text("\n".join(code) + "\n")
    user.environment["PYTHONPATH"] = f"{folder}:{user.environment['PYTHONPATH']}"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=str
)
async def test_a_start_that_is_interrupted_leaves_no_server(tmp_path: Path, number: signal.Signals, code: int) -> None:
    async with shell(tmp_path) as user:
        begun = tmp_path / "begun"
        as_daemon(user, f"open({str(begun)!r}, 'w').close()", "time.sleep(1000)")
        starter = await trio.lowlevel.open_process(
            [*MODULE, "--background", "--port", "0"],
            cwd=user.folder,
            env=user.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert starter.stderr is not None
        async with starter.stderr:
            await until(begun.exists, "the daemon has been started", LIMIT_S)
            starter.send_signal(number)
            with trio.fail_after(LIMIT_S):
                assert await starter.wait() == code
            assert "interrupted" in (await starter.stderr.receive_some()).decode()
        await user.processes.wait_none()
        assert user.files() == []


@pytest.mark.parametrize("is_shared", [False, True], ids=["a log of its own", "a log that others write to"])
async def test_the_last_words_of_a_failed_start_are_its_own(tmp_path: Path, is_shared: bool) -> None:
    async with shell(tmp_path) as user:
        log, words = user.folder / "own.log", user.home / ".claude-openai" / "claude-openai.err"
        log.write_text("before\n")
        words.parent.mkdir()
        words.write_text("")
        as_daemon(
            user,
            f"open({str(log)!r}, 'a').write('in the log\\n')",
            f"open({str(words)!r}, 'a').write('of another server\\n')",
            "print('on standard error', file=sys.stderr, flush=True)",
            "os._exit(1)",
        )
        with log.open("a") if is_shared else closing(socket.socket()):
            failed = await user("--background", "--port", "0", "--log-file", "own.log")
        assert (failed.code, failed.stdout) == (1, "")
        lines = failed.stderr.splitlines()
        assert "ended before it was ready (exit code 1)" in lines[0]
        assert "on standard error" in lines
        assert ("in the log" in lines) is not is_shared
        assert not {"before", "of another server"} & set(lines)


async def test_of_a_start_that_takes_too_long_the_log_is_shown_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with shell(tmp_path) as user:
        log, part = tmp_path / "own.log", tmp_path / "part.log"
        as_daemon(
            user,
            f"log = open({str(part)!r}, 'a')",
            "print('in the log', file=log, flush=True)",
            f"os.rename({str(part)!r}, {str(log)!r})",
            "time.sleep(1000)",
        )
        monkeypatch.setenv("HOME", str(user.home))
        argv = ["--port", "0", "--log-file", str(log)]
        # Time passes once the daemon has written its log.
        with pytest.raises(StartError, match="did not answer within 30 s"):
            start(config_from(argv, user.environment), argv, user.environment, clock=lambda: 30.0 * log.exists())
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"claude-openai: the last lines of {log}:", "in the log"]
        await user.processes.wait_none()


async def test_what_a_server_says_once_it_listens_is_kept_beside_its_log(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        told = await user.start()
        words = user.home / ".claude-openai" / "claude-openai.err"
        await until(lambda: f"listening on {told.base_url}" in words.read_text(), "it says that it listens")
        assert words.stat().st_mode & 0o777 == 0o600
        os.kill(told.pid, signal.SIGTERM)
        await until(lambda: "stopping" in words.read_text(), "it says that it stops")
        await user.processes.wait_none()


async def test_a_start_without_claude_warns_and_so_does_the_status(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        # In the place of the SDK: a package of its name that brings no program.
        package = tmp_path / "path" / "claude_agent_sdk"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        empty = tmp_path / "empty"
        empty.mkdir()
        user.environment["PYTHONPATH"] = f"{package.parent}:{user.environment['PYTHONPATH']}"
        missing = replace(user, environment={**user.environment, "PATH": str(empty)})
        started = await missing("--background", "--port", "0", "--backend", "cli")
        assert started.code == 0
        assert "runs in the background" in started.stdout
        (warning,) = started.stderr.splitlines()
        assert warning.startswith("claude-openai: warning: ")
        assert ADVICE in warning
        status = await missing("status")
        assert status.code == 3
        assert status.stdout.splitlines()[1] == warning.removeprefix("claude-openai: ")
        told = json.loads((await missing("status", "--json")).stdout)
        assert (told["health"], told["warnings"]) == ("ok", [warning.removeprefix("claude-openai: warning: ")])


async def test_a_start_in_a_terminal_prints_the_page(tmp_path: Path) -> None:
    async with shell(tmp_path) as user, in_terminal(user, "--background", "--port", "0") as terminal:
        assert await terminal.process.wait() == 0
        base_url = json.loads((await user("status", "--json")).stdout)["base_url"]
        await terminal.shows(f"page      {base_url}/dashboard#ticket=")


async def test_a_server_whose_files_are_removed_puts_them_back(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        told = await user.start()
        for name in INSTANCE_FILES:
            (user.temporary / name).unlink()
        await until(user.is_running, "the files are back")
        assert user.server() == told
        assert str(told.pid) in (await user("--background", "--port", "0")).stderr
        assert (await user("stop")).stdout == f"claude-openai (pid {told.pid}) has stopped\n"
        assert user.files() == []


async def least_cpu_s(argv: list[str], environment: dict[str, str]) -> float:
    """Return the CPU time of a command: the least of several, because other programs on this machine only add to it."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        await trio.run_process(argv, env=environment, stdin=b"", capture_stdout=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(costs)


async def test_a_status_costs_little_more_than_an_interpreter(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        await user.start("--demo")
        bare = await least_cpu_s([sys.executable, "-c", "pass"], user.environment)
        status = await least_cpu_s([*MODULE, "status"], user.environment)
        # It is 5 times.
        assert status < 10 * bare, (status, bare)


@contextmanager
def hung_server() -> Iterator[tuple[Instance, Callable[[], int]]]:
    """Somebody who takes connections and never says a word, and how many there were."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.setblocking(False)
        taken: list[socket.socket] = []

        def count() -> int:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except BlockingIOError:
                    return len(taken)

        yield replace(ONE, port=port, base_url=f"http://127.0.0.1:{port}"), count
        for connection in taken:
            connection.close()


def test_a_server_that_hangs_is_asked_once_and_not_for_long() -> None:
    assert TIMEOUT_S <= 2
    with hung_server() as (hung, connections):
        assert ask(hung, for_runs=True, timeout_s=0.1).health == "unreachable"
        # For the runs there was no time left.
        assert connections() == 1


READS: list[Callable[[Instance], Any]] = [
    lambda hung: get_json(hung, "/control/runs", timeout_s=0.1),
    lambda hung: stream(hung, "/control/runs/x/output", is_live=True, timeout_s=0.1).__enter__(),
]


@pytest.mark.parametrize("read", READS)
def test_stop_waits_for_runs_briefly_and_says_what_to_do(read: Callable[[Instance], Any]) -> None:
    assert READ_S <= 5
    with hung_server() as (hung, _), pytest.raises(StartError, match=r"has not answered.*claude-openai stop") as caught:
        read(hung)
    assert str(hung.pid) in str(caught.value)


async def test_hanging_server_is_reported_by_the_commands_and_stopped(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        told = await user.start("--drain-timeout-ms", "0")
        os.kill(told.pid, signal.SIGSTOP)
        try:
            status = await user("status")
            assert (status.code, "health unreachable" in status.stdout) == (1, True)
            runs = await user("runs")
            assert (runs.code, runs.stdout) == (1, "")
            assert f"pid {told.pid}" in runs.stderr
        finally:
            os.kill(told.pid, signal.SIGCONT)
