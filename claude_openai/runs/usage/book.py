"""Keeps the rows of the usage table in memory, and says what else may keep them (`file_book`)."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Protocol, TypeAlias

from claude_openai.runs.usage.rows import DAYS_SHOWN, Amounts, RowKey, add_row, total

__all__ = ["Account", "Book", "MemoryBook"]

# When the limits of the account were seen (Unix time), and the limits as JSON.
Account: TypeAlias = tuple[float, Mapping[str, Any]]


class Book(Protocol):
    """Keeps rows. Only `rows` may wait."""

    def add(self, key: RowKey, amounts: Amounts) -> None: ...

    def put_account(self, account: Account) -> None:
        """Keep the limits of the account."""

    def account(self) -> Account | None:
        """Return the limits of the account that were seen last, by any server of the user."""

    def usd_of(self, day: str) -> float:
        """Return the dollars of a day, if it is the current one; estimated ones and those of other servers included."""

    def rows(self, first_day: str) -> dict[RowKey, Amounts]:
        """Return the rows from a day on.

        Raises:
            OSError, sqlite3.Error: the file cannot be read.
        """

    def forget(self) -> None:
        """Delete all rows.

        Raises:
            OSError, sqlite3.Error: the file cannot be changed.
        """

    def close(self) -> None:
        """Save what is left; bounded in time."""


class MemoryBook:
    """Keeps the rows of the last days for as long as the server runs."""

    def __init__(self) -> None:
        self._rows: dict[RowKey, Amounts] = {}
        self._account: Account | None = None

    def add(self, key: RowKey, amounts: Amounts) -> None:
        if key not in self._rows:
            oldest = (date.fromisoformat(key.day) - timedelta(days=DAYS_SHOWN)).isoformat()
            self._rows = {known: row for known, row in self._rows.items() if known.day >= oldest}
        add_row(self._rows, key, amounts)

    def put_account(self, account: Account) -> None:
        self._account = account

    def account(self) -> Account | None:
        return self._account

    def usd_of(self, day: str) -> float:
        return total(amounts for key, amounts in self._rows.items() if key.day == day).usd

    def rows(self, first_day: str) -> dict[RowKey, Amounts]:
        return {key: amounts for key, amounts in self._rows.items() if key.day >= first_day}

    def forget(self) -> None:
        self._rows = {}

    def close(self) -> None:
        pass
