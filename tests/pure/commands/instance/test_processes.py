"""Processes of others: which belong together, and which are gone."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from claude_openai.commands import stop as stop_module
from claude_openai.commands.instance import processes
from claude_openai.commands.instance.lock import claiming
from claude_openai.commands.instance.processes import Held, descendants, has_open, wait_gone
from claude_openai.commands.instance.record import find_instance
from claude_openai.errors import StartError
from tests.conditions import needs
from tests.instances import ONE

LIMIT_S = 20.0


@pytest.fixture
def family() -> Iterator[subprocess.Popen[str]]:
    """A shell with a child in a session of its own, which has printed its number."""
    script = "setsid sleep 100 & echo $!; wait"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as shell:
        yield shell
        for pid in {shell.pid, *descendants(shell.pid)}:
            os.kill(pid, signal.SIGKILL)


def said(shell: subprocess.Popen[str]) -> int:
    assert shell.stdout is not None
    return int(shell.stdout.readline())


@pytest.mark.parametrize(
    "lines",
    [pytest.param("_linux_lines", marks=needs("/proc")), pytest.param("_ps_lines", marks=needs("/bin/ps"))],
)
def test_a_child_in_a_session_of_its_own_is_found(
    family: subprocess.Popen[str], lines: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_linux_lines", getattr(processes, lines))
    child = said(family)
    assert child in descendants(family.pid)
    assert family.pid in descendants(os.getpid())
    assert not wait_gone({child}, 0.0)


def test_zombie_process_counts_as_ended(family: subprocess.Popen[str]) -> None:
    said(family)
    with closing(Held(family.pid)) as held:
        assert not held.wait(0.0)
        held.send(signal.SIGKILL)
        assert held.wait(LIMIT_S)
        assert wait_gone({family.pid}, LIMIT_S)
        held.send(signal.SIGKILL)


def test_without_descriptors_of_processes_the_number_has_to_do(
    family: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_here(_: int) -> int:
        raise NotImplementedError

    monkeypatch.setattr(processes, "_pidfd", none_here)
    said(family)
    with closing(Held(family.pid)) as held:
        assert not held.wait(0.0)
        held.send(signal.SIGKILL)
        assert held.wait(LIMIT_S)


def test_pid_of_an_ended_process_cannot_be_held() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait(LIMIT_S)
    with pytest.raises(ProcessLookupError):
        Held(gone.pid)


@needs("/proc")
def test_who_has_a_file_open_is_known(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert has_open(os.getpid(), tmp_path / "file")
        assert not has_open(os.getppid(), tmp_path / "file")
    assert not has_open(os.getpid(), tmp_path / "file")
    assert not has_open(os.getpid(), tmp_path / "missing")


@needs("/proc")
def test_a_process_that_does_not_hold_the_files_gets_no_signal(tmp_path: Path, family: subprocess.Popen[str]) -> None:
    # So it looks when the server runs in a container that shares the folder: its number means somebody else here.
    said(family)
    with claiming(tmp_path) as claim:
        claim.publish(replace(ONE, pid=family.pid))
        (tmp_path / "claude-openai.pid").write_text(f"{family.pid}\n")
        told = find_instance(tmp_path)
        assert told is not None
        with pytest.raises(StartError, match="another container"):
            stop_module.stop(told, tmp_path)
    assert family.poll() is None
