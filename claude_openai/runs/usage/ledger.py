"""The accounts of one server: adds up what turns report, and refuses turns beyond the operator's limits."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from claude_openai.config.redis_url import parse_redis_url
from claude_openai.errors import ApiError
from claude_openai.keys.key import Key
from claude_openai.logs.log import NULL_LOG, Log
from claude_openai.protocol.turn.reports import AccountLimits, ModelSpent, Spent, Window
from claude_openai.runs.usage.account import AccountWindows
from claude_openai.runs.usage.book import Account, Book, StoreError
from claude_openai.runs.usage.limits import UsageLimits
from claude_openai.runs.usage.rows import DAYS_SHOWN, Amounts, RowKey, amounts_of, summary

__all__ = ["Ledger", "book_of"]

# Further models are counted together, so that neither the file nor the metrics can grow without bound.
MAX_MODELS: Final = 64
OTHER: Final = "other"


def book_of(
    path: Path | None,
    log: Log,
    now: Callable[[], float] = time.time,
    *,
    redis: tuple[str, str | None] | None = None,
) -> Book:
    """Return a book.

    Args:
        path: its file; None keeps it in memory.
        log: for failures.
        now: Unix time.
        redis: URL and password of a Redis, in place of the file.
    """

    def today() -> date:
        return date.fromtimestamp(now())

    if redis is not None:
        # Imported here, because it is an extra.
        from claude_openai.runs.usage.redis_store import RedisUsageStore

        return Book(RedisUsageStore(parse_redis_url(redis[0]), redis[1], today), log, today)
    if path is None:
        return Book(None, log, today)
    # Imported here, because servers without a file need no SQLite.
    from claude_openai.runs.usage.store import UsageStore

    return Book(UsageStore(path), log, today)


class Ledger:
    """See the module.

    Args:
        limits: the operator's limits.
        key: the name for callers without a named key.
        book: keeps the rows; by default in memory.
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
        self._book = book or book_of(None, log, now)
        self._log = log
        self._now = now
        self._windows = AccountWindows()
        self._known: Account | None = None
        self._models: set[str] = set()

    def spend(self, spent: Spent, key: Key | None = None) -> list[tuple[str, ModelSpent]]:
        """Take a report about a client with this key.

        Return what was used of each model, under a bounded number of names.
        """
        named = [(self._name_of(model), each) for model, each in spent.by_model.items()]
        day = self._today().isoformat()
        self._book.add(
            (
                RowKey(day, name, self._key if key is None else key.name),
                amounts_of(each, at_list_price=spent.at_list_price),
            )
            for name, each in named
        )
        return named

    def note_limits(self, limits: AccountLimits) -> None:
        """Take the limits of the account, as reported with an answer."""
        now = self._now()
        windows = self.seen_windows()
        windows.note(limits, now, self._log)
        self._known = Account(now, windows.stored())
        self._book.put_account(self._known)

    def refusal(self, key: Key | None = None) -> ApiError | None:
        """Return the error for the next turn, of a client with this key, if a limit of the operator is reached."""
        now, day = self._now(), self._today().isoformat()
        spent = 0.0 if self._limits.max_cost_usd is None else self._book.usd_of(day)
        found = self._limits.cost_refusal(spent, now) or self._limits.window_refusal(self.current_windows(), now)
        if found is not None or key is None or key.max_cost_per_day is None:
            return found
        return UsageLimits(key.max_cost_per_day, key=key.name).cost_refusal(self._book.usd_of(day, key.name), now)

    @property
    def header(self) -> str:
        """The windows beyond 80 %, for a response header; "" for none."""
        return self.seen_windows().header(self._now())

    def current_windows(self) -> Iterator[tuple[str, Window]]:
        """Yield the windows of the account that have not reset since they were seen."""
        return self.seen_windows().current(self._now())

    @property
    def problem(self) -> str:
        """Why the file of the figures could not be read or written last, without its path; "" if it could."""
        return self._book.problem

    def is_plan_used_up(self, within_s: float) -> bool:
        """Return whether Claude has refused a turn, within the last seconds, because the plan is used up."""
        return self.seen_windows().is_used_up(self._now(), within_s)

    @property
    def has_file(self) -> bool:
        """Whether `read_rows` waits for the disk."""
        return self._book.has_file

    def read_rows(self) -> tuple[dict[RowKey, Amounts], str | None]:
        """Return the rows of the last days, and why they cannot be read."""
        try:
            return self._book.rows((self._today() - timedelta(days=DAYS_SHOWN)).isoformat()), None
        except StoreError as error:
            return {}, str(error)

    def report(self, rows: Mapping[RowKey, Amounts], problem: str | None, key: Key | None = None) -> dict[str, Any]:
        """Return the body of `GET /v1/usage`, from what `read_rows` has returned; with a key, only what is its own."""
        refusal, limits = self.refusal(key), self._limits
        if key is not None:
            rows = {row: amounts for row, amounts in rows.items() if row.key == key.name}
            limits = UsageLimits(key.max_cost_per_day, limits.stop_at)
        return {
            "object": "usage",
            **summary(rows, self._today()),
            **self.seen_windows().to_json(self._now()),
            "limits": limits.to_json(),
            "refusing": None if refusal is None else refusal.message,
            "problem": problem,
        }

    def seen_windows(self) -> AccountWindows:
        """Return the limits of the account, also if another server of the user has seen them."""
        account = self._book.account
        if account is not None and account is not self._known:
            self._known = account
            self._windows.restore(account.limits)
        return self._windows

    def _today(self) -> date:
        return date.fromtimestamp(self._now())

    def _name_of(self, model: str) -> str:
        if model not in self._models and len(self._models) >= MAX_MODELS:
            return OTHER
        self._models.add(model)
        return model
