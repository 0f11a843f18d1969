"""A state store in an SQLite file of the user, which several servers may share.

What is deleted is overwritten in the file (`secure_delete`), and the file becomes smaller (`auto_vacuum`). The disk is
accessed in threads only, at most `MAX_THREADS`. If the disk hangs, a thread is abandoned when its access is cancelled.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import trio

from claude_openai.private_database import PrivateDatabase
from claude_openai.state.store import READ_S, StateError
from claude_openai.threads import NoThreadError, needing_a_thread

__all__ = ["MAX_BYTES", "FileState"]

# The largest size of the file.
MAX_BYTES: Final = 256 * 1024 * 1024
# How long an access waits for other writers.
BUSY_S: Final = 3.0
VERSION: Final = 1
MAX_THREADS: Final = 4
PRUNE_S: Final = 600.0
# A value is renewed at most this often, so that most reads write nothing.
RENEW_AFTER_S: Final = 60.0

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE state (name TEXT PRIMARY KEY, used_at REAL, until REAL, value BLOB);
CREATE INDEX by_use ON state (used_at);
CREATE INDEX by_end ON state (until)
"""
_PUT: Final = "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)"
_RENEW: Final = "UPDATE state SET used_at = ?, until = ? WHERE name = ?"
_DROP_OLDEST: Final = "DELETE FROM state WHERE name IN (SELECT name FROM state ORDER BY used_at LIMIT 1)"


class FileState:
    """A `StateStore`; see the module.

    Args:
        path: the file; created with mode 0600 by the first write.
        max_bytes: the largest size of the file.
        now: returns the Unix time.
    """

    # Longer than for Redis: a disk may be slow, and is there.
    refresh_s = READ_S

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._file = PrivateDatabase(
            path, _SCHEMA, VERSION, StateError, BUSY_S, ("secure_delete = ON",), ("auto_vacuum = FULL",)
        )
        self._max_bytes = max_bytes
        self._now = now
        self._limiter = trio.CapacityLimiter(MAX_THREADS)

    async def put(self, values: Mapping[str, bytes], kept_s: float) -> bool:
        """Store values. Return False if they are larger than the file may be."""
        fits = sum(map(len, values.values())) < self._max_bytes
        if fits:
            await self._write(self._put, dict(values), kept_s)
        return fits

    async def get(self, names: Sequence[str], kept_s: float) -> list[bytes | None]:
        return await self._in_thread(self._get, list(names), kept_s)

    async def delete(self, names: Sequence[str]) -> int:
        return await self._write(self._delete, list(names))

    async def clear(self) -> int:
        return await self._write(self._clear)

    async def prune(self) -> None:
        """Delete the values whose lifetime has passed."""
        await self._in_thread(self._prune)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Prune the file from time to time, also if nothing is written any more."""
        task_status.started()
        while True:
            with suppress(StateError):  # requests that need the file report it
                await self.prune()
            await trio.sleep(PRUNE_S)

    async def _write(self, work: Callable[[threading.Event, *Ts], T], *args: *Ts) -> T:
        """Write in a thread. A thread that is left behind while it waits for other writers writes nothing any more."""
        given_up = threading.Event()
        try:
            return await self._in_thread(work, given_up, *args)
        finally:
            given_up.set()

    async def _in_thread(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        def access() -> T:
            with self._file.converted_errors():
                return work(*args)

        try:
            with needing_a_thread():
                return await trio.to_thread.run_sync(access, abandon_on_cancel=True, limiter=self._limiter)
        except NoThreadError as error:
            raise StateError(self.path, str(error)) from error

    # Everything below runs in a thread.

    @contextmanager
    def _transaction(self, given_up: threading.Event) -> Iterator[sqlite3.Connection]:
        with self._file.transaction() as database:
            if given_up.is_set():
                raise StateError(self.path, "the write took too long and was abandoned")
            yield database

    def _put(self, given_up: threading.Event, values: Mapping[str, bytes], kept_s: float) -> None:
        self._file.create()
        now = self._now()
        with self._transaction(given_up) as database:
            database.execute("DELETE FROM state WHERE until <= ?", (now,))
            database.executemany(_PUT, [(name, now, now + kept_s, value) for name, value in values.items()])
            while _size(database) > self._max_bytes:
                database.execute(_DROP_OLDEST)

    def _get(self, names: Sequence[str], kept_s: float) -> list[bytes | None]:
        if not self._file.is_there():
            return [None] * len(names)
        now = self._now()
        values: list[bytes | None] = []
        used: list[str] = []
        with self._file.connection() as database:
            database.execute("BEGIN")
            for name in names:
                row = database.execute("SELECT value, used_at, until FROM state WHERE name = ?", (name,)).fetchone()
                values.append(None if row is None or row[2] <= now else bytes(row[0]))
                if values[-1] is not None and row[1] < now - RENEW_AFTER_S:
                    used.append(name)
            database.execute("COMMIT")
            if used:
                with suppress(sqlite3.OperationalError):  # the disk is full or read-only: the values were read
                    self._renew(database, used, now, kept_s)
        return values

    def _renew(self, database: sqlite3.Connection, names: Sequence[str], now: float, kept_s: float) -> None:
        database.execute("PRAGMA busy_timeout = 0")  # a reader does not wait for writers
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(_RENEW, [(now, now + kept_s, name) for name in names])

    def _delete(self, given_up: threading.Event, names: Sequence[str]) -> int:
        if not self._file.is_there():
            return 0
        with self._transaction(given_up) as database:
            return database.executemany("DELETE FROM state WHERE name = ?", [(name,) for name in names]).rowcount

    def _clear(self, given_up: threading.Event) -> int:
        if not self._file.is_there():
            return 0
        with self._transaction(given_up) as database:
            (count,) = database.execute("SELECT count(*) FROM state WHERE until > ?", (self._now(),)).fetchone()
            database.execute("DELETE FROM state WHERE true")  # without a WHERE, SQLite does not overwrite the values
            return int(count)

    def _prune(self) -> None:
        if self._file.is_there():
            with self._file.transaction() as database:
                database.execute("DELETE FROM state WHERE until <= ?", (self._now(),))


def _size(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
