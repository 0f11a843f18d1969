"""Opens cassettes, for reading and for appending."""

import fcntl
import os
import stat
from pathlib import Path

from claude_openai.cassettes.entry import CassetteError, Entry
from claude_openai.cassettes.lines import header_line, read_lines
from claude_openai.cassettes.matching import Cassette
from claude_openai.file_access import make_private_folder, open_unfollowed

__all__ = ["open_for_append", "read_cassette"]

_APPEND = os.O_RDWR | os.O_APPEND


def read_cassette(path: str | Path) -> Cassette:
    """Read a whole cassette.

    Raises:
        CassetteError: the file cannot be read, is not a cassette, or is damaged.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise CassetteError(f"cannot read the cassette {str(path)!r}: {error.strerror}") from error
    return Cassette(str(path), read_lines(str(path), data))


def open_for_append(path: Path) -> tuple[int, tuple[Entry, ...]]:
    """Open a cassette to record more turns; return its descriptor, which the caller closes, and its turns.

    A new file gets mode 0600, independent of the umask. The file is locked until it is closed.

    Raises:
        CassetteError: the file cannot be written, is a link, belongs to another user, is in use by another server, is
            not a cassette, or is damaged.
    """
    try:
        make_private_folder(path.parent)
        try:
            fd = open_unfollowed(path, _APPEND | os.O_CREAT | os.O_EXCL)
            os.fchmod(fd, 0o600)
        except FileExistsError:
            fd = open_unfollowed(path, _APPEND)
    except OSError as error:
        raise _cannot_record(path, error.strerror or str(error)) from error
    try:
        return fd, _claim(fd, path)
    except BaseException:
        os.close(fd)
        raise


def _claim(fd: int, path: Path) -> tuple[Entry, ...]:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise _cannot_record(path, "it is not a regular file of this user")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _cannot_record(path, "another server is recording to it") from None
    except OSError:
        pass  # a file system without locks
    try:
        if os.fstat(fd).st_size == 0:
            os.write(fd, header_line())
            return ()
        with open(fd, "rb", closefd=False) as file:
            return read_lines(str(path), file.read())
    except OSError as error:
        raise _cannot_record(path, error.strerror or str(error)) from error


def _cannot_record(path: Path, reason: str) -> CassetteError:
    return CassetteError(f"cannot record to {str(path)!r}: {reason}")
