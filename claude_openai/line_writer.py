"""A thread that writes lines, so that callers never wait for a disk or a pipe and never see its errors.

`put` only adds an item to a bounded queue. A finaliser run by the garbage collector may call `put` in the middle of
another `put` on the same thread: `SimpleQueue` and the re-entrant lock allow that.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

__all__ = ["LineFile", "WriterThread", "json_line"]

T = TypeVar("T")

WRITE_RETRY_S: Final = 0.02
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def json_line(record: Mapping[str, Any]) -> bytes:
    """Encode a record as a line of ASCII: control characters, surrogates and U+2028 are escaped."""
    return f"{_encode(record)}\n".encode("ascii")


class LineFile:
    """A file descriptor to which whole lines are written. After a partial line, the next write starts a new line.

    Attributes:
        fd: the descriptor, -1 for none; the owner opens and closes it.
        is_torn: the file ends in a partial line.
        error: the last error of a write.
        lost: lines that were lost and not yet reported. The owner counts them with `count_lost`, from any thread.
    """

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd
        self.is_torn = False
        self.error: OSError | None = None
        self.lost = 0
        self._lock = threading.RLock()

    def count_lost(self, count: int) -> None:
        with self._lock:
            self.lost += count

    def write(self, lines: bytes) -> int:
        """Write lines, each ending in a newline, and return how many could not be written."""
        data = memoryview(b"\n" + lines if self.is_torn else lines)
        done = 0
        while done < len(data):
            try:
                done += os.write(self.fd, data[done:])
            except BlockingIOError:  # a parent process made our standard output non-blocking
                time.sleep(WRITE_RETRY_S)
            except OSError as error:
                self.error = error
                self.is_torn = data[done - 1] != ord("\n") if done else self.is_torn
                return bytes(data[max(done, len(data) - len(lines)) :]).count(b"\n")
        self.is_torn = False
        return 0


class WriterThread(Generic[T]):
    """A bounded queue and the daemon thread that empties it. The thread starts at once and ends with `close`.

    Args:
        name: name of the thread.
        write: called on the thread with the queued items, in order. It is called with an empty list at the end, and if
            `idle_s` is set, also at the start, possibly before the constructor returns, and after `idle_s` without an
            item.
        max_queued: the largest sum of the sizes of queued items.
        max_batch: a batch is complete once the sizes of its items reach this.
        gather_s: seconds to wait for more items after the first, so that one write takes many.
        idle_s: seconds; see `write`.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[list[T]], None],
        *,
        max_queued: int,
        max_batch: float = math.inf,
        gather_s: float = 0,
        idle_s: float | None = None,
    ) -> None:
        self._write = write
        self._max_queued, self._max_batch = max_queued, max_batch
        self._gather_s, self._idle_s = gather_s, idle_s
        self._queue: SimpleQueue[tuple[T, int] | None] = SimpleQueue()
        self._queued = 0
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._complaints: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T, size: int) -> bool:
        """Queue an item without waiting. Return False if it does not fit; an item of size 0 always fits."""
        with self._lock:
            fits = not size or self._queued + size <= self._max_queued
            if fits:
                self._queued += size
        if fits:
            self._queue.put((item, size))
        return fits

    def close(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` seconds until the queue is written. Return False if it was not."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def may_complain(self, problem: str, every_s: float = math.inf) -> bool:
        """Return True at most once in `every_s` seconds for each problem."""
        is_due = time.monotonic() >= self._complaints.get(problem, 0)
        if is_due:
            self._complaints[problem] = time.monotonic() + every_s
        return is_due

    def _run(self) -> None:
        if self._idle_s is not None:
            self._write([])
        is_last = False
        while not is_last:
            batch, size, is_last = self._next_batch()
            self._write(batch)
            with self._lock:
                self._queued -= size

    def _next_batch(self) -> tuple[list[T], int, bool]:
        batch: list[T] = []
        size = 0
        try:
            entry = self._queue.get(timeout=self._idle_s)
            if self._gather_s:
                self._closing.wait(self._gather_s)
            while entry is not None:
                batch.append(entry[0])
                size += entry[1]
                if size >= self._max_batch:
                    return batch, size, False
                entry = self._queue.get_nowait()
        except Empty:
            return batch, size, False
        return batch, size, True
