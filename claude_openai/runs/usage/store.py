"""The usage table on disk: an SQLite file of the user, in which several servers may write.

Writes add to a row within a transaction, and wait for other writers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from claude_openai.private_database import PrivateDatabase
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
        self._file = PrivateDatabase(path, _SCHEMA, VERSION, StoreError, BUSY_S)

    def add(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None:
        """Add to the rows, and store the limits of the account unless newer ones are stored."""
        amounts = [(*key, *(getattr(row, name) for name in AMOUNT_NAMES)) for key, row in rows.items()]
        with self._file.converted_errors():
            self._file.create()
            with self._file.transaction() as database:
                database.executemany(_ADD, amounts)
                if account is not None:
                    database.execute(_SET_ACCOUNT, (account.seen_at, json.dumps(account.limits)))

    def read(self, first_day: str) -> tuple[dict[RowKey, Amounts], Account | None]:
        """Return the rows from a day on, and the limits of the account that were seen last."""
        width = len(RowKey._fields)
        with self._file.converted_errors():
            if not self._file.is_there():
                return {}, None
            with self._file.connection() as database:
                rows = {RowKey(*row[:width]): Amounts(*row[width:]) for row in database.execute(_ROWS, (first_day,))}
                account = database.execute("SELECT seen_at, limits FROM account").fetchone()
                return rows, None if account is None else Account(account[0], json.loads(account[1]))

    def prune(self, first_day: str) -> None:
        """Delete the rows before a day."""
        with self._file.converted_errors():
            if self._file.is_there():
                with self._file.transaction() as database:
                    database.execute("DELETE FROM usage WHERE day < ?", (first_day,))
