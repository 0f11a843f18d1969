"""The folder of runs: which there are, how each ended, what it said, and which are too many.

One file a run, named by its id. Whoever writes one holds a lock on it until the run has ended, so a file without an end
and without a lock is of a server that is gone, and no run is ever shown as running for ever. The folder and the files
must be the user's own and no links: nothing is followed out of the folder. Never writes a file, and never raises for
what is in one. What a run says is written by `writer`, which has the folder pruned too.
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
    """A descriptor of the folder, for the block.

    Raises:
        OSError: it is not there, is a link, is another user's, or others may write to it.
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
    """When each run was last written to, in seconds since 1970, and its id; the newest first."""
    found = []
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            run_id = entry.name.removesuffix(SUFFIX)
            if run_id != entry.name and RUN_ID.fullmatch(run_id):
                with suppress(OSError):  # it was removed just now
                    found.append((entry.stat(follow_symlinks=False).st_mtime, run_id))
    return sorted(found, reverse=True)


def open_run(folder_fd: int, run_id: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the run's file; the caller closes it.

    Raises:
        OSError: there is none that is ours.
        ValueError: the id has not the form of one.
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
    """How many runs to list, None if the text is not a whole number from 1 to `MAX_LISTED`."""
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return limit if 1 <= limit <= MAX_LISTED else None


def list_runs(folder: Path, limit: int, but: Collection[str] = ()) -> list[RunRecord]:
    """The runs last written to, at most `limit`, without those named in `but`; none if the folder cannot be read."""
    found: list[RunRecord] = []
    with suppress(OSError), open_folder(folder) as folder_fd:
        for _, run_id in run_ids(folder_fd):
            if len(found) >= limit:
                break
            record = None if run_id in but else _read(folder_fd, run_id)
            if record is not None:
                found.append(record)
    return sorted(found, key=lambda record: record.started_at, reverse=True)


def find_run(folder: Path, run_id: str) -> RunRecord | None:
    """The run of that id, None if none was kept.

    Raises:
        ValueError: the id has not the form of one.
    """
    with suppress(OSError), open_folder(folder) as folder_fd:
        return _read(folder_fd, run_id)
    return None


def prune(folder_fd: int, *, max_age_s: float, max_bytes: int) -> None:
    """Remove the runs that are too old, and the oldest when all are too large; never one that is being written."""
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
        alive = is_locked(fd)  # first: a run that ends from here on has its end in the file
        record = _ended(fd) or _unfinished(fd, alive=alive)
    except OSError:
        return None
    finally:
        os.close(fd)
    return record if record is not None and record.id == run_id else None


def _ended(fd: int) -> RunRecord | None:
    size = os.fstat(fd).st_size
    tail = os.pread(fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
    lines = tail.split(b"\n")[:-1]  # what has no newline is not whole
    last = next((line for line in reversed(lines) if is_end(line)), None)
    return None if last is None else RunRecord.from_json(read_line(last))


def _unfinished(fd: int, *, alive: bool) -> RunRecord | None:
    """What the head of the file says, for a run that goes on or was cut off."""
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
