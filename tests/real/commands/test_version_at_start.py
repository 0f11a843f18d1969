"""`claude --version` at the start of the server neither delays the start nor leaves a process."""

from pathlib import Path

import pytest

from tests.conditions import needs
from tests.real.command import Command, running
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
