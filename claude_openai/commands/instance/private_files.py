"""Small files in a folder that other users can write to: only plain files of this user, closed to others, are accepted.

Links are not followed, and a file that another user has put there is not read, written or waited for.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from claude_openai.errors import StartError
from claude_openai.file_access import open_unfollowed

__all__ = ["UnsafeFileError", "content", "create", "is_at", "open_own", "read", "remove", "replace"]

MAX_BYTES: Final = 1024 * 1024
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FOREIGN: Final = "it belongs to another user"
_REASONS: Final = {
    errno.ELOOP: "it is a symbolic link",
    errno.EACCES: _FOREIGN,
    errno.EPERM: _FOREIGN,
    errno.EISDIR: "it is not a plain file",
}


class UnsafeFileError(StartError):
    """A file in the temporary folder was not written by a server of this user."""


def open_own(path: Path, flags: int = os.O_RDONLY) -> int | None:
    """Return a descriptor of a file of this user, None if there is no file.

    Raises:
        UnsafeFileError: the file is not accessible to this user alone.
    """
    try:
        fd = open_unfollowed(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unsafe(path, _REASONS.get(error.errno or 0, error.strerror)) from None
    found = os.fstat(fd)
    reason = ""
    if not stat.S_ISREG(found.st_mode):
        reason = "it is not a plain file"
    elif found.st_uid != os.geteuid():
        reason = f"{_FOREIGN} (uid {found.st_uid})"
    elif stat.S_IMODE(found.st_mode) & 0o077:
        reason = f"others may open it (mode {stat.S_IMODE(found.st_mode):04o})"
    elif found.st_nlink > 1:
        reason = "it has another hard link"
    if reason:
        os.close(fd)
        raise _unsafe(path, reason)
    return fd


def create(path: Path) -> int | None:
    """Create a file of mode 0600 and return its descriptor, None if the file exists.

    Raises:
        StartError: the folder cannot be used.
    """
    try:
        fd = open_unfollowed(path, _NEW)
    except FileExistsError:
        return None
    except OSError as error:
        raise StartError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            hint="set TMPDIR to a writable folder",
        ) from None
    os.fchmod(fd, 0o600)
    return fd


def replace(path: Path, text: str) -> None:
    """Write a file of mode 0600 atomically.

    Raises:
        UnsafeFileError: the file cannot be written, or the old one cannot be replaced.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        # An existing temporary file was left by a dead process with our pid.
        temporary.unlink(missing_ok=True)
        fd = open_unfollowed(temporary, _NEW)
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(fd, 0o600)
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _unsafe(path, _why_not(error, "it cannot be replaced")) from None


def remove(path: Path) -> None:
    """Remove the file with this name, if there is one.

    Raises:
        UnsafeFileError: it cannot be removed, such as the file of another user in a sticky folder.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unsafe(path, _why_not(error, "it cannot be removed")) from None


def content(path: Path) -> str:
    """Return the text of a file of this user, "" if there is no file.

    Raises:
        UnsafeFileError: the file is not accessible to this user alone.
    """
    fd = open_own(path)
    if fd is None:
        return ""
    try:
        return read(fd)
    finally:
        os.close(fd)


def read(fd: int) -> str:
    return os.read(fd, MAX_BYTES).decode("utf-8", errors="surrogateescape")


def is_at(fd: int, path: Path) -> bool:
    """Return whether a path still names the file of a descriptor."""
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except OSError:
        return False


def _why_not(error: OSError, what: str) -> str:
    is_foreign = error.errno in (errno.EACCES, errno.EPERM)
    return f"{_FOREIGN}, and {what}" if is_foreign else f"{what}: {error.strerror or error}"


def _unsafe(path: Path, reason: str | None) -> UnsafeFileError:
    # In a sticky folder, such as /tmp, users cannot remove the files of others.
    removal = "" if reason is not None and reason.startswith(_FOREIGN) else "remove it, or "
    return UnsafeFileError(
        f"{str(path)!r} was not written by a server of yours: {reason}",
        hint=f"{removal}set TMPDIR to a folder of your own",
    )
