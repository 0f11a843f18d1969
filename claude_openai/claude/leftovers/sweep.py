"""Removes the files that a `claude` leaves in the user's folders.

Claude Code removes most of its files when it exits, and none when it is killed: its entry in the list of running
sessions, with a key and a socket, and the snapshot of the user's shell. Some it never removes: a folder for each
session that used Bash, and logs of tool calls. Other sessions of the user keep files in the same folders, so a file is
removed only if it has an identifier that no other process has: a pid together with its start time, the random id of the
session, or the random name of the process's temporary folder.

The identifiers are in the server's ledger while the process lives, see `ledger`. If the server is killed, the guardian
runs this file as a program, so it imports only the standard library, and nothing else of this package.

All functions block. The names are those of Claude Code 2.1.332; `tests/real/claude/leftovers/test_leftovers.py` fails
when they change.
"""

import json
import os
import re
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "ENTRY",
    "LEDGER",
    "OF_ITS_OWN_CHOICE",
    "Leftovers",
    "beginning_with",
    "is_alive",
    "processes_of",
    "start_time",
    "sweep",
    "sweep_ledger",
]

# The ledger's name in the server's private folder, and the names in it.
LEDGER: Final = "ledger"
ENTRY: Final = ".json"
# The part of a file that is searched; the snapshot of a shell with many functions has 200 KB.
_READ_BYTES: Final = 4 * 1024 * 1024
# From SIGKILL to the end of a process: the kernel has to free its memory.
_DYING_S: Final = 2.0
_POLL_S: Final = 0.01
# File times have the resolution of the kernel's tick.
_TICK_S: Final = 0.1
# Claude Code cuts longer folder names, and adds a hash.
_NAME_CHARS: Final = 200
_UUID: Final = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Files and folders in Claude Code's folder whose names the process chooses.
OF_ITS_OWN_CHOICE: Final = re.compile(rf"plans/(?!\.)[^/\n]+\.md|projects/(?!\.)[^/\n]+/{_UUID}")


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The identifiers of a process's files.

    Attributes:
        pid: pid of the process.
        started: its start time in the kernel's units; "" without /proc.
        spawned: a time before its start, in seconds of the wall clock.
        session: its session id, a random UUID.
        config: Claude Code's folder for settings and sessions.
        home: the user's home folder.
        runtime: the user's folder for sockets; "" if there is none.
        caches: Claude Code's folder for logs.
        project: Claude Code's name for the working folder, as part of folder names.
        mark: a path with a random name that is in the PATH of its shells; "" without Claude's own tools.
        made: observed files and folders in `config` whose names it chose: plans, and folders of long results.
    """

    pid: int
    started: str
    spawned: float
    session: str
    config: str
    home: str
    runtime: str
    caches: str
    project: str
    mark: str
    made: tuple[str, ...] = ()

    @classmethod
    def of(cls, pid: int, spawned: float, session: str, env: Mapping[str, str], cwd: Path, mark: str) -> "Leftovers":
        """Return the identifiers of a process that was just started with this environment, in this folder."""
        home = env.get("HOME") or str(Path.home())
        caches = f"{home}/Library/Caches" if sys.platform == "darwin" else env.get("XDG_CACHE_HOME") or f"{home}/.cache"
        try:
            # The folder itself is not accessed: its disk may not answer.
            folder = str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            folder = os.path.realpath(cwd)
        return cls(
            pid=pid,
            started=start_time(pid) or "",
            spawned=spawned,
            session=session,
            config=str(Path(folder, env.get("CLAUDE_CONFIG_DIR") or f"{home}/.claude")),
            home=home,
            runtime=env.get("XDG_RUNTIME_DIR", ""),
            caches=f"{caches}/claude-cli-nodejs",
            # Characters outside the basic plane count as two in JavaScript.
            project="".join(c if c.isascii() and c.isalnum() else "-" * (1 + (c > "\uffff")) for c in folder),
            mark=mark,
        )

    @classmethod
    def read(cls, path: Path) -> "Leftovers":
        """Read an entry of a ledger.

        Raises:
            OSError: the entry cannot be read.
            ValueError: the entry is incomplete, or of another version.
        """
        try:
            fields = json.loads(path.read_bytes())
            left = cls(**{**fields, "made": tuple(fields["made"])})
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)) from None
        # Checked, because these names select what is removed.
        if not re.fullmatch(_UUID, left.session) or not all(map(OF_ITS_OWN_CHOICE.fullmatch, left.made)):
            raise ValueError(f"invalid session id or names in Claude Code's folder: {left.session!r}, {left.made!r}")
        return left


def sweep(left: Leftovers, *, ended: float | None) -> list[str]:
    """Remove the files of a process that has ended.

    Args:
        left: its identifiers.
        ended: a time after its end, in seconds of the wall clock; None if unknown. Files with no identifier but its pid
            are removed only if they were last written while it lived.

    Returns:
        What could not be removed, with the reasons.
    """
    failures: list[str] = []
    for folder, prefix, is_its_own in _files(left, ended):
        for path in beginning_with(prefix, folder):
            if is_its_own(path):
                _remove(os.unlink, path, failures)
    for path in _folders(left):
        _remove(shutil.rmtree, path, failures)
    for path in _emptied(left):
        with suppress(OSError):
            path.rmdir()
    return failures


def _files(left: Leftovers, ended: float | None) -> Iterator[tuple[Path, str, Callable[[Path], bool]]]:
    """Yield folder, prefix of the name and check of the content for each kind of file."""
    config, session = Path(left.config), f'"sessionId":"{left.session}"'

    def tells(*words: str) -> Callable[[Path], bool]:
        return lambda path: _was_written(path, left.spawned) and any(word in _text(path) for word in words)

    def while_it_lived(path: Path) -> bool:
        return ended is not None and _was_written(path, left.spawned, ended)

    def is_unfinished(path: Path) -> bool:
        return while_it_lived(path) and '"procStart"' not in _text(path)

    start = (f'"procStart":"{left.started}"',) if left.started else ()
    yield config / "sessions", f"{left.pid}.", tells(session, *start)
    yield config / "sessions", f"{left.pid}.", is_unfinished
    for folder in (config, Path(left.home)):
        yield folder, f".claude.json.tmp.{left.pid}.", while_it_lived
    for folder in (Path(left.runtime or "/nonexistent", "cc-socks"), Path(f"/tmp/cc-socks-{os.getuid()}")):  # noqa: S108
        yield folder, f"{left.pid}.sock", while_it_lived
    for folder in _of_project(Path(left.caches), left):
        yield folder / "mcp-logs-openai", "", tells(session)
    plans = {config / name for name in left.made if name.startswith("plans/")}
    yield config / "plans", "", plans.__contains__
    if left.mark:
        yield config / "shell-snapshots", "snapshot-", tells(left.mark)
        yield config / "telemetry", f"1p_failed_events.{left.session}.", lambda _path: True


def _folders(left: Leftovers) -> Iterator[Path]:
    """Yield the folders that belong to the process with everything in them."""
    if left.mark:
        config = Path(left.config)
        projects = _of_project(config / "projects", left)
        for parent in (config / "session-env", *projects):
            yield parent / left.session
        for path in (config / name for name in left.made):
            # The folder of a session has its transcript beside it.
            if path.parent in projects and not path.with_suffix(".jsonl").exists():
                yield path


def _emptied(left: Leftovers) -> Iterator[Path]:
    """Yield folders that Claude Code makes on demand, and that may be empty now."""
    for folder in _of_project(Path(left.caches), left):
        yield from (folder / "mcp-logs-openai", folder)
    if left.mark:
        yield from _of_project(Path(left.config, "projects"), left)


def _of_project(parent: Path, left: Leftovers) -> list[Path]:
    if len(left.project) <= _NAME_CHARS:
        return [parent / left.project]
    return beginning_with(f"{left.project[:_NAME_CHARS]}-", parent)


def processes_of(private: Path) -> Iterator[Leftovers]:
    """Yield the processes in the ledger of a server's private folder."""
    for path in (private / LEDGER).glob(f"*{ENTRY}"):
        with suppress(OSError, ValueError):
            yield Leftovers.read(path)


def sweep_ledger(private: Path, *, just_killed: bool) -> list[str]:
    """Remove the files of the processes of a server that is gone.

    Args:
        private: the server's private folder.
        just_killed: its processes were killed a moment ago; wait for their end, for 2 s in all.

    Returns:
        What could not be removed, with the reasons.
    """
    failures, deadline = [], time.monotonic() + _DYING_S * just_killed
    for left in processes_of(private):
        while is_alive(left.pid, left.started) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        if is_alive(left.pid, left.started):
            failures.append(f"process {left.pid} is still running")
        else:
            failures += sweep(left, ended=time.time() if just_killed else None)
    return failures


def is_alive(pid: int, started: str) -> bool:
    if started:
        return start_time(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def start_time(pid: int) -> str | None:
    """Return field 22 of /proc/PID/stat; None if the process does not exist or is a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else fields[18]


def beginning_with(prefix: str, folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.name.startswith(prefix)]
    except OSError:
        return []


def _was_written(path: Path, since: float, until: float = float("inf")) -> bool:
    try:
        return since - _TICK_S <= path.lstat().st_mtime <= until
    except OSError:
        return False


def _text(path: Path) -> str:
    """Return the beginning of a regular file; "" for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        is_plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _READ_BYTES).decode("utf-8", "replace") if is_plain else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _remove(how: Callable[[Path], object], path: Path, failures: list[str]) -> None:
    try:
        how(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        failures.append(f"{path}: {error.strerror or error}")


if __name__ == "__main__":
    sweep_ledger(Path(sys.argv[1]), just_killed=True)
