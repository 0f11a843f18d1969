"""Hold the instance files of `record` in the server that they describe.

The process that holds the lock on the pid file is the server of the folder. The lock belongs to the file, not to its
name: if the file is removed, the server has to create another one and lock it.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from claude_openai.commands.instance.private_files import create, is_at, open_own, remove, replace
from claude_openai.commands.instance.record import (
    JSON_FILE,
    PORT_FILE,
    AlreadyRunning,
    Instance,
    find_instance,
    pid_file,
)
from claude_openai.errors import StartError
from claude_openai.file_access import is_locked

__all__ = ["Claim", "claiming", "remove_left_behind"]

# A reader holds the lock for microseconds, which must not make a server fail that starts at that moment.
LOCK_RETRIES: Final = 50
LOCK_RETRY_S: Final = 0.01


class Claim:
    """The instance files, held by this process."""

    def __init__(self, folder: Path, fd: int) -> None:
        self._folder = folder
        self._fd = fd
        self._published: Instance | None = None

    def publish(self, instance: Instance) -> None:
        """Write the files. Until then `find_instance` returns None.

        Raises:
            UnsafeFileError: a file in the way cannot be replaced.
        """
        replace(self._folder / PORT_FILE, f"{instance.port}\n")
        replace(self._folder / JSON_FILE, json.dumps(asdict(instance)))
        self._published = instance

    def keep(self) -> None:
        """Recreate removed files, unless another server holds them. Cheap if no file is missing."""
        if self._fd < 0 or self._published is None:
            return
        # If another server holds them, or the folder is missing or full, the next call may succeed.
        with contextlib.suppress(StartError, OSError):
            is_whole = is_at(self._fd, pid_file(self._folder))
            if not is_whole:
                fd, self._fd = self._fd, _lock_pid_file(self._folder)
                os.close(fd)
            if not is_whole or not all((self._folder / name).exists() for name in (PORT_FILE, JSON_FILE)):
                self.publish(self._published)

    def touch(self) -> None:
        """Update the times of the files, so that cleaners of temporary folders keep them."""
        for path in self._files():
            with contextlib.suppress(OSError):
                os.utime(path, follow_symlinks=False)

    def release(self) -> None:
        """Remove the files and release the lock; a second call does nothing. Synchronous, for use before `os._exit`."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if is_at(fd, pid_file(self._folder)):
                for path in self._files():
                    with contextlib.suppress(OSError):
                        path.unlink()
        finally:
            os.close(fd)

    def _files(self) -> tuple[Path, ...]:
        """Return the files in the order of their removal: the pid file last, because others read it first."""
        return self._folder / JSON_FILE, self._folder / PORT_FILE, pid_file(self._folder)


@contextlib.contextmanager
def claiming(folder: Path) -> Iterator[Claim]:
    """Hold the files for the duration of the block, and remove them at its end.

    Args:
        folder: see `instance_folder`.

    Raises:
        AlreadyRunning: another server holds them.
        UnsafeFileError: a file in the way was not written by a server of this user.
        StartError: the folder cannot be used.
    """
    claim = Claim(folder, _lock_pid_file(folder))
    try:
        yield claim
    finally:
        claim.release()


def remove_left_behind(folder: Path) -> None:
    """Remove the files that a killed server has left; those of a running server and of other users stay."""
    if any((folder / name).exists() for name in (JSON_FILE, PORT_FILE)) or pid_file(folder).exists():
        with contextlib.suppress(StartError), claiming(folder):
            pass


def _lock_pid_file(folder: Path) -> int:
    path = pid_file(folder)
    for _ in range(LOCK_RETRIES):
        fd = open_own(path, os.O_RDWR)
        if fd is None:
            fd = create(path)
        if fd is None:
            continue
        try:
            _take(fd, folder)
            if is_at(fd, path):
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
        except OSError as error:
            os.close(fd)
            reason = error.strerror or error
            raise StartError(f"cannot write {str(path)!r}: {reason}", hint="set TMPDIR to a writable folder") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # the server that held the file removed it meanwhile
    raise AlreadyRunning(find_instance(folder))


def _take(fd: int, folder: Path) -> None:
    # The files of a dead server are erased under a shared lock, before the exclusive lock is taken: a reader that finds
    # the exclusive lock must see only what its holder published. While the shared lock is granted, no server runs.
    if is_locked(fd, keep=True):
        raise AlreadyRunning(find_instance(folder))
    if is_at(fd, pid_file(folder)):
        for name in (JSON_FILE, PORT_FILE):
            remove(folder / name)
        os.ftruncate(fd, 0)
    for _ in range(LOCK_RETRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(fd, fcntl.LOCK_UN)  # two starting servers must not block each other's exclusive lock
            time.sleep(LOCK_RETRY_S)
        else:
            return
    raise AlreadyRunning(find_instance(folder))
