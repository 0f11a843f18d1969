"""Hints for errors of the system that are shortages and not bugs: files, processes, memory, disk space."""

import errno
from collections.abc import Mapping
from typing import Final

__all__ = ["described", "shortage_hint"]

_DISK: Final = "free some disk space, or start the server with another TMPDIR"
_HINTS: Final[Mapping[int, str]] = {
    errno.ENOSPC: _DISK,
    errno.EDQUOT: _DISK,
    errno.EFBIG: "raise the server's limit of file sizes (ulimit -f)",
    errno.EMFILE: "start the server with a higher limit of open files (ulimit -n)",
    errno.ENFILE: "the whole system has too many open files",
    errno.EAGAIN: "end some processes, or raise the limit of this user or container (ulimit -u, pids.max)",
    errno.ENOMEM: "free some memory, or lower --max-concurrency, --max-idle-sessions and --spares",
    errno.ENOBUFS: "free some memory",
}
# The file that was being opened is not the cause of these.
_OF_NO_FILE: Final = frozenset({errno.EMFILE, errno.ENFILE})


def shortage_hint(error: BaseException) -> str:
    """Return how to fix a shortage of the system, "" if the error is not one."""
    return _HINTS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def described(error: BaseException) -> str:
    """Return the text of an error without its number: `No space left on device: '/tmp/x'`."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.filename is None or error.errno in _OF_NO_FILE:
        return error.strerror
    return f"{error.strerror}: {error.filename!r}"
