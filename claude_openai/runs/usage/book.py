"""Keeps the rows of the usage table in memory, and with a store also in a file, or in Redis, to which a thread writes.

The event loop only adds numbers, under a lock that is never held during an access to the store. The thread saves them
half a second after the first, so a server that is killed loses at most what was added within its last second. What
cannot be saved stays in memory and is tried again: no turn waits for a disk, or fails because of one.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from claude_openai.line_writer import WriterThread
from claude_openai.logs.log import Log
from claude_openai.runs.usage.rows import Amounts, RowKey, Rows, add_row

__all__ = ["KEPT_DAYS", "Account", "Book", "Store", "StoreError"]

KEPT_DAYS: Final = 366
GATHER_S: Final = 0.5
# How often to look for what other servers of the user have written, and to try again what could not be saved.
REFRESH_S: Final = 10.0
CLOSE_S: Final = 5.0
# Wake-ups of the thread that wait; more would have no effect.
MAX_QUEUED: Final = 1000


class StoreError(Exception):
    """The store cannot be read or written; the text has its place and the reason.

    Args:
        place: the file, or the address of Redis.
        reason: what is wrong, without the place.
    """

    def __init__(self, place: Path | str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason


class Account(NamedTuple):
    """When the limits of the account were seen (Unix time), and the limits as JSON."""

    seen_at: float
    limits: Mapping[str, Any]


class Store(Protocol):
    """The file, or Redis. Its methods raise StoreError."""

    def add(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None: ...
    def read(self, first_day: str) -> tuple[dict[RowKey, Amounts], Account | None]: ...
    def prune(self, first_day: str) -> None: ...


@dataclass(slots=True)
class _Unsaved:
    rows: Rows = field(default_factory=dict)
    account: Account | None = None


class Book:
    """See the module. With a store, it has a thread from the constructor until `close`.

    Args:
        store: the file; None for none.
        log: for failures of the store.
        today: returns the local date.
    """

    def __init__(self, store: Store | None, log: Log, today: Callable[[], date]) -> None:
        self._store = store
        self._log = log
        self._today = today
        self._lock = threading.Lock()
        self._access = threading.Lock()  # held during an access to the file, so that no row is counted twice
        self._unsaved = _Unsaved()
        self._saving = _Unsaved()
        self._account: Account | None = None
        self._saved: tuple[str, dict[str, float]] = ("", {})  # a day and its dollars in the file, by key
        self._pruned_on = ""
        self._problem = ""
        self._thread: WriterThread[None] | None = None
        self._is_read = threading.Event()
        if store is not None:
            self._thread = WriterThread(
                "usage", partial(self._work, store), max_queued=MAX_QUEUED, gather_s=GATHER_S, idle_s=REFRESH_S
            )

    def add(self, rows: Iterable[tuple[RowKey, Amounts]]) -> None:
        """Add to the rows. Does not wait."""
        with self._lock:
            for key, amounts in rows:
                if key not in self._unsaved.rows:
                    self._forget_old_rows()
                add_row(self._unsaved.rows, key, amounts)
        self._wake()

    def put_account(self, account: Account) -> None:
        """Keep the limits of the account. Does not wait."""
        with self._lock:
            self._unsaved.account = self._account = account
        self._wake()

    @property
    def account(self) -> Account | None:
        """The limits of the account that were seen last, by any server that writes to the file."""
        return self._account

    @property
    def problem(self) -> str:
        """Why the file could not be read or written last, without its path; "" if it could."""
        return self._problem

    @property
    def has_file(self) -> bool:
        """Whether `rows` waits for the disk."""
        return self._store is not None

    def usd_of(self, day: str, key: str | None = None) -> float:
        """Return the dollars of a day, the current one: of this server, and of others as last read.

        Args:
            day: the day.
            key: name of the key whose dollars to return; None for those of all keys.
        """
        with self._lock:
            saved_day, saved = self._saved
            parts = [_dollars_of(day, part.rows) for part in (self._unsaved, self._saving)]
        if saved_day == day:
            parts.append(saved)
        return sum(usd for part in parts for name, usd in part.items() if key in (None, name))

    def rows(self, first_day: str) -> dict[RowKey, Amounts]:
        """Return the rows from a day on.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._access:
            rows = {} if self._store is None else self._store.read(first_day)[0]
            with self._lock:
                unsaved = dict(self._unsaved.rows)
        for key, amounts in unsaved.items():
            if key.day >= first_day:
                add_row(rows, key, amounts)
        return rows

    def wait_until_read(self) -> None:
        """Wait until the file has been read once, or cannot be: the first turn must not be one too many."""
        if self._thread is not None:
            self._is_read.wait(CLOSE_S)

    def close(self) -> None:
        """Save what is left, within `CLOSE_S`."""
        if self._thread is not None and not self._thread.close(CLOSE_S):
            self._log.warning("usage.not_saved", reason=f"the last figures were not written within {CLOSE_S:g} s")

    def _wake(self) -> None:
        if self._thread is not None:
            self._thread.put(None, 1)

    def _forget_old_rows(self) -> None:
        first = self._first_kept_day()
        self._unsaved.rows = {key: row for key, row in self._unsaved.rows.items() if key.day >= first}

    def _first_kept_day(self) -> str:
        return (self._today() - timedelta(days=KEPT_DAYS)).isoformat()

    # Everything below runs on the thread.

    def _work(self, store: Store, _woken: list[None]) -> None:
        try:
            with self._access:
                self._save(store)
                self._refresh(store)
        except StoreError as error:
            if not self._problem:
                self._log.warning("usage.not_saved", reason=str(error))
            self._problem = error.reason
        else:
            self._problem = ""
        self._is_read.set()

    def _save(self, store: Store) -> None:
        with self._lock:
            saving = self._saving = self._unsaved
            self._unsaved = _Unsaved()
        try:
            if saving.rows or saving.account is not None:
                store.add(saving.rows, saving.account)
        except StoreError:
            with self._lock:
                for key, amounts in self._unsaved.rows.items():
                    add_row(saving.rows, key, amounts)
                saving.account = self._unsaved.account or saving.account
                self._unsaved, self._saving = saving, _Unsaved()
            raise
        with self._lock:
            self._saving = _Unsaved()
            day, dollars = self._saved
            added = _dollars_of(day, saving.rows)
            self._saved = (day, {name: dollars.get(name, 0.0) + added.get(name, 0.0) for name in {*dollars, *added}})

    def _refresh(self, store: Store) -> None:
        day = self._today().isoformat()
        if self._pruned_on != day:
            store.prune(self._first_kept_day())
            self._pruned_on = day
        rows, account = store.read(day)
        with self._lock:
            self._saved = (day, _dollars_of(day, rows))
            if account is not None and (self._account is None or account.seen_at > self._account.seen_at):
                self._account = account


def _dollars_of(day: str, rows: Rows) -> dict[str, float]:
    """Return the dollars of a day by the names of keys."""
    dollars: dict[str, float] = {}
    for key, amounts in rows.items():
        if key.day == day:
            dollars[key.key] = dollars.get(key.key, 0.0) + amounts.usd
    return dollars
