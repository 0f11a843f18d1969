"""What the parts of the benchmark share: servers in processes of their own, and lines that hold or do not."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cpu_ms", "failures", "report", "server"]

failures: list[str] = []


def report(name: str, value: str, *, holds: bool | None = None) -> None:
    """Print a line; if it does not hold, add it to `failures`."""
    mark = "" if holds is None else "  ok" if holds else "  MISSED"
    if holds is False:
        failures.append(name)
    print(f"{name:<58}{value}{mark}", flush=True)


@contextmanager
def server(*arguments: str) -> Iterator[tuple[str, int]]:
    """One of `servers`, in a process of its own: its base URL and its pid."""
    command = [sys.executable, "-m", "tests.benchmarks.servers", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.pid
        finally:
            process.terminate()  # no way to end politely is needed: the guardian takes the children and the folder


def cpu_ms(pid: int) -> float:
    """Return the CPU time of a process so far, of all its threads, ended ones included. Linux only."""
    return 1000 * time.clock_gettime((~pid << 3) | 2)  # as `clock_getcpuclockid` makes it
