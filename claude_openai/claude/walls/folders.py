"""Guards the folders of a request between their check and the start of the process that works in them.

When a request gets its slot, a checked path may lead to another folder. So the working folder is kept open after the
check, and the process is started in the folder of the descriptor; all folders are compared with the checked ones again
right before the start. `web/claude_options_access` decides which folders are allowed.
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

# Other systems have no path to a descriptor in /proc. There the folders are compared before and after the start, before
# anything is written to the process: a replacement that is undone within those milliseconds is not noticed.
BY_DESCRIPTOR: Final = sys.platform == "linux"


class HeldFolder:
    """A folder that is kept open, so that its inode number cannot be reused, and a process can be started in it.

    `open` may run in an abandoned thread. The later one of `open` and `close` closes the descriptor.

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
            OSError: the path cannot be opened, is not a folder, or is a symbolic link.
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
        descriptor: a descriptor of the folder, if it is open.

    Raises:
        OSError: the folder does not exist, or the path is not a folder.
    """
    found = os.lstat(path) if descriptor is None else os.fstat(descriptor)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(path)
    return Root(path, found.st_dev, found.st_ino, param)


def check_roots(roots: Iterable[Root]) -> None:
    """Check that each path still leads to the checked folder, without links. Blocks.

    Raises:
        BadRequest: with the field of the first folder that does not.
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
    """Return the error for a file system that does not answer."""
    message = f"'{param}': the file system of a folder did not answer within {FILE_CALL_S:g} s."
    return BadRequest(message, code="folder_not_available", param=param)


def folder_of(descriptor: int) -> Path:
    """Return a path to a descriptor's folder, independent of its current name, as a child's working folder."""
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _is_still(root: Root) -> bool:
    try:
        return os.path.realpath(root.path, strict=True) == root.path and root_of(root.path, root.param) == root
    except OSError:
        return False
