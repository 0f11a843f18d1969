"""`claude --version` at the start of the server neither delays the start nor leaves a process."""

from pathlib import Path

import pytest
import trio

from tests.conditions import needs
from tests.real.call import Call
from tests.real.command import MODULE, Command, running, shell
from tests.real.fake_cli import fake_cli
from tests.real.harness import read_proc, until

OLD = "2.1.200 (Claude Code)"
# In a session of its own, with the pipes of the program, which then exits or hangs.
FORKS = "[ $1 = --version ] || exit 9\n: > {started}\nsetsid sleep 1234 &\necho '{version}'\n{then}"


def sleeping(command: Command) -> list[int]:
    return [pid for pid in command.processes.marked() if b"1234" in read_proc(pid, "cmdline")]


@pytest.mark.long
@needs("/proc", "setsid")
@pytest.mark.parametrize(
    ("version", "then"),
    [(OLD, "exit"), (OLD, "sleep 1234"), ("", "exit"), ("", "sleep 1234")],
    ids=["exits", "hangs", "silent and exits", "silent and hangs"],
)
async def test_a_version_check_that_forks_neither_delays_the_start_nor_leaves_a_process(
    tmp_path: Path, version: str, then: str
) -> None:
    started = tmp_path / "started"
    behaviour = FORKS.format(started=started, version=version, then=then)
    async with running(tmp_path, "--spares", "0", "--claude-command", fake_cli(tmp_path, behaviour)) as command:
        await until(started.exists, "the version is asked for")
        if version:
            await until(lambda: "warning: Claude Code 2.1.200 is older than" in command.stderr(), "the warning")
        await until(lambda: not sleeping(command), "no process is left")


async def test_a_server_that_stops_while_the_version_check_hangs_leaves_no_process(tmp_path: Path) -> None:
    started = tmp_path / "started"
    hangs = fake_cli(tmp_path, f": > {started}; sleep 1234")
    async with running(tmp_path, "--spares", "0", "--claude-command", hangs) as command:
        await until(started.exists, "the version is asked for")
        command.process.terminate()
        await command.left_nothing()
        assert command.process.returncode == 0


async def ready(command: Command) -> list[str]:
    async with Call.open(command.url, None, "/ready") as call:
        answer = (await call.answer())[1]
    return [each["reason"] for each in (*answer["reasons"], *answer["warnings"])]


async def test_server_with_a_claude_that_is_too_old_is_not_ready_until_it_is_replaced(tmp_path: Path) -> None:
    fake = fake_cli(tmp_path, "[ $1 = --version ] || exit 1\necho '2.1.100 (Claude Code)'")
    async with running(tmp_path, "--spares", "0", "--claude-command", fake) as command:
        await until(lambda: "2.1.100 is too old" in command.stderr(), "the warning")
        assert await ready(command) == ["cli_too_old"]
        env = {"TMPDIR": str(command.temporary), "HOME": str(command.home)}
        shown = await trio.run_process([*MODULE, "status"], env=env, stdin=b"", capture_stdout=True, check=False)
        assert shown.returncode == 3
        assert b"warning: Claude Code is too old. Update it with `npm install" in shown.stdout
        fake_cli(tmp_path, "exit 1")
        assert await ready(command) == []


@needs("/dev/full")
async def test_files_that_cannot_be_written_are_warnings_of_the_start_and_of_status(tmp_path: Path) -> None:
    async with shell(tmp_path) as user:
        broken = user.folder / "usage.db"
        broken.write_bytes(b"no database" * 500)
        broken.chmod(0o600)
        flags = ("--port", "0", "--spares", "0", "--log-file", "/dev/full", "--usage-file", str(broken))
        started, shown = await user("--background", *flags), await user("status")
        assert (started.code, shown.code) == (0, 0)
        for warning in (
            "warning: The log cannot be written: No space left on device. ",
            "warning: The figures of usage cannot be saved, and are kept in memory: file is not a database. ",
        ):
            assert warning in started.stderr
            assert warning in shown.stdout
        assert str(broken) not in shown.stdout
