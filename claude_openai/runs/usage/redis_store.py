"""The usage table in Redis, to which several servers add, each on the thread of its book.

Each day is a hash, which Redis deletes after `KEPT_DAYS`; its fields are JSON arrays of model, key and amount. An
addition is one transaction. It is counted twice if its answer is lost, because the book then tries again.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from claude_openai.config.redis_url import RedisUrl
from claude_openai.runs.usage.book import KEPT_DAYS, Account, StoreError
from claude_openai.runs.usage.rows import AMOUNT_NAMES, Amounts, RowKey, add_row
from claude_openai.state.redis import PREFIX, with_redis
from claude_openai.state.store import StateError

if TYPE_CHECKING:
    from coredis import Redis

__all__ = ["RedisUsageStore"]

T = TypeVar("T")

USAGE: Final = f"{PREFIX}usage:"
ACCOUNT: Final = f"{USAGE}account"
ANSWER_S: Final = 3.0


class RedisUsageStore:
    """See the module. Every method raises StoreError, and blocks for a few seconds at most.

    Args:
        url: the address.
        password: its password.
        today: returns the local date.
    """

    def __init__(self, url: RedisUrl, password: str | None, today: Callable[[], date]) -> None:
        self._url = url
        self._password = password
        self._today = today

    def add(self, rows: Mapping[RowKey, Amounts], account: Account | None) -> None:
        """Add to the rows, and store the limits of the account unless newer ones are stored."""

        async def add(redis: "Redis[bytes]") -> None:
            known = None if account is None else await redis.get(ACCOUNT)
            async with redis.pipeline(transaction=True) as pipe:
                for key, field, amount in _fields(rows):
                    add_amount = pipe.hincrby if isinstance(amount, int) else pipe.hincrbyfloat
                    add_amount(key, field, amount)
                for day in {key.day for key in rows}:
                    pipe.expire(USAGE + day, timedelta(days=KEPT_DAYS))
                if account is not None and _seen_at(known) < account.seen_at:
                    pipe.set(ACCOUNT, json.dumps(account._asdict()))

        self._run(add)

    def read(self, first_day: str) -> tuple[dict[RowKey, Amounts], Account | None]:
        """Return the rows from a day on, and the limits of the account that were seen last."""
        # On the clock of another server the next day may have begun.
        count = (self._today() - date.fromisoformat(first_day)).days + 2
        days = [(date.fromisoformat(first_day) + timedelta(days=each)).isoformat() for each in range(count)]

        async def read(redis: "Redis[bytes]") -> tuple[list[dict[bytes, bytes]], bytes | None]:
            return [await redis.hgetall(USAGE + day) for day in days], await redis.get(ACCOUNT)

        hashes, account = self._run(read)
        rows: dict[RowKey, Amounts] = {}
        try:
            for day, stored in zip(days, hashes, strict=True):
                for field, amount in stored.items():
                    model, key, name = json.loads(field)
                    number = type(getattr(Amounts(), name))(amount.decode())
                    add_row(rows, RowKey(day, model, key), Amounts(**{name: number}))
            return rows, None if account is None else Account(**json.loads(account))
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreError(self._url.text, f"the stored figures are not valid: {error!r}") from error

    def prune(self, first_day: str) -> None:
        """Do nothing: Redis deletes each day when it expires."""

    def _run(self, work: "Callable[[Redis[bytes]], Awaitable[T]]") -> T:
        try:
            return trio.run(with_redis, self._url, self._password, ANSWER_S, work)
        except StateError as error:
            raise StoreError(self._url.text, error.reason) from error


def _seen_at(account: bytes | None) -> float:
    try:
        return 0.0 if account is None else float(json.loads(account)["seen_at"])
    except (ValueError, TypeError, LookupError):
        return 0.0


def _fields(rows: Mapping[RowKey, Amounts]) -> Iterator[tuple[str, str, Any]]:
    """Yield the name of the hash, the field and the amount."""
    for key, row in rows.items():
        for name in AMOUNT_NAMES:
            if amount := getattr(row, name):
                yield USAGE + key.day, json.dumps([key.model, key.key, name]), amount
