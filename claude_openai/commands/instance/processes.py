"""Signal a process that is not a child of this one, and wait until it and its descendants have ended.

On Linux a pidfd refers to the process, so that no signal reaches another process that reuses its pid. Elsewhere only
the pid is available.
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
    """A process, referred to by a pidfd where the system has them. It has to be closed.

    Raises:
        ProcessLookupError: no process has this pid.
        PermissionError: the process belongs to another user.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(NotImplementedError):
            self._fd = _pidfd(pid)
        if self._fd < 0:
            os.kill(pid, 0)

    def send(self, number: signal.Signals) -> None:
        """Send a signal; do nothing if the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "linux" and self._fd >= 0:
                signal.pidfd_send_signal(self._fd, number)
            else:
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended, at most `timeout_s` seconds; return whether it has."""
        if self._fd < 0:
            return wait_gone({self.pid}, timeout_s)
        return bool(select.select([self._fd], [], [], timeout_s)[0])

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def has_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open; True on systems without /proc."""
    folder = Path(f"/proc/{pid}/fd")
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for entry in folder.iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(entry.stat(), wanted):
                    return True
    return not Path("/proc/self/fd").is_dir()


def openers(path: Path | None) -> set[int] | None:
    """Return the pids of other processes that have a file open; None without a file, or on systems without /proc."""
    if path is None or not Path("/proc/self/fd").is_dir():
        return None
    others = {pid for pid, _, is_dead in _processes() if not is_dead} - {os.getpid()}
    return {pid for pid in others if has_open(pid, path)}


def descendants(pid: int) -> set[int]:
    """Return the pids of all descendants of a process, in any process group or session."""
    found: set[int] = set()
    todo = {pid}
    parents = {child: parent for child, parent, _ in _processes()}
    while todo:
        todo = {child for child, parent in parents.items() if parent in todo} - found
        found |= todo
    return found


def wait_gone(pids: set[int], timeout_s: float) -> bool:
    """Wait until all processes have ended, at most `timeout_s` seconds; return whether they have. Zombies count."""
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
    """Yield the pid, the pid of the parent, and whether it is a zombie, for all processes."""
    lines = _linux_lines() if sys.platform == "linux" else _ps_lines()
    for line in lines:
        pid, parent, state = line.split()[:3]
        yield int(pid), int(parent), state.startswith("Z")


def _linux_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may contain any character.
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                yield f"{entry.name} {parent} {state}"


def _ps_lines() -> list[str]:
    command = ["/bin/ps", "-A", "-o", "pid=,ppid=,state="]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False)  # noqa: S603
    return done.stdout.splitlines()


# After the drain, the remaining runs are cancelled, connections closed, processes ended, and the log written. Each step
# has a limit; this is more than their sum.
BEYOND_DRAIN_S: Final = 20.0
