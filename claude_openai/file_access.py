"""Opening files in folders that others can write to, and asking whether somebody holds a lock.

Nothing that was planted is followed or waited for; what a file must be, its owner and mode, the callers say.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["READ_BYTES", "is_locked", "make_private_folder", "open_unfollowed"]

# Taken in by one read of a file or a connection.
READ_BYTES: Final = 64 * 1024
# O_NOFOLLOW: a link could be anyone's. O_NONBLOCK: a FIFO without the other side must not hang us.
_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_unfollowed(path: str | Path, flags: int = os.O_RDONLY, *, mode: int = 0o600, dir_fd: int | None = None) -> int:
    """`os.open` that follows no link and waits for no FIFO; a new file is its owner's alone, less the umask."""
    return os.open(path, flags | _FLAGS, mode, dir_fd=dir_fd)


def make_private_folder(folder: Path) -> None:
    """Make a folder and those it is in: new ones are 0700, whatever the umask; old ones keep their mode."""
    if folder.is_dir():
        return
    make_private_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        folder.chmod(0o700)


def is_locked(fd: int, *, keep: bool = False) -> bool:
    """Whether somebody holds an exclusive lock on a file: not a number in it, but the lock proves that they live.

    Args:
        fd: of the file.
        keep: keep the shared lock that is taken to find out, if none does.
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
