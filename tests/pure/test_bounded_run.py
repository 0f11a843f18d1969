"""Programs that are run for their output, within a time limit."""

import os
import select
import subprocess
from pathlib import Path

import pytest

from claude_openai.bounded_run import run_bounded

LIMIT_S = 60


def test_a_program_gives_output_and_exit_code(tmp_path: Path) -> None:
    script = "pwd; echo $A; echo no >&2; exit 4"
    done = run_bounded(["/bin/sh", "-c", script], {"A": "yes"}, LIMIT_S, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"{tmp_path.resolve()}\nyes\n", "no\n", 4)


@pytest.mark.parametrize("end", ["wait", "exit 0"], ids=["it waits for the child", "it ends before the child"])
def test_a_child_that_holds_the_output_is_killed_at_the_time_limit(tmp_path: Path, end: str) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    # Both the program and its child hold the FIFO.
    script = f"exec 3> '{alive}'; sleep {LIMIT_S} & {end}"
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            run_bounded(["/bin/sh", "-c", script], os.environ, 0.5)
        poll = select.poll()
        poll.register(reader, select.POLLHUP)
        assert poll.poll(LIMIT_S * 1000 / 3), "the child is left"
    finally:
        os.close(reader)
