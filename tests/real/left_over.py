"""What a test has left running, in any session, group or environment.

`adopt_orphans` makes this process the new parent of orphans (Linux). So every process that a server of a test has
started, and every descendant of it, is a descendant of this process for as long as it lives.
"""

import ctypes
import gc
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Process", "adopt_orphans", "descendants", "end_all", "reap_adopted", "wait_gone"]

PR_SET_CHILD_SUBREAPER: Final = 36
POLL_S: Final = 0.01


class Process(NamedTuple):
    """A process; its number alone may be reused when it is gone."""

    pid: int
    started: int

    def __str__(self) -> str:
        with suppress(OSError):
            command = Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            return f"{self.pid}: {command or '(dead, and not reaped)'}"
        return f"{self.pid}: (gone)"


def adopt_orphans() -> None:
    """From now on, orphans among the descendants of this process become its children."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap_adopted() -> None:
    """Reap the orphans that have died; a child that this process has started is left to the code that waits for it."""
    dead = [pid for pid, (parent, state, _) in _table().items() if parent == os.getpid() and state == "Z"]
    if not dead:
        return
    own = {each.pid for each in gc.get_objects() if issubclass(type(each), subprocess.Popen)}
    for pid in dead:
        if pid not in own:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def descendants() -> set[Process]:
    """All of this process, the dead that were not reaped included."""
    table = _table()
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in table.items():
        children.setdefault(parent, []).append(pid)
    found: set[Process] = set()
    family = [os.getpid()]
    for pid in family:
        family += children.get(pid, ())
        found.add(Process(pid, table[pid][2]))
    return found - {Process(os.getpid(), table[os.getpid()][2])}


def wait_gone(but: set[Process], within_s: float) -> set[Process]:
    """The descendants that are left, but for these: none as soon as there is none, at the latest after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        reap_adopted()
        left = descendants() - but
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(POLL_S)


def end_all(processes: set[Process]) -> None:
    """Kill them, and reap the orphans among them."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    reap_adopted()


def _table() -> dict[int, tuple[int, str, int]]:
    """Parent, state and start of every process."""
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - half the time, and after every test
        if name.isdigit():
            with suppress(OSError):
                # The name in parentheses may hold blanks and parentheses itself.
                fields = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                found[int(name)] = (int(fields[1]), fields[0].decode(), int(fields[19]))
    return found
