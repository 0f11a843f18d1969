"""Keeps the rows of the usage table in a file that a thread writes.

The event loop only adds numbers, under a lock that is never held during an access to the disk. The thread saves them
half a second after the first, so a server that is killed loses at most what was added within its last second. What
cannot be saved stays in memory and is tried again: no turn waits for a disk, or fails because of one.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Final

from claude_openai.line_writer import WriterThread
from claude_openai.logs.log import Log
from claude_openai.runs.usage.book import Account
from claude_openai.runs.usage.rows import Amounts, RowKey, add_row, total
from claude_openai.runs.usage.store import KEPT_DAYS, STORE_ERRORS, UsageStore, is_damaged

__all__ = ["FileBook"]

GATHER_S: Final = 0.5
# How often to look for what other servers of the user have written, and to try again what could not be saved.
REFRESH_S: Final = 10.0
CLOSE_S: Final = 5.0
COMPLAIN_EVERY_S: Final = 60.0


class FileBook:
    """Keeps the rows in a file.

    Args:
        store: the file.
        log: for failures.
        today: returns the local date.
    """

    def __init__(self, store: UsageStore, log: Log, today: Callable[[], date]) -> None:
        self._store = store
        self._log = log
        self._today = today
        self._lock = threading.Lock()
        self._access = threading.Lock()  # held during an access to the file, so that no row is counted twice
        self._unsaved: dict[RowKey, Amounts] = {}
        self._saving: dict[RowKey, Amounts] = {}
        self._unsaved_account: Account | None = None
        self._account: Account | None = None
        self._saved = ("", 0.0)  # a day and its dollars in the file
        self._pruned_on = ""
        self._attempt(self._refresh)  # now: the first turn must not be one too many
        self._thread: WriterThread[None] = WriterThread(
            "usage", self._work, max_queued=1, gather_s=GATHER_S, idle_s=REFRESH_S
        )

    def add(self, key: RowKey, amounts: Amounts) -> None:
        with self._lock:
            add_row(self._unsaved, key, amounts)
        self._thread.put(None, 0)

    def put_account(self, account: Account) -> None:
        with self._lock:
            self._unsaved_account = self._account = account
        self._thread.put(None, 0)

    def account(self) -> Account | None:
        return self._account

    def usd_of(self, day: str) -> float:
        with self._lock:
            own = [a for rows in (self._unsaved, self._saving) for key, a in rows.items() if key.day == day]
            saved_day, saved = self._saved
        return total(own).usd + (saved if saved_day == day else 0.0)

    def rows(self, first_day: str) -> dict[RowKey, Amounts]:
        with self._access:
            rows = self._store.rows(first_day)
            with self._lock:
                unsaved = dict(self._unsaved)
        for key, amounts in unsaved.items():
            add_row(rows, key, amounts)
        return rows

    def forget(self) -> None:
        with self._access:
            self._store.forget()
            with self._lock:
                self._unsaved, self._saved = {}, ("", 0.0)

    def close(self) -> None:
        if not self._thread.close(CLOSE_S):
            self._complain(f"not within {CLOSE_S:g} s")

    def _work(self, _woken: list[None]) -> None:
        self._attempt(self._save)
        self._attempt(self._refresh)

    def _attempt(self, access: Callable[[], None]) -> None:
        try:
            with self._access:
                try:
                    access()
                except STORE_ERRORS as error:
                    if not is_damaged(error):
                        raise
                    self._log.error("usage.damaged", path=self._store.set_aside(), error=error)
                    access()
        except STORE_ERRORS as error:
            self._complain(str(error))

    def _save(self) -> None:
        with self._lock:
            rows, account = self._unsaved, self._unsaved_account
            self._saving, self._unsaved, self._unsaved_account = rows, {}, None
        if not rows and account is None:
            return
        try:
            self._store.add(rows, account)
        except STORE_ERRORS:
            self._put_back(rows, account)
            raise
        with self._lock:
            self._saving = {}
            day, saved = self._saved
            self._saved = (day, saved + total(amounts for key, amounts in rows.items() if key.day == day).usd)

    def _put_back(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None:
        with self._lock:
            self._saving = {}
            for key, amounts in rows.items():
                add_row(self._unsaved, key, amounts)
            if self._unsaved_account is None:  # a newer one counts
                self._unsaved_account = account

    def _refresh(self) -> None:
        today = self._today()
        day = today.isoformat()
        if self._pruned_on != day:
            self._store.prune((today - timedelta(days=KEPT_DAYS)).isoformat())
            self._pruned_on = day
        saved = total(amounts for key, amounts in self._store.rows(day).items() if key.day == day).usd
        account = self._store.account()
        with self._lock:
            self._saved = (day, saved)
            if account is not None and (self._account is None or account[0] > self._account[0]):
                self._account = account

    def _complain(self, reason: str) -> None:
        thread = getattr(self, "_thread", None)
        if thread is None or thread.may_complain("usage", COMPLAIN_EVERY_S):
            self._log.warning("usage.not_saved", path=self._store.path, reason=reason)
