"""Run a program for its output, within a time limit."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["run_bounded"]


def run_bounded(
    argv: Sequence[str], environ: Mapping[str, str], timeout_s: float, cwd: Path | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program and return its exit code and output.

    The program gets a process group of its own, which is killed at the timeout. `subprocess.run` kills the program
    alone, and leaves its children.

    Args:
        argv: the program and its arguments.
        environ: all its environment variables.
        timeout_s: time limit in seconds.
        cwd: its working directory; by default that of this process.

    Raises:
        OSError: the program cannot be started.
        subprocess.TimeoutExpired: the program did not end in time and was killed.
    """
    with subprocess.Popen(  # noqa: S603 - callers pass the program that runs the turns, or bubblewrap
        list(argv),
        env=environ,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
