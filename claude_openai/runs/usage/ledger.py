"""The accounts of one server: adds up what turns report, and refuses turns beyond the operator's limits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from claude_openai.errors import ApiError
from claude_openai.logs.log import NULL_LOG, Log
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import AccountLimits, ModelSpent, Spent, Window
from claude_openai.runs.usage.account import AccountWindows, limits_from_json, limits_to_json
from claude_openai.runs.usage.book import Account, Book, MemoryBook
from claude_openai.runs.usage.limits import UsageLimits
from claude_openai.runs.usage.prices import Prices
from claude_openai.runs.usage.rows import DAYS_SHOWN, Amounts, RowKey, summary

__all__ = ["Ledger", "opened_book"]

# Further models are summed up, so that neither the file nor the metrics can grow without bound.
MAX_MODELS: Final = 64
OTHER: Final = "other"


@contextmanager
def opened_book(path: Path | None, log: Log, now: Callable[[], float] = time.time) -> Iterator[Book]:
    """Yield a book with this file, or in memory if the path is None."""
    if path is None:
        yield MemoryBook()
        return
    # Imported here, because servers without a file need no SQLite.
    from claude_openai.runs.usage.file_book import FileBook
    from claude_openai.runs.usage.store import UsageStore

    book = FileBook(UsageStore(path), log, lambda: date.fromtimestamp(now()))
    try:
        yield book
    finally:
        book.close()


class Ledger:
    """See the module.

    Args:
        limits: the operator's limits.
        key: name of the callers' key.
        book: keeps the rows.
        log: for warnings about the limits of the account.
        now: Unix time.
    """

    def __init__(
        self,
        limits: UsageLimits | None = None,
        *,
        key: str = "none",
        book: Book | None = None,
        log: Log = NULL_LOG,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits or UsageLimits()
        self._key = key
        self._book = book or MemoryBook()
        self._log = log
        self._now = now
        self._windows = AccountWindows()
        self._known_account: Account | None = None
        self._prices = Prices()
        self._models: set[str] = set()
        self._learn_prices()

    @property
    def windows(self) -> AccountWindows:
        """The limits of the account, also if another server of the user has seen them."""
        account = self._book.account()
        if account is not None and account is not self._known_account:
            self._known_account = account
            limits = limits_from_json(account[1])
            if limits is not None:
                self._windows.note(limits, account[0], self._log)
        return self._windows

    def spend(self, spent: Spent) -> dict[str, Amounts]:
        """Take a report; return what it added to each model."""
        added: dict[str, Amounts] = {}
        for reported, each in spent.by_model.items():
            model = self._name_of(reported)
            self._prices.learn(model, each)
            usage, cost = each.usage, each.cost_usd
            added[model] = added.get(model, Amounts()) + Amounts(
                input=usage.input_tokens,
                cache_read=usage.cache_read_tokens,
                cache_write=usage.cache_write_tokens,
                output=usage.output_tokens,
                thinking=usage.reasoning_tokens,
                cost_usd=cost or 0.0,
                estimated_usd=self._prices.estimate(model, usage) if cost is None else 0.0,
                unpriced=int(cost is None),
            )
        day = self._today().isoformat()
        for model, amounts in added.items():
            self._book.add(RowKey(day, model, self._key, int(spent.at_list_price)), amounts)
        return added

    def note_limits(self, limits: AccountLimits) -> None:
        """Take the limits of the account as reported with an answer."""
        windows, now = self.windows, self._now()
        windows.note(limits, now, self._log)
        self._known_account = (now, limits_to_json(windows.limits))
        self._book.put_account(self._known_account)

    def refusal(self) -> ApiError | None:
        """Return the error for the next turn if a limit of the operator is reached."""
        now = self._now()
        spent = 0.0 if self._limits.max_cost_usd is None else self._book.usd_of(self._today().isoformat())
        return self._limits.cost_refusal(spent, now) or self._limits.window_refusal(self.windows, now)

    @property
    def header(self) -> str:
        """The windows beyond 80 %, for a response header; "" for none."""
        return self.windows.header(self._now())

    @property
    def is_used_up(self) -> bool:
        """Whether Claude refuses requests because of a limit of the account, as far as known."""
        return self.windows.is_used_up(self._now())

    def current_windows(self) -> Iterator[tuple[str, Window]]:
        """Yield the windows of the account that have not reset since they were seen."""
        return self.windows.current(self._now())

    def report(self) -> dict[str, Any]:
        """Return the body of `GET /v1/usage`. It may read a file: call it in a thread."""
        rows: dict[RowKey, Amounts] = {}
        today, problem = self._today(), None
        try:
            rows = self._book.rows((today - timedelta(days=DAYS_SHOWN)).isoformat())
        except Exception as error:  # noqa: BLE001 - errors of SQLite, which is loaded only with a file
            problem = str(error)
        return {
            "object": "usage",
            **summary(rows, today),
            **self.windows.to_json(self._now()),
            "limits": self._limits.to_json(),
            "refusing": self._refusing(),
            "problem": problem,
        }

    def forget(self) -> None:
        """Delete the rows. It may change a file: call it in a thread; raises as `Book.forget`."""
        self._book.forget()

    def _refusing(self) -> str | None:
        """Return why the next turn would be refused, None if it would not, as far as known."""
        refusal = self.refusal()
        if refusal is not None:
            return refusal.message
        return "Claude refuses requests: a usage limit of the account is reached." if self.is_used_up else None

    def _learn_prices(self) -> None:
        with suppress(Exception):  # errors of SQLite; estimates then begin with the first turn
            for key, row in self._book.rows((self._today() - timedelta(days=DAYS_SHOWN)).isoformat()).items():
                if not row.unpriced:
                    usage = Usage(row.input, row.cache_read, row.cache_write, row.output, row.thinking)
                    self._prices.learn(key.model, ModelSpent(usage, row.cost_usd))

    def _today(self) -> date:
        return date.fromtimestamp(self._now())

    def _name_of(self, model: str) -> str:
        if model not in self._models and len(self._models) >= MAX_MODELS:
            return OTHER
        self._models.add(model)
        return model
