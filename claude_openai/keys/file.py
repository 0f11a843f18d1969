"""The keys file: JSON, of mode 0600, written by `claude-openai key` and read by the server.

The file may belong to root, and its path may be a symbolic link: Kubernetes mounts secrets like this.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from claude_openai.errors import ConfigError, StartError
from claude_openai.file_access import make_private_folder, open_unfollowed
from claude_openai.keys.key import Key

__all__ = ["Stamp", "edited", "read_keys", "stamp_of"]

MAX_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 1000
# How long a command waits while another writes the file.
LOCKED_S: Final = 5.0
_POLL_S: Final = 0.05


class Stamp(NamedTuple):
    """What differs after each change of a file."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, None if it cannot be looked at."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def read_keys(path: Path) -> tuple[tuple[Key, ...], Stamp]:
    """Return the keys of a file, and the stamp of the file that was read.

    Raises:
        ConfigError: it cannot be read, others may read it, or its content is not valid.
    """
    try:
        fd = open_unfollowed(os.path.realpath(path))
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            _check_access(found)
            return _parsed(file.read(MAX_BYTES + 1)), _stamp(found)
    except FileNotFoundError:
        raise ConfigError(
            f"the keys file {str(path)!r} does not exist", hint="`claude-openai key add NAME` makes it"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"the keys file {str(path)!r} cannot be used: {reason}") from None


@contextmanager
def edited(path: Path) -> Iterator[list[Key]]:
    """Lend the keys of a file, and write them back at the end of the block, atomically.

    Without a file there are no keys. Only one process at a time is in such a block.

    Raises:
        ConfigError: as `read_keys`.
        StartError: the file cannot be written, or another command writes it.
    """
    try:
        path = Path(os.path.realpath(path))
        make_private_folder(path.parent)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _not_written(path, error) from None
    try:
        # The folder is locked, because the file is replaced.
        _lock(folder, path)
        keys = list(read_keys(path)[0]) if os.path.lexists(path) else []
        yield keys
        _replace(path, keys)
    finally:
        os.close(folder)


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _check_access(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is not a plain file")
    if found.st_uid not in (os.geteuid(), 0):
        raise ValueError(f"it belongs to another user (uid {found.st_uid})")
    # The server reads a file of root through the group of the file.
    expected = 0o600 if found.st_uid == os.geteuid() else 0o640
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 & ~expected:
        raise ValueError(f"others may open it (mode {mode:04o}); expected mode {expected:04o}")


def _parsed(content: bytes) -> tuple[Key, ...]:
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES} bytes")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is no JSON: {error}") from None
    entries = data.get("keys") if isinstance(data, dict) and set(data) == {"keys"} else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError(f"expected an object with the member 'keys', a list of at most {MAX_KEYS} keys")
    keys = []
    for index, entry in enumerate(entries):
        try:
            keys.append(Key.from_json(entry))
        except ValueError as error:
            raise ValueError(f"keys[{index}] {error}") from None
    for name in ("name", "sha256"):
        if len({getattr(key, name) for key in keys}) < len(keys):
            raise ValueError(f"two keys have the same {name}")
    return tuple(keys)


def _lock(folder: int, path: Path) -> None:
    until = time.monotonic() + LOCKED_S
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise StartError(f"another process writes {str(path)!r}", hint="try again") from None
            time.sleep(_POLL_S)
        except OSError:  # a file system without locks
            return
        else:
            return


def _replace(path: Path, keys: Sequence[Key]) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps({"keys": [key.to_json() for key in keys]}, indent=2) + "\n"
    try:
        new.unlink(missing_ok=True)
        fd = open_unfollowed(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o600)
            file.write(text)
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> StartError:
    return StartError(f"cannot write the keys file {str(path)!r}: {error.strerror}")
