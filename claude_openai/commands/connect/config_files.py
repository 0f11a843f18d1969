"""Read, atomically replace and remove a configuration file of another program.

Only a regular file of this user is changed. A symbolic link is followed, because dotfiles managers use them: its target
is replaced, and the link is kept. The target of a link in a project must be in the project, because a cloned repository
could contain a link to any file.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from claude_openai.commands.connect.documents import MergeRefused
from claude_openai.file_access import open_unfollowed

__all__ = ["ConfigFile", "missing_folders", "read_config", "remove_config", "remove_folders", "replace_config"]

MAX_CONFIG_BYTES: Final = 1024 * 1024
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file as it was read; `status` is None if it did not exist."""

    path: Path
    data: bytes
    status: os.stat_result | None

    @property
    def text(self) -> str:
        """The text of the file.

        Raises:
            MergeRefused: it is not UTF-8.
        """
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise MergeRefused("it is not UTF-8") from None


def read_config(path: Path, within: Path | None = None) -> ConfigFile:
    """Read the file, if it exists.

    Args:
        path: the path of the file, or of a symbolic link to it.
        within: the folder in which the target of a link must be.

    Returns:
        The file; for a link, its path is that of the target.

    Raises:
        MergeRefused: it is not a regular file of this user, or a link that must not be followed.
    """
    if path.is_symlink():
        path = _followed(path, within)
    try:
        fd = open_unfollowed(path)
    except FileNotFoundError:
        return ConfigFile(path, b"", None)
    except OSError as error:
        raise MergeRefused(f"it cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise MergeRefused("it is not a regular file")
        if status.st_uid != os.geteuid():
            raise MergeRefused(f"it belongs to another user (uid {status.st_uid})")
        if status.st_nlink > 1:
            raise MergeRefused("it has another hard link, which would keep the old content")
        data = _content_of(fd)
    finally:
        os.close(fd)
    if len(data) > MAX_CONFIG_BYTES:
        raise MergeRefused(f"it is larger than {MAX_CONFIG_BYTES} bytes")
    return ConfigFile(path, data, status)


def replace_config(old: ConfigFile, text: str, mode: int = 0o666) -> None:
    """Replace the file's content; mode and group of the old file are kept.

    Args:
        old: the file as it was read.
        text: the new content.
        mode: the mode of a new file; the umask applies.

    Raises:
        MergeRefused: the file cannot be written, or was changed after it was read.
    """
    path = old.path
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = open_unfollowed(temporary, _CREATE, mode=mode)
        try:
            with os.fdopen(fd, "wb") as file:
                if old.status is not None:
                    with contextlib.suppress(PermissionError):  # the user has left that group
                        os.fchown(fd, -1, old.status.st_gid)
                    os.fchmod(fd, stat.S_IMODE(old.status.st_mode))
                file.write(text.encode())
                file.flush()
                os.fsync(fd)
            _check_unchanged(old)
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise MergeRefused(f"it cannot be written: {error.strerror}") from None


def missing_folders(file: Path) -> tuple[str, ...]:
    """Return the paths of the folders that `replace_config` makes for the file, the innermost first."""
    return tuple(str(folder) for folder in file.parents if not folder.exists())


def remove_folders(folders: Iterable[str]) -> None:
    """Remove the empty folders, the innermost first, until one is not empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            Path(folder).rmdir()


def remove_config(old: ConfigFile) -> None:
    """Remove the file.

    Raises:
        MergeRefused: the file cannot be removed, or was changed after it was read.
    """
    _check_unchanged(old)
    try:
        old.path.unlink(missing_ok=True)
    except OSError as error:
        raise MergeRefused(f"it cannot be removed: {error.strerror}") from None


def _followed(link: Path, within: Path | None) -> Path:
    try:
        path = link.resolve(strict=True)
    except (OSError, RuntimeError):
        raise MergeRefused(f"it is a symbolic link to {str(link.readlink())!r}, which cannot be opened") from None
    if link.lstat().st_uid != os.geteuid():
        raise MergeRefused("it is a symbolic link that belongs to another user")
    if within is not None and not path.is_relative_to(within.resolve()):
        raise MergeRefused(f"it is a symbolic link to {str(path)!r}, outside of the project")
    return path


def _content_of(fd: int) -> bytes:
    with os.fdopen(fd, "rb", closefd=False) as file:
        return file.read(MAX_CONFIG_BYTES + 1)


def _check_unchanged(old: ConfigFile) -> None:
    if not _is_unchanged(old):
        raise MergeRefused("another program changed it at the same time", hint="try again")


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
