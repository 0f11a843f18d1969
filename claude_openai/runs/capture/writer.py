"""Writes the events of runs to their files in a `WriterThread`: no run waits for a disk, or fails because of one.

Deltas within `BATCH_S` are merged into one record, so that a fast stream costs few writes; the thread keeps each file
open and locked until its run has ended. A full disk or an unusable folder is reported only in the log, once a minute;
the end record of a run then overwrites its last records. The thread also prunes the folder.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from claude_openai.file_access import make_private_folder
from claude_openai.line_writer import LineFile, WriterThread
from claude_openai.logs.log import Log
from claude_openai.runs.capture.files import open_folder, open_run, prune
from claude_openai.runs.capture.records import line_of

__all__ = ["Capture", "RunWriter"]

QUEUE_CHARS: Final = 8 * 1024 * 1024
# The memory of a queued delta besides its text.
DELTA_CHARS: Final = 256
# The longest delay for readers that follow a run; deltas within it are merged.
BATCH_S: Final = 0.05
PRUNE_EVERY_S: Final = 60.0
IDLE_PRUNE_S: Final = 3600.0
NOT_CAPTURED_EVERY_S: Final = 60.0
WRITE_OUT_S: Final = 2.0
_DELTAS: Final[dict[str, dict[str, Any]]] = {kind: {"type": kind} for kind in ("text", "reasoning")}


class _Entry(NamedTuple):
    """A queued record: `at` in seconds of `time.monotonic`; a delta's text is not in its record yet."""

    at: float
    record: dict[str, Any]
    text: str | None = None
    is_last: bool = False


@dataclass(slots=True, eq=False)
class Capture:
    """One run's file. The run calls `put` and `put_text`; the writer uses the rest."""

    run_id: str
    writer: "RunWriter"
    started: float = field(default_factory=time.monotonic)
    file: LineFile = field(default_factory=LineFile)

    def put(self, record: dict[str, Any], *, last: bool = False) -> None:
        """Queue a record, without waiting; `last` ends the file."""
        self.writer.put(self, _Entry(time.monotonic(), record, is_last=last), len(record.get("arguments", "")))

    def put_text(self, kind: Literal["text", "reasoning"], text: str) -> None:
        """Queue a delta, without waiting."""
        self.writer.put(self, _Entry(time.monotonic(), _DELTAS[kind], text), len(text) + DELTA_CHARS)


class RunWriter:
    """The thread behind the files of runs. It ends with `close`, or with the process.

    Args:
        folder: folder of the files; made with the first run, with mode 0700 independent of the umask.
        max_age_s: seconds after which a run is removed.
        max_bytes: bound of the size of all files together.
        log: records runs that could not be captured.
        queue_chars: bound of what waits to be written, in characters.
        clock: seconds, for the times at which the folder is pruned.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_age_s: float,
        max_bytes: int,
        log: Log,
        queue_chars: int = QUEUE_CHARS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._log = log
        self._clock = clock
        self._next_prune = 0.0
        self._thread: WriterThread[tuple[Capture, _Entry]] = WriterThread(
            "run-writer", self._write_batch, max_queued=queue_chars, gather_s=BATCH_S, idle_s=IDLE_PRUNE_S
        )

    def begin(self, run_id: str, asked: dict[str, Any]) -> Capture:
        """Begin a run's file with the record `asked`."""
        capture = Capture(run_id, self)
        capture.put({"type": "asked", **asked})
        return capture

    def put(self, capture: Capture, entry: _Entry, size: int) -> None:
        if not self._thread.put((capture, entry), size):
            capture.file.count_lost(1)

    def close(self) -> None:
        """Write what is queued, waiting at most `WRITE_OUT_S` seconds for it."""
        if not self._thread.close(WRITE_OUT_S):
            self._log.warning("runs.not_captured", reason="the last records could not be written in time")

    # Everything below runs on the thread.

    def _write_batch(self, batch: list[tuple[Capture, _Entry]]) -> None:
        waiting: dict[Capture, list[_Entry]] = {}
        for capture, entry in batch:
            waiting.setdefault(capture, []).append(entry)
        for capture, entries in waiting.items():
            self._write(capture, entries)
        self._prune_in_time()

    def _write(self, capture: Capture, entries: list[_Entry]) -> None:
        is_last = entries[-1].is_last
        last_ms = (entries[-1].at - capture.started) * 1000
        lines = [line_of((at - capture.started) * 1000, record) for at, record in _merged_deltas(entries)]
        reported = capture.file.lost
        if reported:
            lines.insert(len(lines) - is_last, line_of(last_ms, {"type": "lost", "records": reported}))
        unwritten, error = len(lines), None
        try:
            if capture.file.fd < 0:
                self._open(capture, is_new=entries[0].record["type"] == "asked")
            unwritten, error = capture.file.write(b"".join(lines)), capture.file.error
        except OSError as failure:
            error = failure
        # The line with the number of lost records comes last, before an end record.
        capture.file.count_lost(unwritten - (reported if unwritten <= is_last else bool(reported)))
        if unwritten and error is not None:
            self._complain(capture, error)
        if is_last and capture.file.fd >= 0:
            if unwritten:
                with suppress(OSError):
                    _end_in_place(capture.file.fd, lines[-1], reported + unwritten - 1, last_ms)
                    capture.file.lost = 0
            os.close(capture.file.fd)
            capture.file.fd = -1

    def _open(self, capture: Capture, *, is_new: bool) -> None:
        if is_new:
            make_private_folder(self._folder)
        flags = os.O_RDWR | os.O_APPEND | (os.O_CREAT | os.O_EXCL if is_new else 0)
        with open_folder(self._folder) as folder_fd:
            capture.file.fd = open_run(folder_fd, capture.run_id, flags)
        if is_new:  # otherwise a parked run was cancelled, or the file could not be made earlier
            os.fchmod(capture.file.fd, 0o600)
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(capture.file.fd, fcntl.LOCK_EX)

    def _complain(self, capture: Capture, error: OSError) -> None:
        if self._thread.may_complain("", NOT_CAPTURED_EVERY_S):
            reason = error.strerror or str(error)
            self._log.warning("runs.not_captured", run_id=capture.run_id, folder=str(self._folder), reason=reason)

    def _prune_in_time(self) -> None:
        if self._clock() >= self._next_prune:
            self._next_prune = self._clock() + PRUNE_EVERY_S
            with suppress(OSError), open_folder(self._folder) as folder_fd:
                prune(folder_fd, max_age_s=self._max_age_s, max_bytes=self._max_bytes)


def _merged_deltas(entries: list[_Entry]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield time and record of each entry, with consecutive deltas of one kind merged."""
    for _, group in groupby(entries, key=lambda entry: id(entry) if entry.text is None else id(entry.record)):
        first, *others = group
        if first.text is None:
            yield first.at, first.record
        else:
            yield first.at, {**first.record, "text": first.text + "".join(entry.text or "" for entry in others)}


def _end_in_place(fd: int, end: bytes, lost: int, at_ms: float) -> None:
    """Overwrite the last records of a run with its end record, which matters more, if the disk is full.

    Raises:
        OSError: the file cannot be overwritten either.
    """
    size = os.fstat(fd).st_size
    # Leave room for the number of lost records, which is known only once the overwritten part is read.
    room = len(end) + len(line_of(at_ms, {"type": "lost", "records": lost + size})) + 1
    place = max(0, size - room)
    lost += os.pread(fd, room, place).count(b"\n") + 1
    # The new text may begin inside a line; the rest of that line is not a record.
    data = b"\n" + line_of(at_ms, {"type": "lost", "records": lost}) + end
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)
    if os.pwrite(fd, data, place) == len(data):
        os.ftruncate(fd, place + len(data))
