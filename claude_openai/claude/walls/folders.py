"""The folders of a request, between their check and the start of the process that works in them.

By the time a request gets its slot, a path that was checked may name another folder. So the working folder is kept open
from the check on, and the process is started in whatever the descriptor refers to; all folders are compared once more,
right before the start, with what was checked. Knows files; which folders are allowed is decided by
`web/claude_options_access`.
"""

import os
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from claude_openai.claude.walls.file_calls import FILE_CALL_S
from claude_openai.errors import BadRequest
from claude_openai.file_access import open_unfollowed
from claude_openai.protocol.turn.claude_options import Root

__all__ = ["BY_DESCRIPTOR", "HeldFolder", "check_roots", "folder_not_available", "folder_of", "root_of"]

# Other systems have no /proc to name a descriptor by. There the folders are compared before and after the start, before
# anything is written to the process: an exchange that is undone within those milliseconds goes unnoticed.
BY_DESCRIPTOR: Final = sys.platform == "linux"


class HeldFolder:
    """A folder that is kept open: its inode number cannot be reused, and a process can be started in it.

    `open` may run in a thread that was abandoned. Whichever of `open` and `close` comes last closes the descriptor.

    Attributes:
        descriptor: None before `open` and after `close`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self.descriptor: int | None = None

    def open(self, path: str) -> int:
        """Open the folder and return the descriptor.

        Raises:
            OSError: it cannot be opened, is not a folder, or is a symbolic link.
        """
        descriptor = open_unfollowed(path, os.O_RDONLY | os.O_DIRECTORY)
        with self._lock:
            if not self._closed:
                self.descriptor = descriptor
                return descriptor
        os.close(descriptor)
        raise OSError("closed before it was opened")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def root_of(path: str, param: str, descriptor: int | None = None) -> Root:
    """Identify a folder.

    Args:
        path: absolute, without symbolic links.
        param: the field of the request that names it.
        descriptor: of the folder, if it is open.

    Raises:
        OSError: it does not exist, or is not a folder.
    """
    found = os.lstat(path) if descriptor is None else os.fstat(descriptor)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(path)
    return Root(path, found.st_dev, found.st_ino, param)


def check_roots(roots: Iterable[Root]) -> None:
    """Check that each path still leads to the folder that was checked, and over no link. Blocking.

    Raises:
        BadRequest: with the field of the first one that does not.
    """
    for root in roots:
        if not _is_still(root):
            raise BadRequest(
                f"'{root.param}': the folder {root.path!r} was moved, removed or replaced after it was checked. "
                "Claude was not asked; send the request again.",
                code="folder_replaced",
                param=root.param,
            )


def folder_not_available(param: str) -> BadRequest:
    """The error for a file system that does not answer."""
    message = f"'{param}': the file system of a folder did not answer within {FILE_CALL_S:g} s."
    return BadRequest(message, code="folder_not_available", param=param)


def folder_of(descriptor: int) -> Path:
    """A path to the folder that a descriptor refers to, whatever its name is now, for a child process to start in."""
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _is_still(root: Root) -> bool:
    try:
        return os.path.realpath(root.path, strict=True) == root.path and root_of(root.path, root.param) == root
    except OSError:
        return False
