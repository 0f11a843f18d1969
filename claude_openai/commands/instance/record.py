"""The instance files: three files in the temporary folder with the pid, the address and the control key of a server.

A server holds an exclusive lock on its pid file as long as it lives, and the kernel releases the lock when the process
ends. The lock shows that a server is running, not the pid, so stale files and reused pids are harmless. The folder is
shared, so its content is not trusted: only plain files of this user that others cannot open are read, and links are not
followed.

`lock` writes the files. Commands that must answer at once import this module, so it imports little itself.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from claude_openai.commands.instance.private_files import UnsafeFileError, content, open_own, read
from claude_openai.errors import StartError
from claude_openai.file_access import is_locked

__all__ = [
    "JSON_FILE",
    "PORT_FILE",
    "AlreadyRunning",
    "Instance",
    "UnsafeFileError",
    "find_instance",
    "instance_files",
    "instance_folder",
    "is_claimed",
    "parse_instance",
    "pid_file",
]

PID_FILE: Final = "claude-openai.pid"
PORT_FILE: Final = "claude-openai.port"
JSON_FILE: Final = "claude-openai.json"


@dataclass(frozen=True, slots=True)
class Instance:
    """A running server, as its files describe it.

    Attributes:
        base_url: URL with an address that is reachable from this machine.
        control_key: bearer token for its control routes.
        started_at: unix time, in seconds.
        log_file: None if it logs to its standard output, or not at all.
        output_dir: folder of captured runs, "" if runs are not captured.
        argv: flags it was started with, without a key.
        background: whether it was started with --background.
        drain_timeout_ms: how long running turns may go on, after the time of the lame duck.
        lame_duck_ms: how long new turns are taken after the first signal.
        has_api_key: whether it has an API key, which is not stored.
        variables: environment variables that set its settings, without keys.
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
    lame_duck_ms: int = 0
    has_api_key: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def needs_key(self) -> bool:
        """Return whether its clients must send a key."""
        has_keys = any(word.partition("=")[0] == "--keys-file" for word in self.argv)
        return self.has_api_key or has_keys or "CLAUDE_OPENAI_KEYS_FILE" in self.variables


class AlreadyRunning(StartError):
    """Another server holds the instance files.

    Args:
        other: the server; None if it is starting and has not published its files.
    """

    def __init__(self, other: Instance | None) -> None:
        state = "is starting" if other is None else f"is running (pid {other.pid}, {other.base_url})"
        super().__init__(
            f"another claude-openai {state}",
            hint="stop it with `claude-openai stop`, replace it with `claude-openai restart`, or run both with "
            "another TMPDIR and --port",
        )


def instance_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of the instance files: `TMPDIR`, or the system's temporary folder."""
    return Path(environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108 - every file in it is checked


def pid_file(folder: Path) -> Path:
    """Return the path of the pid file, which a running server holds locked."""
    return folder / PID_FILE


def instance_files(folder: Path) -> tuple[Path, ...]:
    """Return the paths of all instance files; one of them contains the control key."""
    return (folder / PID_FILE, folder / PORT_FILE, folder / JSON_FILE)


def is_claimed(folder: Path) -> bool:
    """Return whether a server is running, even if it does not listen yet.

    Raises:
        UnsafeFileError: as in `find_instance`.
    """
    fd = open_own(folder / PID_FILE)
    if fd is None:
        return False
    try:
        return is_locked(fd)
    finally:
        os.close(fd)


def find_instance(folder: Path) -> Instance | None:
    """Return the running server; None if there is none, or it does not listen yet.

    Raises:
        UnsafeFileError: a file was not written by a server of this user.
    """
    fd = open_own(folder / PID_FILE)
    if fd is None:
        return None
    try:
        if not is_locked(fd):
            return None
        pid = read(fd)
    finally:
        os.close(fd)
    data, port = content(folder / JSON_FILE), content(folder / PORT_FILE)
    found = parse_instance(data)  # None: the files are not complete yet
    return found if found is not None and (f"{found.pid}\n", f"{found.port}\n") == (pid, port) else None


def parse_instance(text: str) -> Instance | None:
    """Parse an instance from JSON; return None if it is invalid."""
    try:
        return Instance(**_fields(json.loads(text)))
    except (ValueError, TypeError):
        return None


def _fields(data: Any) -> dict[str, Any]:
    """Return the fields that this version has: another version may have written the file."""
    known = Instance.__dataclass_fields__
    return {name: tuple(value) if name == "argv" else value for name, value in dict(data).items() if name in known}
