"""Reads and prunes the folder of captured runs.

There is one file per run, named by its id. Its writer holds a lock on it until the run has ended, so a file without an
end record and without a lock is of a server that is gone, and its run is not shown as running. The folder and the files
must belong to the user and must not be links: no link is followed out of the folder. This module writes no files, and
invalid content never raises. `writer` writes the files, and calls `prune`.
"""

import os
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from claude_openai.file_access import is_locked, open_unfollowed
from claude_openai.runs.capture.records import RUN_ID, RunRecord, is_end, read_line

__all__ = ["MAX_LISTED", "find_run", "list_runs", "open_folder", "open_run", "prune", "read_limit", "run_ids"]

MAX_LISTED: Final = 1000

SUFFIX: Final = ".ndjson"
HEAD_BYTES: Final = 16 * 1024
TAIL_BYTES: Final = 64 * 1024
_UNFINISHED: Final = {
    "message": "The server ended before the run did, or could not write the run's end record.",
    "type": "server_error",
    "param": None,
    "code": "server_ended",
}


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Open the folder and yield its descriptor.

    Raises:
        OSError: the folder does not exist, is a link, belongs to another user, or others may write to it.
    """
    fd = open_unfollowed(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(f"{str(folder)!r} belongs to another user, or other users may write to it")
        yield fd
    finally:
        os.close(fd)


def run_ids(folder_fd: int) -> list[tuple[float, str]]:
    """Return time of the last write (seconds since 1970) and id of each run, the newest first."""
    found = []
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            run_id = entry.name.removesuffix(SUFFIX)
            if run_id != entry.name and RUN_ID.fullmatch(run_id):
                with suppress(OSError):  # it was removed just now
                    found.append((entry.stat(follow_symlinks=False).st_mtime, run_id))
    return sorted(found, reverse=True)


def open_run(folder_fd: int, run_id: str, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of the run's file; the caller closes it.

    Raises:
        OSError: there is no such file of this user.
        ValueError: the id is invalid.
    """
    if not RUN_ID.fullmatch(run_id):
        raise ValueError(f"invalid run id {run_id!r}; expected `run_` and 24 hex digits")
    fd = open_unfollowed(run_id + SUFFIX, flags, dir_fd=folder_fd)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        os.close(fd)
        raise PermissionError(f"the file of {run_id} is not a regular file of this user")
    return fd


def read_limit(text: str) -> int | None:
    """Parse the number of runs to list; return None if it is not an integer from 1 to `MAX_LISTED`."""
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return limit if 1 <= limit <= MAX_LISTED else None


def list_runs(folder: Path, limit: int, but: Collection[str] = (), key: str | None = None) -> list[RunRecord]:
    """Return at most `limit` runs, the last written first; none if the folder is unreadable.

    Args:
        folder: the folder of the runs.
        limit: their number.
        but: ids of runs to leave out.
        key: name of the key whose runs to return; None for all.
    """
    found: list[RunRecord] = []
    with suppress(OSError), open_folder(folder) as folder_fd:
        for _, run_id in run_ids(folder_fd):
            if len(found) >= limit:
                break
            record = None if run_id in but else _read(folder_fd, run_id)
            if record is not None and key in (None, record.key):
                found.append(record)
    return sorted(found, key=lambda record: record.started_at, reverse=True)


def find_run(folder: Path, run_id: str) -> RunRecord | None:
    """Return the run of this id, None if it was not captured.

    Raises:
        ValueError: the id is invalid.
    """
    with suppress(OSError), open_folder(folder) as folder_fd:
        return _read(folder_fd, run_id)
    return None


def prune(folder_fd: int, *, max_age_s: float, max_bytes: int) -> None:
    """Remove runs that are too old, and the oldest ones beyond `max_bytes` in all.

    A run that is being written is never removed.
    """
    oldest_first = run_ids(folder_fd)[::-1]
    sizes = {run_id: _file_size(folder_fd, run_id) for _, run_id in oldest_first}
    total, too_old = sum(sizes.values()), time.time() - max_age_s
    for written_at, run_id in oldest_first:
        if written_at >= too_old and total <= max_bytes:
            return
        if _remove(folder_fd, run_id):
            total -= sizes[run_id]


def _read(folder_fd: int, run_id: str) -> RunRecord | None:
    try:
        fd = open_run(folder_fd, run_id)
    except OSError:
        return None
    try:
        alive = is_locked(fd)  # checked first: the file of a run that ends after this has its end record
        record = _ended(fd) or _unfinished(fd, alive=alive)
    except OSError:
        return None
    finally:
        os.close(fd)
    return record if record is not None and record.id == run_id else None


def _ended(fd: int) -> RunRecord | None:
    size = os.fstat(fd).st_size
    tail = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
    lines = tail.split(b"\n")[:-1]  # without a newline a line is incomplete
    last = next((line for line in reversed(lines) if is_end(line)), None)
    return None if last is None else RunRecord.from_json(read_line(last))


def _unfinished(fd: int, *, alive: bool) -> RunRecord | None:
    """Return the record of a running or interrupted run, from the head of its file."""
    fields: dict[str, Any] = {"status": "queued"}
    for line in os.pread(fd, HEAD_BYTES, 0).split(b"\n"):
        match read_line(line):
            case {"type": "asked"} as asked:
                fields |= asked
            case {"type": "running"}:
                fields["status"] = "running"
            case {"type": "answering", "conversation": way}:
                fields["conversation"] = way
    record = RunRecord.from_json(fields)
    if record is not None and not alive:
        record.status, record.error, record.ended_at = "failed", dict(_UNFINISHED), os.fstat(fd).st_mtime
    return record


def _file_size(folder_fd: int, run_id: str) -> int:
    try:
        return os.stat(run_id + SUFFIX, dir_fd=folder_fd, follow_symlinks=False).st_size
    except OSError:
        return 0


def _remove(folder_fd: int, run_id: str) -> bool:
    try:
        fd = open_run(folder_fd, run_id)
    except OSError:
        return False
    try:
        if is_locked(fd):
            return False
        os.unlink(run_id + SUFFIX, dir_fd=folder_fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
