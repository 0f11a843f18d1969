"""Ending a process that is not our child, and seeing that it and all it started are gone.

On Linux a process is held by a descriptor, so that no signal reaches another one that was given its number. Elsewhere
the number has to do. Knows processes; knows nothing of servers.
"""

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["BEYOND_DRAIN_S", "Held", "descendants", "has_open", "openers", "wait_gone"]

POLL_S: Final = 0.02
PS_TIMEOUT_S: Final = 5.0


class Held:
    """A process, by a descriptor where there are such. Close it at the end.

    Raises:
        ProcessLookupError: there is none with this number.
        PermissionError: it is another user's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(NotImplementedError):
            self._fd = _pidfd(pid)
        if self._fd < 0:
            os.kill(pid, 0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that is gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "linux" and self._fd >= 0:
                signal.pidfd_send_signal(self._fd, number)
            else:
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended, after at most that many seconds."""
        if self._fd < 0:
            return wait_gone({self.pid}, timeout_s)
        return bool(select.select([self._fd], [], [], timeout_s)[0])

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open, as far as the system tells: without /proc the answer is yes."""
    folder = Path(f"/proc/{pid}/fd")
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for entry in folder.iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    return True
    return not Path("/proc/self/fd").is_dir()


def openers(path: Path | None) -> set[int] | None:
    """The processes that have a file open, but for this one; None where the system does not tell."""
    if path is None or not Path("/proc/self/fd").is_dir():
        return None
    others = {pid for pid, _, is_dead in _processes() if not is_dead} - {os.getpid()}
    return {pid for pid in others if has_open(pid, path)}


def descendants(pid: int) -> set[int]:
    """All processes that a process started, and those started, in whatever group or session."""
    found: set[int] = set()
    todo = {pid}
    parents = {child: parent for child, parent, _ in _processes()}
    while todo:
        todo = {child for child, parent in parents.items() if parent in todo} - found
        found |= todo
    return found


def wait_gone(pids: set[int], timeout_s: float) -> bool:
    """Whether none of them is left, after at most that many seconds. Dead ones that nobody reaped are gone."""
    deadline = time.monotonic() + timeout_s
    while pids & {pid for pid, _, is_dead in _processes() if not is_dead}:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _pidfd(pid: int) -> int:
    if sys.platform == "linux":
        try:
            return os.pidfd_open(pid)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
    raise NotImplementedError


def _processes() -> Iterator[tuple[int, int, bool]]:
    """Number, parent and whether it is a zombie, of all processes."""
    lines = _linux_lines() if sys.platform == "linux" else _ps_lines()
    for line in lines:
        pid, parent, state = line.split()[:3]
        yield int(pid), int(parent), state.startswith("Z")


def _linux_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may hold anything.
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                yield f"{entry.name} {parent} {state}"


def _ps_lines() -> list[str]:
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,state="]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False)  # noqa: S603
    return done.stdout.splitlines()


# Beside the drain: the runs that are left are cancelled, connections closed, processes ended, the log written. Each
# step has a bound of its own; this is more than all of them together.
BEYOND_DRAIN_S: Final = 20.0
