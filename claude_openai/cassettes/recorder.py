"""Records the turns of a server to a cassette.

A turn only collects references to its events, and hands them over when it ends. A `WriterThread` masks, encodes and
writes them: no turn waits for a disk, or fails because of one. When a turn cannot be written, the recorder logs that
and stops: a cassette with a gap in the middle would not answer the program that it was recorded for.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from claude_openai.cassettes.answers import answer_of_events, cleaned
from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.entry import Call, Entry
from claude_openai.cassettes.file import open_for_append
from claude_openai.cassettes.ids import IdNames, rename_ids
from claude_openai.cassettes.lines import line_of
from claude_openai.cassettes.masking import make_mask
from claude_openai.line_writer import LineFile, WriterThread
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import Event, ReasoningDelta, TextDelta, ToolCall
from claude_openai.protocol.wire.json_body import load_object

__all__ = ["Recorder", "TurnRecording"]

# Some turns with bodies of the largest size; a thread that hangs in a write must not fill the memory.
QUEUE_BYTES: Final = 128 * 1024 * 1024
# The memory of an event besides its text.
EVENT_BYTES: Final = 256
WRITE_OUT_S: Final = 2.0


@dataclass(slots=True, eq=False)
class TurnRecording:
    """One turn while it runs.

    Args:
        path: path of the API.
        body: the body of the request, valid JSON.

    Attributes:
        size: the memory that the turn takes, in bytes, roughly.
    """

    recorder: "Recorder"
    path: str
    body: bytes
    began: float = field(default_factory=trio.current_time)
    events: list[tuple[int, Event]] = field(default_factory=list)
    ended_ms: int | None = None
    size: int = 0

    def note(self, event: Event) -> None:
        self.events.append((self._now_ms(), event))
        self.size += _size(event)

    def end(self) -> None:
        """Queue the turn, without waiting; only the first call counts."""
        if self.ended_ms is None:
            self.ended_ms = self._now_ms()
            self.recorder.put(self)

    def _now_ms(self) -> int:
        return round((trio.current_time() - self.began) * 1000)


class Recorder:
    """The thread that writes a cassette. It ends with `close`, or with the process.

    Args:
        path: the file; made if missing, otherwise continued.
        keep_times: whether to record the times of deltas.
        secrets: exact values to mask.
        log: reports that recording has stopped.

    Raises:
        CassetteError: see `open_for_append`.
    """

    def __init__(self, path: Path, *, keep_times: bool, secrets: Iterable[str], log: Log) -> None:
        fd, entries = open_for_append(path)
        self._path = path
        self._keep_times = keep_times
        self._log = log
        self._mask = make_mask(secrets)
        self._names = IdNames()
        for entry in entries:
            _reserve_names(entry, self._names)
        self._file = LineFile(fd)
        self._has_stopped = False
        self._thread: WriterThread[TurnRecording] = WriterThread(
            "cassette-writer", self._write_batch, max_queued=QUEUE_BYTES
        )

    def begin(self, path: str, body: bytes) -> TurnRecording:
        """Begin to record a turn; it is written when it ends."""
        return TurnRecording(self, path, body)

    def put(self, turn: TurnRecording) -> None:
        if not self._has_stopped and not self._thread.put(turn, len(turn.body) + turn.size):
            self._stop("the turns cannot be written as fast as they end")

    def close(self) -> None:
        """Write the queued turns, waiting at most `WRITE_OUT_S` seconds for them."""
        if self._thread.close(WRITE_OUT_S):
            os.close(self._file.fd)
        else:
            self._stop("the last turns could not be written in time")

    # Everything below runs on the thread, except `_stop`.

    def _write_batch(self, turns: list[TurnRecording]) -> None:
        for turn in turns:
            if not self._has_stopped:
                self._write(line_of(self._entry(turn)))

    def _entry(self, turn: TurnRecording) -> Entry:
        request = ClientRequest.of(turn.path, load_object(turn.body), self._mask)
        answer = answer_of_events(turn.events, turn.ended_ms or 0, keep_times=self._keep_times)
        named = ClientRequest(request.path, rename_ids(request.body, self._names))
        return Entry(named, cleaned(answer, self._mask, self._names))

    def _write(self, line: bytes) -> None:
        size = os.fstat(self._file.fd).st_size
        if self._file.write(line):
            with suppress(OSError):  # without the part of the line that was written
                os.ftruncate(self._file.fd, size)
            error = self._file.error
            self._stop(str(error) if error is None or error.strerror is None else error.strerror)

    def _stop(self, reason: str) -> None:
        self._has_stopped = True
        self._log.error("cassette.stopped", file=str(self._path), reason=reason)


def _size(event: Event) -> int:
    match event:
        case TextDelta(text) | ReasoningDelta(text):
            return EVENT_BYTES + len(text)
        case ToolCall(arguments=arguments):
            return EVENT_BYTES + len(arguments)
        case _:
            return EVENT_BYTES


def _reserve_names(entry: Entry, names: IdNames) -> None:
    rename_ids(entry.request.body, names.reserve)
    for block in entry.answer.content:
        if isinstance(block, Call):
            names.reserve(block.id)
