"""Commands whose output is not read, or has no room: they do their work, and end without a traceback."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from tests.real.command import MODULE, Shell, shell
from tests.real.harness import LIMIT_S, needs_claude

pytestmark = [needs_claude, pytest.mark.long]

BROKEN_PIPE: Final = 128 + signal.SIGPIPE
START: Final = ("--background", "--port", "0", "--spares", "0", "--demo")


@contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def full() -> Iterator[int]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd
    os.close(fd)


async def said(user: Shell, *argv: str, stdout: int, stderr: int | None = None) -> tuple[int, str]:
    """The exit code, and standard error unless the test has its own."""
    options: dict[str, Any] = {"capture_stderr": True} if stderr is None else {"stderr": stderr}
    with trio.fail_after(LIMIT_S):
        done = await trio.run_process(
            [*MODULE, *argv],
            cwd=user.folder,
            env=user.environment,
            stdin=b"",
            stdout=stdout,
            check=False,
            **options,
        )
    return done.returncode, (done.stderr or b"").decode()


async def test_a_reader_that_has_left_ends_a_command_quietly_and_a_full_output_with_a_line(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        (user.home / ".claude-openai").mkdir(mode=0o700)
        (user.home / ".claude-openai" / "claude-openai.log").write_text("a line\n")
        for argv in (
            ("--help",),
            ("status",),
            ("status", "--json"),
            ("stop",),
            ("runs",),
            ("logs",),
            ("service", "--print", "--systemd"),
            ("connect",),
            ("connect", "opencode"),
            ("doctor", "--json", "--demo"),
        ):
            with unread() as stdout:
                code, complaint = await said(user, *argv, stdout=stdout)
            assert (argv, code, "Traceback" in complaint) == (argv, BROKEN_PIPE, False)
            with full() as stdout:
                code, complaint = await said(user, *argv, stdout=stdout)
            assert (argv, code) == (argv, 1)
            assert complaint.splitlines()[-1] == (
                "claude-openai: the output cannot be written: No space left on device"
            ), argv


@pytest.mark.parametrize("where", [unread, full])
async def test_command_with_broken_output_does_its_work(tmp_path: Path, where: object) -> None:
    output = unread if where is unread else full
    code = BROKEN_PIPE if where is unread else 1
    async with shell(tmp_path) as user:
        with output() as fd:
            assert (await said(user, *START, stdout=fd, stderr=fd))[0] == code
            first = user.server()
            assert (await said(user, "restart", stdout=fd, stderr=fd))[0] == code
            assert user.server().pid != first.pid
            assert (await said(user, "status", stdout=fd, stderr=fd))[0] == code
            assert (await said(user, "stop", stdout=fd, stderr=fd))[0] == code
        assert not user.is_running()
        assert user.processes.all() == []
        assert user.files() == []


async def test_a_closed_output_is_no_reason_to_fail(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        with trio.fail_after(LIMIT_S):
            done = await trio.run_process(
                ["sh", "-c", '"$@" >&- 2>&-', "sh", *MODULE, "stop"],
                cwd=user.folder,
                env=user.environment,
                stdin=b"",
                check=False,
            )
        assert done.returncode == 0
