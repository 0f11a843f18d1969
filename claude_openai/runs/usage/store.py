"""The usage table on disk: an SQLite file of the user, in which several servers may write.

Each access opens the file again. So it may be moved or deleted at any time, and an error leaves nothing behind. Writes
add to a row within a transaction, and wait for other writers. A rollback journal is used and not a WAL, because it
leaves one file, works on network file systems that have locks, and a server writes twice a second at most.
"""

import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from claude_openai.file_access import make_private_folder, open_unfollowed
from claude_openai.runs.usage.book import Account, StoreError
from claude_openai.runs.usage.rows import AMOUNT_NAMES, Amounts, RowKey

__all__ = ["UsageStore"]

# How long an access waits for other writers.
BUSY_S: Final = 3.0
VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE usage (
    day TEXT, model TEXT, key TEXT,
    input INTEGER, cache_read INTEGER, cache_write INTEGER, output INTEGER, thinking INTEGER,
    cost_usd REAL, estimated_usd REAL, at_list_price_usd REAL,
    PRIMARY KEY (day, model, key)
) WITHOUT ROWID;
CREATE TABLE account (id INTEGER PRIMARY KEY CHECK (id = 1), seen_at REAL, limits TEXT);
"""
_COLUMNS: Final = (*RowKey._fields, *AMOUNT_NAMES)
_ADD: Final = (
    f"INSERT INTO usage ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608 - constants
    f"ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in AMOUNT_NAMES)}"
)
_SET_ACCOUNT: Final = (
    "INSERT INTO account VALUES (1, ?, ?) ON CONFLICT DO UPDATE "
    "SET seen_at = excluded.seen_at, limits = excluded.limits WHERE excluded.seen_at > seen_at"
)
_ROWS: Final = f"SELECT {', '.join(_COLUMNS)} FROM usage WHERE day >= ?"  # noqa: S608 - constants


class UsageStore:
    """See the module. Every method raises StoreError, and blocks for `BUSY_S` at most.

    Args:
        path: the file; created with mode 0600 by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None:
        """Add to the rows, and store the limits of the account unless newer ones are stored."""
        amounts = [(*key, *(getattr(row, name) for name in AMOUNT_NAMES)) for key, row in rows.items()]
        with self._converted_errors():
            self._create()
            with self._transaction() as database:
                database.executemany(_ADD, amounts)
                if account is not None:
                    database.execute(_SET_ACCOUNT, (account.seen_at, json.dumps(account.limits)))

    def read(self, first_day: str) -> tuple[dict[RowKey, Amounts], Account | None]:
        """Return the rows from a day on, and the limits of the account that were seen last."""
        width = len(RowKey._fields)
        with self._converted_errors():
            if not self._is_there():
                return {}, None
            with self._connection() as database:
                rows = {RowKey(*row[:width]): Amounts(*row[width:]) for row in database.execute(_ROWS, (first_day,))}
                account = database.execute("SELECT seen_at, limits FROM account").fetchone()
                return rows, None if account is None else Account(account[0], json.loads(account[1]))

    def prune(self, first_day: str) -> None:
        """Delete the rows before a day."""
        with self._converted_errors():
            if self._is_there():
                with self._transaction() as database:
                    database.execute("DELETE FROM usage WHERE day < ?", (first_day,))

    @contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, ValueError, TypeError) as error:
            raise StoreError(self.path, _reason(error)) from error

    def _is_there(self) -> bool:
        # Not opened to look at it: closing a descriptor releases the locks that SQLite holds on the file in this
        # process.
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise PermissionError("not a plain file of this user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o600)
        return True

    def _create(self) -> None:
        if not self._is_there():
            make_private_folder(self.path.parent)
            with suppress(FileExistsError):  # another server was faster
                os.close(open_unfollowed(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as database:
            _prepare(database)
            yield database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as database, database:
            database.execute("BEGIN IMMEDIATE")
            yield database


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _prepare(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    with database:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()  # another server may have been faster
        if version > VERSION:
            raise sqlite3.NotSupportedError(f"it was written by a newer claude-openai (version {version})")
        if version == 0:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
