"""Reading and replacing a configuration file of another program: whole or not at all, with a backup beside it.

Only a plain file of this user is touched, and no link is followed: a project that was cloned may hold one that leads
anywhere. Knows files; knows no format.
"""

import contextlib
import itertools
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_openai.commands.connect.merging import MergeRefused
from claude_openai.file_access import open_unfollowed

__all__ = ["ConfigFile", "read_config", "replace_config"]

MAX_CONFIG_BYTES: Final = 1024 * 1024
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read; `status` is None if there was none."""

    path: Path
    data: bytes
    status: os.stat_result | None

    @property
    def text(self) -> str:
        """Its text.

        Raises:
            MergeRefused: it is not UTF-8.
        """
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise MergeRefused("it is not UTF-8") from None


def read_config(path: Path) -> ConfigFile:
    """Read the file, if there is one.

    Raises:
        MergeRefused: what is there is not a plain file of this user.
    """
    if path.is_symlink():
        raise MergeRefused(f"it is a symbolic link to {str(path.readlink())!r}, which is not followed")
    try:
        fd = open_unfollowed(path)
    except FileNotFoundError:
        return ConfigFile(path, b"", None)
    except OSError as error:
        raise MergeRefused(f"it cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise MergeRefused("it is not a plain file of yours")
        if status.st_nlink > 1:
            raise MergeRefused("it has another hard link, which would keep the old content")
        data = _content_of(fd)
    finally:
        os.close(fd)
    if len(data) > MAX_CONFIG_BYTES:
        raise MergeRefused(f"it is larger than {MAX_CONFIG_BYTES} bytes")
    return ConfigFile(path, data, status)


def replace_config(old: ConfigFile, text: str) -> Path | None:
    """Put the text in the file's place, with its mode.

    Returns:
        The backup of what was there, None if there was nothing.

    Raises:
        MergeRefused: it cannot be written, or was changed since it was read.
    """
    path = old.path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        backup = None if old.status is None else _backed_up(old)
        fd = open_unfollowed(temporary, _CREATE, mode=0o666)
        try:
            with os.fdopen(fd, "wb") as file:
                if old.status is not None:
                    os.fchmod(fd, stat.S_IMODE(old.status.st_mode))
                file.write(text.encode())
                file.flush()
                os.fsync(fd)
            if not _is_unchanged(old):
                raise MergeRefused("it was changed in this moment", hint="try again")
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise MergeRefused(f"it cannot be written: {error.strerror}") from None
    return backup


def _content_of(fd: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read(MAX_CONFIG_BYTES + 1)


def _backed_up(old: ConfigFile) -> Path:
    assert old.status is not None  # noqa: S101 - of the caller
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        backup = old.path.with_name(f"{old.path.name}.bak-{stamp}{'' if number == 1 else f'-{number}'}")
        with contextlib.suppress(FileExistsError):
            fd = open_unfollowed(backup, _CREATE)
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, stat.S_IMODE(old.status.st_mode))
                file.write(old.data)
            return backup
    raise AssertionError("unreachable")


def _is_unchanged(old: ConfigFile) -> bool:
    try:
        now = old.path.lstat()
    except FileNotFoundError:
        return old.status is None
    then = old.status
    return then is not None and (now.st_ino, now.st_size, now.st_mtime_ns) == (
        then.st_ino,
        then.st_size,
        then.st_mtime_ns,
    )
