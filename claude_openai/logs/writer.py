"""Lines to a file descriptor from a thread of its own, so that whoever writes a line never waits and never fails.

`put` only enters the line into a bounded queue. The thread alone meets pipes nobody reads, full disks and moved files;
what it cannot write is dropped and counted, and `count_line` makes the record that says so once there is room again. It
knows bytes and files, and nothing of levels, fields or secrets.

A file never grows beyond `FILE_BYTES`: before the lines that would make it, it is renamed to FILE.1 in place of the
older FILE.1, and a new FILE is begun. Where that fails, it is said once and the file grows. Several servers may write
to one FILE: each appends whole lines, one of them renames, under a lock, and the others find that what they have open
is FILE no longer and open the new one, within `ROTATION_CHECK_S` or when the old one is full. Until then their lines
go to FILE.1, which may so exceed the bound by what they write in that moment.

Trap: a finaliser run by the garbage collector may log in the middle of `put` on the same thread. SimpleQueue is made
for that, and the lock is re-entrant.
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from claude_openai.errors import ConfigError

__all__ = ["LogWriter", "make_private_folder", "open_log_file"]

QUEUE_BYTES = 8 * 1024 * 1024
FILE_BYTES = 32 * 1024 * 1024  # more than the queue, so that whatever was queued fits in a file
BATCH_BYTES = 64 * 1024
ROTATION_CHECK_S = 1.0
RETRY_S = 0.02
_STDERR = 2
_REASONS = {
    errno.ELOOP: "it is a symbolic link",
    errno.EACCES: "it belongs to another user, or may not be written to",
}
# O_NONBLOCK: a FIFO without a reader must fail at start, not hang it. O_NOFOLLOW: a link could be anyone's.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_log_file(path: Path) -> int:
    """The file open for appending: new ones 0600 in new folders 0700, whatever the umask; old ones keep their mode.

    Raises:
        ConfigError: it cannot be opened, is a link, or was made by another user, who could read what is written.
    """
    try:
        make_private_folder(path.parent)
        try:
            fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(fd, 0o600)
        except FileExistsError:
            # With O_CREAT the kernel too refuses another's file in a folder that all share (fs.protected_regular).
            fd = os.open(path, _FLAGS | os.O_CREAT, 0o600)
    except OSError as error:
        raise _cannot_write(path, _REASONS.get(error.errno or 0) or error.strerror or str(error)) from error
    reason = _why_not_ours(os.fstat(fd))
    if reason:
        os.close(fd)
        raise _cannot_write(path, reason)
    return fd


def _why_not_ours(found: os.stat_result) -> str:
    """Why a file that is open may have been planted; "" if it was not. A device is root's."""
    if found.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user (uid {found.st_uid})"
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        return "it has a second name"
    if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH:
        return f"every user may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _cannot_write(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"cannot write the log file {str(path)!r}: {reason}")


def make_private_folder(folder: Path) -> None:
    """Make a folder and those it is in: new ones are 0700, whatever the umask; old ones keep their mode."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
        folder.chmod(0o700)


class LogWriter:
    """The queue and the thread behind a log. The thread starts at once and ends with `close`, or with the process.

    Args:
        fd: where the lines go; the writer owns it and closes it at its end.
        path: the file `fd` was opened from; when it is moved, deleted or full, a new one is begun in its place.
        count_line: makes the line that reports a number of dropped records.
    """

    def __init__(self, fd: int, path: Path | None, count_line: Callable[[int], bytes]) -> None:
        self._fd = fd
        self._path = path
        self._count_line = count_line
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock = threading.RLock()
        self._queued = 0
        self._dropped = 0
        self._is_torn = False
        self._complaints: set[str] = set()
        self._next_check = 0.0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue a line that ends in a newline, or drop it when the queue is full; after `close` nothing is written."""
        size = len(line)
        with self._lock:
            fits = self._queued + size <= QUEUE_BYTES
            if fits:
                self._queued += size
            else:
                self._dropped += 1
        if fits:
            self._queue.put(line)

    def close(self, timeout_s: float) -> None:
        """Write what is queued, waiting at most `timeout_s` seconds for it; says on stderr when it gave up."""
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _say(f"the log could not be written within {timeout_s:g} s; its last records are lost")

    # Everything below runs on the thread.

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch, is_last = self._next_batch()
            self._follow_path()
            lost = self._write(batch)
            with self._lock:
                self._queued -= len(batch)
                self._dropped += lost
            if not lost:
                self._report_dropped()
        os.close(self._fd)

    def _next_batch(self) -> tuple[bytes, bool]:
        lines: list[bytes] = []
        size = 0
        line = self._queue.get()
        while line is not None:
            lines.append(line)
            size += len(line)
            if size >= BATCH_BYTES:
                return b"".join(lines), False
            try:
                line = self._queue.get_nowait()
            except Empty:
                return b"".join(lines), False
        return b"".join(lines), True

    def _report_dropped(self) -> None:
        dropped = self._dropped
        if dropped and not self._write(self._count_line(dropped)):
            with self._lock:
                self._dropped -= dropped

    def _write(self, lines: bytes) -> int:
        """Write the lines and return how many of them were lost; after half a line the next starts on a new one."""
        if lines and self._would_overflow(len(lines) + self._is_torn):
            self._rotate()
        data = memoryview(b"\n" + lines if self._is_torn else lines)
        done = 0
        while done < len(data):
            try:
                done += os.write(self._fd, data[done:])
            except BlockingIOError:  # a parent made our standard output non-blocking
                time.sleep(RETRY_S)
            except OSError as error:
                self._complain(f"the log cannot be written: {error.strerror or error}")
                self._is_torn = data[done - 1] != ord("\n") if done else self._is_torn
                return bytes(data[max(done, len(data) - len(lines)) :]).count(b"\n")
        self._is_torn = False
        return 0

    def _follow_path(self) -> None:
        if self._path is None or time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + ROTATION_CHECK_S
        if not self._is_at(self._path):
            self._reopen(self._path)

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), path.lstat())
        except OSError:  # it is gone, or its folder is
            return False

    def _would_overflow(self, size: int) -> bool:
        try:
            state = os.fstat(self._fd)
        except OSError:  # writing will tell
            return False
        return stat.S_ISREG(state.st_mode) and state.st_size > 0 and state.st_size + size > FILE_BYTES

    def _rotate(self) -> None:
        if self._path is None:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if self._is_at(self._path):  # else another server was first, and FILE is a new one already
                    self._path.rename(f"{self._path}.1")
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except BlockingIOError:  # another server is at it
            return
        except OSError as error:
            self._complain(f"the log file cannot be rotated and grows: {error.strerror or error}")
            return
        self._reopen(self._path)

    def _reopen(self, path: Path) -> None:
        try:
            fd = open_log_file(path)
        except ConfigError as error:
            self._complain(str(error))
            return
        os.close(self._fd)
        self._fd, self._is_torn = fd, False

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            _say(text)


def _say(text: str) -> None:
    """One line on stderr, unless that would block: it is often the same full pipe."""
    with contextlib.suppress(OSError, ValueError):
        if sys.__stderr__ is not None and select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, f"claude-openai: {text}\n".encode(errors="backslashreplace"))
