"""What runs say, written down as it comes, by a thread of its own: no run ever waits for a disk, or fails by one.

`put` only appends to what waits, which is bounded in characters. A moment's deltas come together into one record, so
that a fast stream costs few writes; the thread keeps each file open and locked until its run has ended. A disk that is
full, or a folder that cannot be used, is told to the log once a minute and to nobody else; how a run ended is then
written over its last words. It also has the folder pruned.
"""

import fcntl
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from claude_openai.logs.log import Log
from claude_openai.logs.writer import make_private_folder
from claude_openai.runs.capture.files import SUFFIX, open_folder, open_run, prune
from claude_openai.runs.capture.records import line_of

__all__ = ["Capture", "RunWriter"]

# When, what, the texts of deltas, and whether it is the last of its run.
Entry: TypeAlias = tuple[float, dict[str, Any], Sequence[str], bool]

QUEUE_CHARS: Final = 8 * 1024 * 1024
# What a delta costs in memory beside its text.
DELTA_CHARS: Final = 64
# What follows a run live is later by this, at most; a fast stream is merged by it.
BATCH_S: Final = 0.05
PRUNE_EVERY_S: Final = 60.0
IDLE_PRUNE_S: Final = 3600.0
COMPLAIN_EVERY_S: Final = 60.0
CLOSE_WAIT_S: Final = 2.0
_CREATE: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, eq=False)
class Capture:
    """One run's file. The run's side calls `put` and `put_text`; the rest is the writer's.

    Attributes:
        waiting: what is to be written: when, the record, and for deltas the texts that came together so far.
        kind: of the deltas that the last record in `waiting` can take more of, "" for none.
        lost: records that were not written.
    """

    run_id: str
    writer: "RunWriter"
    started: float = field(default_factory=time.monotonic)
    waiting: list[Entry] = field(default_factory=list)
    kind: str = ""
    parts: list[str] = field(default_factory=list)
    lost: int = 0
    fd: int = -1
    torn: bool = False

    def put(self, record: dict[str, Any], *, last: bool = False) -> None:
        """Have a record written, without waiting; `last` ends the file."""
        self.writer.put(self, record, last=last)

    def put_text(self, kind: Literal["text", "reasoning"], text: str) -> None:
        """Have a delta written, without waiting."""
        self.writer.put_text(self, kind, text)


class RunWriter:
    """The queue and the thread. The thread ends with `close`, or with the process.

    Args:
        folder: where the files go; made with the first run, 0700 whatever the umask.
        max_age_s: seconds after which a run is removed.
        max_bytes: what all files together may hold.
        log: told when a run could not be captured.
    """

    def __init__(self, folder: Path, *, max_age_s: float, max_bytes: int, log: Log) -> None:
        self._folder = folder
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._log = log
        # Held for moments, by both sides: for what waits, how much it is, and whether the thread knows.
        self._lock = threading.Lock()
        self._waiting: set[Capture] = set()
        self._chars = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._next_prune = self._next_complaint = 0.0
        self._thread = threading.Thread(target=self._run, name="run-writer", daemon=True)
        self._thread.start()

    def begin(self, run_id: str, asked: dict[str, Any]) -> Capture:
        """Begin a run's file with what was asked."""
        capture = Capture(run_id, self)
        capture.put({"type": "asked", **asked})
        return capture

    def put(self, capture: Capture, record: dict[str, Any], *, last: bool) -> None:
        size = len(record.get("arguments", ""))
        with self._lock:
            if size and self._chars + size > QUEUE_CHARS:
                capture.lost += 1
                return
            self._chars += size
            capture.waiting.append((time.monotonic(), record, (), last))
            capture.kind = ""
            self._has(capture)

    def put_text(self, capture: Capture, kind: str, text: str) -> None:
        with self._lock:
            self._chars += len(text) + DELTA_CHARS
            if kind == capture.kind and self._chars <= QUEUE_CHARS:
                capture.parts.append(text)
            elif self._chars <= QUEUE_CHARS:
                capture.kind, capture.parts = kind, [text]
                capture.waiting.append((time.monotonic(), {"type": kind}, capture.parts, False))
                self._has(capture)
            else:
                self._chars -= len(text) + DELTA_CHARS
                capture.lost += 1

    def close(self) -> None:
        """Write what is queued, waiting at most `CLOSE_WAIT_S` seconds for it."""
        self._closing.set()
        self._wake.set()
        self._thread.join(CLOSE_WAIT_S)
        if self._thread.is_alive():
            self._log.warning("runs.not_captured", reason="the last of it could not be written in time")

    def _has(self, capture: Capture) -> None:
        if not self._waiting:
            self._wake.set()
        self._waiting.add(capture)

    # Everything below runs on the thread.

    def _run(self) -> None:
        is_last = False
        while not is_last:
            self._prune_in_time()
            self._wake.wait(IDLE_PRUNE_S)
            self._wake.clear()
            is_last = self._closing.wait(BATCH_S)
            for capture, entries, lost in self._take():
                self._write(capture, entries, lost)

    def _take(self) -> list[tuple[Capture, list[Entry], int]]:
        taken = []
        with self._lock:
            for capture in self._waiting:
                taken.append((capture, capture.waiting, capture.lost))
                capture.waiting, capture.kind, capture.parts, capture.lost = [], "", [], 0
            self._waiting.clear()
            self._chars = 0
        return taken

    def _write(self, capture: Capture, entries: list[Entry], lost: int) -> None:
        is_last = entries[-1][3]
        lines = [line_of((at - capture.started) * 1000, _joined(record, parts)) for at, record, parts, _ in entries]
        last_ms = (entries[-1][0] - capture.started) * 1000
        if lost:
            lines.insert(len(lines) - is_last, line_of(last_ms, {"type": "lost", "records": lost}))
        try:
            if capture.fd < 0:
                self._open(capture, is_new=entries[0][1]["type"] == "asked")
            _write_all(capture, b"".join(lines))
        except OSError as error:
            with self._lock:
                capture.lost += len(lines)
            self._complain(capture, error)
            if is_last and capture.fd >= 0:
                with suppress(OSError):
                    _end_in_place(capture.fd, lines[-1], lost + len(lines) - 1, last_ms)
                    capture.lost = 0
        finally:
            if is_last and capture.fd >= 0:
                os.close(capture.fd)
                capture.fd = -1

    def _open(self, capture: Capture, *, is_new: bool) -> None:
        if is_new:
            make_private_folder(self._folder)
        with open_folder(self._folder) as folder_fd:
            if is_new:
                capture.fd = os.open(capture.run_id + SUFFIX, _CREATE, 0o600, dir_fd=folder_fd)
                os.fchmod(capture.fd, 0o600)
            else:  # a parked run was cancelled, or the file could not be made when it was time
                os.close(open_run(folder_fd, capture.run_id))
                flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
                capture.fd = os.open(capture.run_id + SUFFIX, flags, dir_fd=folder_fd)
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(capture.fd, fcntl.LOCK_EX)

    def _complain(self, capture: Capture, error: OSError) -> None:
        if time.monotonic() >= self._next_complaint:
            self._next_complaint = time.monotonic() + COMPLAIN_EVERY_S
            reason = error.strerror or str(error)
            self._log.warning("runs.not_captured", run_id=capture.run_id, folder=str(self._folder), reason=reason)

    def _prune_in_time(self) -> None:
        if time.monotonic() >= self._next_prune:
            self._next_prune = time.monotonic() + PRUNE_EVERY_S
            with suppress(OSError), open_folder(self._folder) as folder_fd:
                prune(folder_fd, max_age_s=self._max_age_s, max_bytes=self._max_bytes)


def _joined(record: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    return {**record, "text": "".join(parts)} if parts else record


def _end_in_place(fd: int, end: bytes, lost: int, at_ms: float) -> None:
    """Write the end of a run over its last words, where a full disk leaves no other room: how it ended matters more.

    Raises:
        OSError: that cannot be done either.
    """
    size = os.fstat(fd).st_size
    # With room for the number of the lost, which is known only when it is seen what is written over.
    room = len(end) + len(line_of(at_ms, {"type": "lost", "records": lost + size})) + 1
    place = max(0, size - room)
    lost += os.pread(fd, room, place).count(b"\n") + 1
    # In the middle of a line: what is left of that one is no record.
    data = b"\n" + line_of(at_ms, {"type": "lost", "records": lost}) + end
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)
    if os.pwrite(fd, data, place) == len(data):
        os.ftruncate(fd, place + len(data))


def _write_all(capture: Capture, lines: bytes) -> None:
    data = memoryview(b"\n" + lines if capture.torn else lines)
    done = 0
    try:
        while done < len(data):
            done += os.write(capture.fd, data[done:])
    finally:
        # After half a line the next one starts on a new one, so that one record is lost and not two.
        if done:
            capture.torn = data[done - 1] != ord("\n")
