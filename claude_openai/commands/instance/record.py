"""The server that runs, as three files in the temporary folder tell it: who it is, where it listens, how it is asked.

A server holds an exclusive lock on its pid file for as long as it lives, and the kernel lets go of it with the process:
the lock, not the number, says that a server runs, so files that a killed one left and a pid that was given to somebody
else are harmless. The folder is shared, so nothing in it is trusted: a file counts only if it is a plain one of this
user that nobody else can open, and no link is followed.

How they are held is `lock`'s business. Knows files and locks; knows no HTTP, sends no signal, and imports only what a
command that must answer at once can pay.
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
    "pid_file",
]

PID_FILE: Final = "claude-openai.pid"
PORT_FILE: Final = "claude-openai.port"
JSON_FILE: Final = "claude-openai.json"


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
        variables: of the settings that it was given by variables, but for keys.
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
    variables: dict[str, str] = field(default_factory=dict)


class AlreadyRunning(StartError):
    """Another server holds the files.

    Args:
        other: None if it does not tell who it is, because it only starts.
    """

    def __init__(self, other: Instance | None) -> None:
        told = "starts" if other is None else f"runs (pid {other.pid}, {other.base_url})"
        super().__init__(
            f"another claude-openai {told}",
            hint="`claude-openai stop` ends it, `claude-openai restart` replaces it, and with another TMPDIR and "
            "--port both can run",
        )


def instance_folder(environ: Mapping[str, str]) -> Path:
    """Where the files are: `TMPDIR`, or the system's temporary folder."""
    return Path(environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108 - every file in it is checked


def pid_file(folder: Path) -> Path:
    """The file that the server which runs holds open."""
    return folder / PID_FILE


def instance_files(folder: Path) -> tuple[Path, ...]:
    """All files that tell of the server which runs; the control key is in one of them."""
    return (folder / PID_FILE, folder / PORT_FILE, folder / JSON_FILE)


def is_claimed(folder: Path) -> bool:
    """Whether a server runs, even if it does not listen yet.

    Raises:
        UnsafeFileError: as of `find_instance`.
    """
    fd = open_own(folder / PID_FILE)
    if fd is None:
        return False
    try:
        return is_locked(fd)
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
        if not is_locked(fd):
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


def _fields(told: Any) -> dict[str, Any]:
    """What a newer or older version told, as far as this one knows it."""
    known = Instance.__dataclass_fields__
    return {name: tuple(value) if name == "argv" else value for name, value in dict(told).items() if name in known}
