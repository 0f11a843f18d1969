"""The log's lines to a file or standard output, by a `WriterThread`: a call that logs never waits and never fails.

Lines that cannot be written are dropped and counted; `count_line` makes the record that reports them once writing works
again.

A file never grows beyond `LogLimits.file_bytes`: before lines that would exceed it are written, the file is renamed to
FILE.1, replacing the previous one, and a new FILE is begun. If that fails, the failure is reported once and the file
grows. Several servers may write to one FILE: each appends whole lines, and one of them renames, under a lock. The
others notice that their open file is no longer at FILE, within `rotation_check_s` or when it is full, and open the new
one. Until then their lines go to FILE.1, which may exceed the bound by what they write in that moment.
"""

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from claude_openai.errors import ConfigError
from claude_openai.file_access import make_private_folder, open_unfollowed
from claude_openai.line_writer import LineFile, WriterThread

__all__ = ["DEFAULT_LIMITS", "LogLimits", "LogWriter", "log_file_obstacle", "open_log_file"]

_STDERR = 2
_REASONS = {
    errno.ELOOP: "it is a symbolic link",
    errno.EACCES: "it belongs to another user, or may not be written to",
}
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT


@dataclass(frozen=True, slots=True)
class LogLimits:
    """The limits of a log.

    Attributes:
        queue_bytes: bound of the lines that wait to be written; further lines are dropped.
        file_bytes: the size of a file; more than the queue and a batch, so that all queued lines fit in one file.
        batch_bytes: how much is written at once.
        rotation_check_s: how often the writer checks that the file is still at its path.
        flush_s: how long closing the log waits for the last lines.
    """

    queue_bytes: int = 8 * 1024 * 1024
    file_bytes: int = 32 * 1024 * 1024
    batch_bytes: int = 64 * 1024
    rotation_check_s: float = 1.0
    flush_s: float = 2.0


DEFAULT_LIMITS = LogLimits()


def open_log_file(path: Path) -> int:
    """Open the file for appending. New files get mode 0600, new folders 0700, independent of the umask.

    Raises:
        ConfigError: the file cannot be opened, is a link, or was made by another user, who could read the log.
    """
    try:
        make_private_folder(path.parent)
        try:
            fd = open_unfollowed(path, _APPEND | os.O_EXCL)
            os.fchmod(fd, 0o600)
        except FileExistsError:
            # With O_CREAT the kernel also refuses another user's file in a shared folder (fs.protected_regular).
            fd = open_unfollowed(path, _APPEND)
    except OSError as error:
        raise _cannot_write(path, _reason(error)) from error
    reason = _why_not_ours(os.fstat(fd))
    if reason:
        os.close(fd)
        raise _cannot_write(path, reason)
    return fd


def log_file_obstacle(path: Path) -> str:
    """Return why an existing file cannot be the log, "" if it can, or does not exist. Nothing is written."""
    try:
        fd = open_unfollowed(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return _reason(error)
    try:
        return _why_not_ours(os.fstat(fd))
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _why_not_ours(found: os.stat_result) -> str:
    """Return why another user may have planted an open file; "" if that is excluded. Devices belong to root."""
    if found.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user (uid {found.st_uid})"
    if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
        return "it has another hard link"
    if stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IWOTH:
        return f"every user may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _cannot_write(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"cannot write the log file {str(path)!r}: {reason}")


class LogWriter:
    """The thread behind a log. It starts at once and ends with `close`, or with the process.

    Args:
        fd: descriptor to write to; the writer owns it and closes it at its end.
        path: the path of `fd`; when the file is moved, deleted or full, a new one is begun at this path.
        count_line: makes the line that reports a number of dropped records.
        limits: bounds of the queue, the file and the waits.
        render: converts a line to the bytes to write, on the thread; None to write the lines as they are.
    """

    def __init__(
        self,
        fd: int,
        path: Path | None,
        count_line: Callable[[int], bytes],
        limits: LogLimits = DEFAULT_LIMITS,
        render: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._limits = limits
        self._render = render
        self._file = LineFile(fd)
        self._path = path
        self._count_line = count_line
        self._next_check = 0.0
        self._is_lost = False
        self._thread: WriterThread[bytes] = WriterThread(
            "log-writer", self._write_batch, max_queued=limits.queue_bytes, max_batch=limits.batch_bytes
        )

    @property
    def problem(self) -> str:
        """Why the last lines could not be written; "" once lines are written again."""
        if self._is_lost:
            return "it was moved or deleted, and cannot be created again"
        error = self._file.error
        return (error.strerror or str(error)) if self._file.lost and error is not None else ""

    def put(self, line: bytes) -> None:
        """Queue a line with its newline, or drop it if the queue is full or after `close`."""
        if not self._thread.put(line, len(line)):
            self._file.count_lost(1)

    def close(self) -> None:
        """Write the queued lines, waiting at most `flush_s` seconds; report on stderr if that was too short."""
        if self._thread.close(self._limits.flush_s):
            os.close(self._file.fd)
        else:
            _say(f"the log could not be written within {self._limits.flush_s:g} s; its last records are lost")

    # Everything below runs on the thread.

    def _write_batch(self, batch: list[bytes]) -> None:
        self._follow_path()
        lost = self._write(self._rendered(batch))
        self._file.count_lost(lost)
        dropped = self._file.lost
        if dropped and not lost and not self._write(self._rendered([self._count_line(dropped)])):
            self._file.count_lost(-dropped)

    def _rendered(self, lines: list[bytes]) -> bytes:
        return b"".join(lines if self._render is None else map(self._render, lines))

    def _write(self, lines: bytes) -> int:
        """Write the lines; return the number of lost ones."""
        if lines and self._would_overflow(len(lines) + self._file.is_torn):
            self._rotate()
        lost = self._file.write(lines)
        if lost and self._file.error is not None:
            self._complain(f"the log cannot be written: {self._file.error.strerror or self._file.error}")
        return lost

    def _follow_path(self) -> None:
        if self._path is None or time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + self._limits.rotation_check_s
        if not self._is_at(self._path):
            self._reopen(self._path)

    def _is_at(self, path: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self._file.fd), path.lstat())
        except OSError:  # it is gone, or its folder is
            return False

    def _would_overflow(self, size: int) -> bool:
        try:
            state = os.fstat(self._file.fd)
        except OSError:  # writing fails then, and reports it
            return False
        return stat.S_ISREG(state.st_mode) and state.st_size > 0 and state.st_size + size > self._limits.file_bytes

    def _rotate(self) -> None:
        if self._path is None:
            return
        try:
            fcntl.flock(self._file.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                if self._is_at(self._path):  # otherwise another server has already begun a new FILE
                    self._path.rename(f"{self._path}.1")
            finally:
                fcntl.flock(self._file.fd, fcntl.LOCK_UN)
        except BlockingIOError:  # another server is rotating it
            return
        except OSError as error:
            self._complain(f"the log file cannot be rotated and grows too large: {error.strerror or error}")
            return
        self._reopen(self._path)

    def _reopen(self, path: Path) -> None:
        try:
            fd = open_log_file(path)
        except ConfigError as error:
            self._is_lost = True
            self._complain(str(error))
            return
        self._is_lost = False
        os.close(self._file.fd)
        self._file.fd, self._file.is_torn = fd, False

    def _complain(self, text: str) -> None:
        if self._thread.may_complain(text):
            _say(text)


def _say(text: str) -> None:
    """Write one line to stderr, unless that would block: stderr is often the same full pipe."""
    with contextlib.suppress(OSError, ValueError):
        if sys.__stderr__ is not None and select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, f"claude-openai: {text}\n".encode(errors="backslashreplace"))
