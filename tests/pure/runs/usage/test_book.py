"""The book: the event loop only adds numbers, the thread saves them, and a broken file loses none."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from claude_openai.logs.log import NULL_LOG, Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.runs.usage import book as book_module
from claude_openai.runs.usage.book import Account, Book, Store, StoreError
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore

TODAY = "2026-11-27"
KEY = RowKey(TODAY, "opus", "default")
DOLLAR = Amounts(input=1, cost_usd=1.0)
LIMIT_S = 60.0


class SlowStore:
    """A file in memory, whose accesses wait and fail as the test says."""

    def __init__(self) -> None:
        self.file: dict[RowKey, Amounts] = {}
        self.account: Account | None = None
        self.error = ""
        self.may_add = threading.Event()
        self.may_add.set()
        self.adding = threading.Event()
        self.accesses = threading.Semaphore(0)

    def add(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None:
        self.adding.set()
        assert self.may_add.wait(LIMIT_S)
        self._access()
        for key, amounts in rows.items():
            self.file[key] = self.file.get(key, Amounts()) + amounts
        self.account = account or self.account

    def read(self, first_day: str) -> tuple[dict[RowKey, Amounts], Account | None]:
        self._access()
        return {key: row for key, row in self.file.items() if key.day >= first_day}, self.account

    def prune(self, first_day: str) -> None:
        self._access()

    def _access(self) -> None:
        self.accesses.release()
        if self.error:
            raise StoreError(Path("usage.db"), self.error)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "GATHER_S", 0.0)
    monkeypatch.setattr(book_module, "REFRESH_S", 0.01)


@contextmanager
def opened(store: Store | None, log: Log = NULL_LOG) -> Iterator[Book]:
    with closing(Book(store, log, lambda: date.fromisoformat(TODAY))) as book:
        book.wait_until_read()
        yield book


def test_without_a_file_the_rows_are_kept_in_memory() -> None:
    with opened(None) as book:
        book.add([(KEY, DOLLAR), (KEY, DOLLAR), (KEY._replace(day="2026-11-26"), DOLLAR)])
        assert book.rows(TODAY) == {KEY: DOLLAR + DOLLAR}
        assert (book.usd_of(TODAY), book.has_file) == (2.0, False)


def test_rows_in_memory_are_forgotten_after_a_year() -> None:
    with opened(None) as book:
        book.add([(KEY._replace(day="2025-01-01"), DOLLAR)])
        book.add([(KEY, DOLLAR)])
        assert set(book.rows("")) == {KEY}


def test_rows_are_in_the_file_when_the_book_is_closed(tmp_path: Path) -> None:
    with opened(UsageStore(tmp_path / "usage.db")) as book:
        book.add([(KEY, DOLLAR)])
        book.put_account(Account(5.0, {"a": 1}))
    assert UsageStore(tmp_path / "usage.db").read("") == ({KEY: DOLLAR}, Account(5.0, {"a": 1}))


def test_a_new_book_begins_with_what_is_in_the_file(tmp_path: Path) -> None:
    UsageStore(tmp_path / "usage.db").add({KEY: DOLLAR}, Account(5.0, {"a": 1}))
    with opened(UsageStore(tmp_path / "usage.db")) as book:
        assert (book.usd_of(TODAY), book.account) == (1.0, Account(5.0, {"a": 1}))
        book.add([(KEY, DOLLAR)])
        assert book.usd_of(TODAY) == 2.0


def test_what_another_server_writes_is_counted_too(tmp_path: Path) -> None:
    with opened(UsageStore(tmp_path / "usage.db")) as one, opened(UsageStore(tmp_path / "usage.db")) as other:
        other.add([(KEY, DOLLAR)])
        until(lambda: one.usd_of(TODAY) == 1.0)
        one.add([(KEY, DOLLAR)])
        assert one.rows("") in ({KEY: DOLLAR + DOLLAR}, {KEY: DOLLAR})
        until(lambda: (one.usd_of(TODAY), other.usd_of(TODAY)) == (2.0, 2.0))


def test_adding_does_not_wait_for_the_disk_and_counts_at_once() -> None:
    store = SlowStore()
    with opened(store) as book:
        store.may_add.clear()
        store.adding.clear()
        book.add([(KEY, DOLLAR)])
        assert store.adding.wait(LIMIT_S)  # the thread is in the middle of saving
        book.add([(KEY, DOLLAR)])
        assert book.usd_of(TODAY) == 2.0
        store.may_add.set()
    assert store.file == {KEY: DOLLAR + DOLLAR}


def test_rows_that_cannot_be_saved_stay_and_are_saved_later() -> None:
    store, records = SlowStore(), []
    log = Log(Level.DEBUG, lambda line: records.append(json.loads(line)), Redactor())
    with opened(store, log) as book:
        store.error = "disk full"
        book.add([(KEY, DOLLAR)])
        book.put_account(Account(5.0, {}))
        several_accesses(store)
        assert (book.usd_of(TODAY), store.file, book.problem) == (1.0, {}, "disk full")
        with pytest.raises(StoreError):
            book.rows("")
        store.error = ""
        until(lambda: store.file == {KEY: DOLLAR} and not book.problem)
        assert book.usd_of(TODAY) == 1.0
        assert store.account == Account(5.0, {})
        store.error = "broken again"
        book.add([(KEY, DOLLAR)])
        several_accesses(store)
    assert [(record["event"], record["reason"]) for record in records] == [
        ("usage.not_saved", "usage.db: disk full"), ("usage.not_saved", "usage.db: broken again"),
    ]  # fmt: skip


def test_a_file_that_is_broken_from_the_start_is_logged_once_and_counts_in_memory(tmp_path: Path) -> None:
    path, records = tmp_path / "usage.db", list[dict[str, Any]]()
    path.write_bytes(b"no database" * 500)
    log = Log(Level.DEBUG, lambda line: records.append(json.loads(line)), Redactor())
    with opened(UsageStore(path), log) as book:
        book.add([(KEY, DOLLAR)])
        assert book.usd_of(TODAY) == 1.0
        assert book.problem == "file is not a database"
        path.unlink()
        until(lambda: path.exists() and UsageStore(path).read("")[0] == {KEY: DOLLAR})
    assert [record["event"] for record in records] == ["usage.not_saved"]
    assert str(path) in records[0]["reason"]


def test_closing_waits_for_a_hanging_disk_only_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "CLOSE_S", 0.01)
    store, records = SlowStore(), []
    log = Log(Level.DEBUG, lambda line: records.append(json.loads(line)), Redactor())
    try:
        with opened(store, log) as book:
            store.may_add.clear()
            book.add([(KEY, DOLLAR)])
    finally:
        store.may_add.set()
    assert [record["event"] for record in records] == ["usage.not_saved"]


def several_accesses(store: SlowStore) -> None:
    for _ in range(5):
        assert store.accesses.acquire(timeout=LIMIT_S)


def until(condition: Any) -> None:
    """Wait for the thread of a book, which gives no event."""
    waiting = threading.Event()
    for _ in range(int(LIMIT_S / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("not in time")
