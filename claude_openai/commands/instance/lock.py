"""The files of `record`, held by the server that they tell of.

Whoever holds the lock on the pid file is the server of this folder. The lock goes with the file it was taken on: if
that one is removed, it has to be taken anew on another. Knows files and locks, no server.
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

# A reader tries the lock for microseconds; a server that starts in one of them must not be put off by it.
LOCK_RETRIES: Final = 50
LOCK_RETRY_S: Final = 0.01


class Claim:
    """The files, held by this process."""

    def __init__(self, folder: Path, fd: int) -> None:
        self._folder = folder
        self._fd = fd
        self._told: Instance | None = None

    def publish(self, instance: Instance) -> None:
        """Tell everybody. Until then `find_instance` finds nothing.

        Raises:
            UnsafeFileError: a file in the way cannot be replaced.
        """
        replace(self._folder / PORT_FILE, f"{instance.port}\n")
        replace(self._folder / JSON_FILE, json.dumps(asdict(instance)))
        self._told = instance

    def keep(self) -> None:
        """Put the files back if somebody has removed them, as long as nobody else holds them. Cheap if none is gone."""
        if self._fd < 0 or self._told is None:
            return
        # Another server holds them, or the folder is gone, or full: the next time, perhaps.
        with contextlib.suppress(StartError, OSError):
            is_whole = is_at(self._fd, pid_file(self._folder))
            if not is_whole:
                fd, self._fd = self._fd, _claimed(self._folder)
                os.close(fd)
            if not is_whole or not all((self._folder / name).exists() for name in (PORT_FILE, JSON_FILE)):
                self.publish(self._told)

    def touch(self) -> None:
        """Make the files look young, for cleaners of temporary folders."""
        for path in self._files():
            with contextlib.suppress(OSError):
                os.utime(path, follow_symlinks=False)

    def release(self) -> None:
        """Remove the files and let go; a second call does nothing. Synchronous, for the last moment of a process."""
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
        """The pid file last: it is what others look at first."""
        return self._folder / JSON_FILE, self._folder / PORT_FILE, pid_file(self._folder)


@contextlib.contextmanager
def claiming(folder: Path) -> Iterator[Claim]:
    """Hold the files for as long as the block, and remove them at its end.

    Args:
        folder: see `instance_folder`.

    Raises:
        AlreadyRunning: another server holds them.
        UnsafeFileError: a file in the way is not ours.
        StartError: the folder cannot be used.
    """
    claim = Claim(folder, _claimed(folder))
    try:
        yield claim
    finally:
        claim.release()


def remove_left_behind(folder: Path) -> None:
    """Remove what a server that was killed has left; the files of one that runs, or of others, stay."""
    if any((folder / name).exists() for name in (JSON_FILE, PORT_FILE)) or pid_file(folder).exists():
        with contextlib.suppress(StartError), claiming(folder):
            pass


def _claimed(folder: Path) -> int:
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
            raise StartError(f"cannot write {str(path)!r}: {reason}", hint="TMPDIR names the folder") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner ended, and removed the file, while we looked at it
    raise AlreadyRunning(find_instance(folder))


def _take(fd: int, folder: Path) -> None:
    # What a dead server told is erased under a shared lock, before the exclusive one: whoever sees the exclusive lock
    # sees nothing but what its holder told. No server lives while the shared lock is granted.
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
            fcntl.flock(fd, fcntl.LOCK_UN)  # two that start at once must not wait for each other's shared lock
            time.sleep(LOCK_RETRY_S)
        else:
            return
    raise AlreadyRunning(find_instance(folder))
