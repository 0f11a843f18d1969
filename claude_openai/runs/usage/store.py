"""The usage table on disk: an SQLite file of the user, in which several servers may write.

Each access opens the file again. So it may be moved or deleted at any time, and an error leaves nothing behind. Writes
add to a row within a transaction, and wait for other writers. A rollback journal is used and not a WAL, because it
leaves one file, works on network file systems that have locks, and a server writes once a second at most.
"""

import json
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from claude_openai.file_access import make_private_folder, open_unfollowed
from claude_openai.runs.usage.rows import AMOUNT_NAMES, Amounts, RowKey

__all__ = ["KEPT_DAYS", "STORE_ERRORS", "UsageStore", "is_damaged"]

KEPT_DAYS: Final = 400
# What every access may raise.
STORE_ERRORS: Final = (OSError, sqlite3.Error)
# How long an access waits for other writers.
BUSY_S: Final = 3.0
VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE usage (
    day TEXT, model TEXT, key TEXT, at_list_price INTEGER,
    input INTEGER, cache_read INTEGER, cache_write INTEGER, output INTEGER, thinking INTEGER,
    cost_usd REAL, estimated_usd REAL, unpriced INTEGER,
    PRIMARY KEY (day, model, key, at_list_price)
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
# Errors of a file that is not, or no longer, this database. The others come from its surroundings.
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_damaged(error: Exception) -> bool:
    """Return whether an error says that the file is not a valid database."""
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, sqlite3.DatabaseError) and code & 0xFF in _DAMAGED


class UsageStore:
    """See the module. Every method may raise OSError and sqlite3.Error, and blocks for `BUSY_S` at most.

    Args:
        path: the file; created with mode 0600 by the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, rows: Mapping[RowKey, Amounts], account: tuple[float, Mapping[str, Any]] | None) -> None:
        """Add to the rows, and store the limits of the account with the time at which they were seen."""
        with self._open(create=True) as database, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                _ADD, [(*key, *(getattr(amounts, name) for name in AMOUNT_NAMES)) for key, amounts in rows.items()]
            )
            if account is not None:
                database.execute(_SET_ACCOUNT, (account[0], json.dumps(account[1])))

    def rows(self, first_day: str) -> dict[RowKey, Amounts]:
        """Return the rows from a day on."""
        with self._open() as database:
            if database is None:
                return {}
            found = database.execute(f"SELECT {', '.join(_COLUMNS)} FROM usage WHERE day >= ?", (first_day,))  # noqa: S608
            width = len(RowKey._fields)
            return {RowKey(*row[:width]): Amounts(*row[width:]) for row in found}

    def account(self) -> tuple[float, dict[str, Any]] | None:
        """Return when the limits of the account were last seen, and the limits."""
        with self._open() as database:
            row = None if database is None else database.execute("SELECT seen_at, limits FROM account").fetchone()
        if row is None:
            return None
        try:
            seen_at, limits = float(row[0]), json.loads(row[1])
        except (TypeError, ValueError):
            return None
        return (seen_at, limits) if isinstance(limits, dict) else None

    def prune(self, first_day: str) -> None:
        """Delete the rows before a day."""
        with self._open() as database:
            if database is not None:
                with database:
                    database.execute("DELETE FROM usage WHERE day < ?", (first_day,))

    def forget(self) -> None:
        """Delete everything, so that it is not left in the file either."""
        with self._open() as database:
            if database is not None:
                database.execute("PRAGMA secure_delete = ON")
                with database:
                    database.execute("DELETE FROM usage")
                    database.execute("DELETE FROM account")
                database.execute("VACUUM")

    def set_aside(self) -> Path:
        """Rename a damaged file, so that the next write begins a new one. Return its new path."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        self.path.replace(aside)
        # SQLite would apply the journal of an interrupted transaction to the new file.
        self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        return aside

    @contextmanager
    def _open(self, *, create: bool = False) -> Iterator[Any]:
        """Yield a connection, None if there is no file."""
        # Not opened to look at it: closing a descriptor would release the locks that SQLite holds on the file in this
        # process.
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            if not create:
                yield None
                return
            self._create()
        else:
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise PermissionError(f"{str(self.path)!r} is not a plain file of this user")
            if stat.S_IMODE(found.st_mode) & 0o077:
                self.path.chmod(0o600)
        with closing(sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)) as database:
            self._prepare(database)
            yield database

    def _create(self) -> None:
        make_private_folder(self.path.parent)
        with suppress(FileExistsError):  # another server was faster
            os.close(open_unfollowed(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600))

    @staticmethod
    def _prepare(database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == VERSION:
            return
        with database:
            database.execute("BEGIN IMMEDIATE")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version > VERSION:
                raise sqlite3.NotSupportedError(f"the file was written by a newer claude-openai (version {version})")
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {VERSION}")
