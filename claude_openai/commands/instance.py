"""The server that runs, as three files in the temporary folder tell it: who it is, where it listens, how it is asked.

A server holds an exclusive lock on its pid file for as long as it lives, and the kernel lets go of it with the process:
the lock, not the number, says that a server runs, so files that a killed one left and a pid that was given to somebody
else are harmless. The folder is shared, so nothing in it is trusted: a file counts only if it is a plain one of this
user that nobody else can open, and no link is followed.

Knows files and locks; knows no HTTP, sends no signal, and imports only what a command that must answer at once can pay.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from claude_openai.commands.own_files import UnsafeFileError, content, create, is_at, open_own, read, remove, replace
from claude_openai.errors import StartError

__all__ = [
    "AlreadyRunning",
    "Claim",
    "Instance",
    "UnsafeFileError",
    "claiming",
    "find_instance",
    "instance_folder",
    "is_claimed",
    "pid_file",
]

PID_FILE: Final = "claude-openai.pid"
PORT_FILE: Final = "claude-openai.port"
JSON_FILE: Final = "claude-openai.json"
# A reader tries the lock for microseconds; a server that starts in one of them must not be put off by it.
LOCK_RETRIES: Final = 50
LOCK_RETRY_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Instance:
    """A server that runs, as its files tell it.

    Attributes:
        base_url: with an address that reaches it from this machine.
        control_key: bearer token for its control routes.
        started_at: unix time, in seconds.
        log_file: None if it logs to its standard output, or not at all.
        output_dir: where runs are captured, "" if nowhere.
        argv: the flags it was started with, without a key.
        background: it was started with --background.
        drain_timeout_ms: how long it lets running turns end.
        has_api_key: it asks its clients for a key.
    """

    pid: int
    port: int
    base_url: str
    control_key: str = field(repr=False)
    version: str
    backend: str
    started_at: float
    log_file: str | None
    output_dir: str
    argv: tuple[str, ...]
    cwd: str
    background: bool
    drain_timeout_ms: int = 10_000
    has_api_key: bool = False


class AlreadyRunning(StartError):
    """Another server holds the files.

    Args:
        other: None if it does not tell who it is, because it only starts.
    """

    def __init__(self, other: Instance | None) -> None:
        told = "starts" if other is None else f"runs (pid {other.pid}, {other.base_url})"
        self.who = f"another claude-openai {told}"
        super().__init__(
            f"{self.who}; `claude-openai stop` ends it, `claude-openai restart` replaces it, and with another TMPDIR "
            "and --port both can run"
        )


def instance_folder(environ: Mapping[str, str]) -> Path:
    """Where the files are: `TMPDIR`, or the system's temporary folder."""
    return Path(environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108 - every file in it is checked


def pid_file(folder: Path) -> Path:
    """The file that the server which runs holds open."""
    return folder / PID_FILE


def is_claimed(folder: Path) -> bool:
    """Whether a server runs, even if it does not listen yet.

    Raises:
        UnsafeFileError: as of `find_instance`.
    """
    fd = open_own(folder / PID_FILE)
    if fd is None:
        return False
    try:
        return _is_held(fd)
    finally:
        os.close(fd)


def find_instance(folder: Path) -> Instance | None:
    """The server that runs, or None: there is none, or it does not listen yet.

    Raises:
        UnsafeFileError: a file is there that no server of this user wrote.
    """
    fd = open_own(folder / PID_FILE)
    if fd is None:
        return None
    try:
        if not _is_held(fd):
            return None
        pid = read(fd)
    finally:
        os.close(fd)
    told, port = content(folder / JSON_FILE), content(folder / PORT_FILE)
    try:
        found = Instance(**_fields(json.loads(told)))
    except (ValueError, TypeError):
        return None  # its files are not complete yet
    return found if (f"{found.pid}\n", f"{found.port}\n") == (pid, port) else None


class Claim:
    """The files, held by this process."""

    def __init__(self, folder: Path, fd: int) -> None:
        self._folder = folder
        self._fd = fd

    def publish(self, instance: Instance) -> None:
        """Tell everybody. Until then `find_instance` finds nothing.

        Raises:
            UnsafeFileError: a file in the way cannot be replaced.
        """
        replace(self._folder / PORT_FILE, f"{instance.port}\n")
        replace(self._folder / JSON_FILE, json.dumps(asdict(instance)))

    def touch(self) -> None:
        """Make the files look young, for cleaners of temporary folders."""
        for name in (PID_FILE, PORT_FILE, JSON_FILE):
            with contextlib.suppress(OSError):
                os.utime(self._folder / name, follow_symlinks=False)

    def release(self) -> None:
        """Remove the files and let go; a second call does nothing. Synchronous, for the last moment of a process."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if is_at(fd, self._folder / PID_FILE):
                for name in (JSON_FILE, PORT_FILE, PID_FILE):
                    with contextlib.suppress(OSError):
                        (self._folder / name).unlink()
        finally:
            os.close(fd)


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


def _claimed(folder: Path) -> int:
    path = folder / PID_FILE
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
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its owner ended, and removed the file, while we looked at it
    raise AlreadyRunning(find_instance(folder))


def _take(fd: int, folder: Path) -> None:
    # What a dead server told is erased under a shared lock, before the exclusive one: whoever sees the exclusive lock
    # sees nothing but what its holder told. No server lives while the shared lock is granted.
    if _is_held(fd, keep=True):
        raise AlreadyRunning(find_instance(folder))
    if is_at(fd, folder / PID_FILE):
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


def _is_held(fd: int, *, keep: bool = False) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    if not keep:
        fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _fields(told: Any) -> dict[str, Any]:
    """What a newer or older version told, as far as this one knows it."""
    known = Instance.__dataclass_fields__
    return {name: tuple(value) if name == "argv" else value for name, value in dict(told).items() if name in known}
