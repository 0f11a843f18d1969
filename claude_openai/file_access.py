"""Open files in folders that other users can write to, and test locks.

Symbolic links are not followed and FIFOs are not waited for. Callers check the owner and the mode of a file.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["READ_BYTES", "is_locked", "make_private_folder", "open_unfollowed"]

# Size of one read of a file or a connection.
READ_BYTES: Final = 64 * 1024
# O_NOFOLLOW: another user may have created a link. O_NONBLOCK: opening a FIFO without a peer must not block.
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_unfollowed(path: str | Path, flags: int = os.O_RDONLY, *, mode: int = 0o600, dir_fd: int | None = None) -> int:
    """Open a file with `os.open`, without following a link or waiting for a FIFO. `mode` is for a new file."""
    return os.open(path, flags | _FLAGS, mode, dir_fd=dir_fd)


def make_private_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 0700, under any umask. Existing ones keep their mode."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        folder.chmod(0o700)


def is_locked(fd: int, *, keep: bool = False) -> bool:
    """Return whether a process holds an exclusive lock on a file.

    A lock, unlike a pid in the file, proves that its holder lives. Return False on file systems without locks.

    Args:
        fd: the file.
        keep: if there is no exclusive lock, keep the shared lock that the test takes.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    if not keep:
        fcntl.flock(fd, fcntl.LOCK_UN)
    return False
