"""Stores state in Redis or Valkey, which several servers share, through coredis.

`RedisStore.run` holds one connection; while there is none, each access is refused at once. An access goes on if its
caller is cancelled. If it fails, or takes `SILENT_S`, the connection is closed; the next one is opened after a pause.
"""

import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar, cast

import trio
from coredis import Redis
from coredis.retry import NoRetryPolicy

from claude_openai.config.redis_url import RedisUrl
from claude_openai.logs.log import Log
from claude_openai.offload import in_thread
from claude_openai.shortages import described
from claude_openai.state.cipher import Cipher
from claude_openai.state.store import ACCESS_S, StateError

__all__ = ["PREFIX", "RedisStore", "with_redis"]

T = TypeVar("T")

# Prefix of all names in Redis.
PREFIX: Final = "claude-openai:"
STATE: Final = f"{PREFIX}state:"
# Written at the start of each connection, to test it.
TRIED: Final = f"{PREFIX}tried"
CONNECT_S: Final = 1.0
SILENT_S: Final = 1.0
LEAST_PAUSE_S: Final = 1.0
MOST_PAUSE_S: Final = 30.0
# Values of one access that are larger in total are not stored.
MAX_BYTES: Final = 8 * 1024 * 1024
# AES takes a millisecond for a megabyte, on a slow machine.
MIN_OFFLOADED_BYTES: Final = 1024 * 1024

# A script does all of its work or none, in one command: coredis ends the connection if a transaction is cancelled.
_PUT: Final = "for i, name in ipairs(KEYS) do redis.call('SET', name, ARGV[i + 1], 'PX', ARGV[1]) end"
_GET: Final = """\
local found = {}
for i, name in ipairs(KEYS) do found[i] = redis.call('GETEX', name, 'PX', ARGV[1]) end
return found"""


def _redis(url: RedisUrl, password: str | None) -> "Redis[bytes]":
    """Return a client, for use as a context manager. It has one connection, and does not retry."""
    # coredis would log each failed attempt with a traceback.
    logging.getLogger("coredis").setLevel(logging.CRITICAL)
    place: dict[str, Any] = {"unix_socket_path": url.path} if url.path else {"host": url.host, "port": url.port}
    return Redis(
        **place,
        db=url.db,
        username=url.user,
        password=password,
        ssl_context=ssl.create_default_context() if url.is_tls else None,
        connect_timeout=CONNECT_S,
        max_connections=1,
        retry_policy=NoRetryPolicy(),
        verify_version=False,
    )


def _reason(error: Exception) -> str:
    """Return why an access failed, without the address, for `/ready`.

    coredis says of a connection that failed only that it did.
    """
    if isinstance(error, trio.TooSlowError):
        return "it did not answer in time"
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    # Of a host with several addresses.
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    # The system's own text: that of trio has the address. The number of an SSLError is not one of the system.
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return described(cause) or repr(cause)


async def with_redis(
    url: RedisUrl, password: str | None, within_s: float, work: Callable[["Redis[bytes]"], Awaitable[T]]
) -> T:
    """Do some work with a client of its own, and return its result.

    Raises:
        StateError: it failed, or took longer than `within_s`.
    """
    failure: Exception | None = None
    # Raised outside of the block: coredis has a nursery, which would wrap it in an ExceptionGroup.
    async with _redis(url, password) as client:
        try:
            with trio.fail_after(within_s):
                return await work(client)
        except Exception as error:  # noqa: BLE001 - coredis passes on those of its parser
            failure = error
    raise StateError(url.text, _reason(failure)) from failure


@dataclass(slots=True)
class _Connection:
    """A client, the nursery of its accesses, and why it failed."""

    client: "Redis[bytes]"
    nursery: trio.Nursery
    failed: trio.Event = field(default_factory=trio.Event)
    reason: str = ""


@dataclass(slots=True, eq=False)
class _Answer(Generic[T]):
    done: trio.Event = field(default_factory=trio.Event)
    value: T | None = None
    error: str = "the connection ended"


class RedisStore:
    """A StateStore; see the module. Without `run` each access is refused.

    Args:
        url: the address.
        password: its password.
        cipher: encrypts the values, and hides their names.
        log: for the loss of the store, and its return.

    Attributes:
        problem: why there is no connection; "" if there is one.
    """

    refresh_s = ACCESS_S

    def __init__(self, url: RedisUrl, password: str | None, cipher: Cipher, log: Log) -> None:
        self._url = url
        self._password = password
        self._cipher = cipher
        self._log = log
        self._connection: _Connection | None = None
        self._tried = trio.Event()
        self._pause_s = LEAST_PAUSE_S
        self._was_unreadable = False
        self.problem = ""

    async def put(self, values: Mapping[str, bytes], kept_s: float) -> bool:
        """Store values. Return False if they are larger than `MAX_BYTES`."""
        if (size := sum(map(len, values.values()))) > MAX_BYTES:
            self._log.debug("state.too_large", bytes=size)
            return False
        names = list(map(self._name, values))
        stored = await _offloaded(size, lambda: [self._cipher.encrypt(name, value) for name, value in values.items()])
        await self._access(lambda redis: redis.eval(_PUT, names, [_ms(kept_s), *stored]))
        return True

    async def get(self, names: Sequence[str], kept_s: float) -> list[bytes | None]:
        """Return values and renew their lifetime. A value that cannot be decrypted counts as not stored."""
        keys = list(map(self._name, names))
        stored = cast("list[bytes | None]", await self._access(lambda redis: redis.eval(_GET, keys, [_ms(kept_s)])))
        pairs = list(zip(names, stored, strict=True))
        values = await _offloaded(
            sum(len(value or b"") for value in stored),
            lambda: [None if value is None else self._cipher.decrypt(name, value) for name, value in pairs],
        )
        if not self._was_unreadable and values.count(None) > stored.count(None):
            self._was_unreadable = True
            self._log.warning("state.not_decrypted", address=self._url.text)
        return values

    async def delete(self, names: Sequence[str]) -> int:
        """Delete values; return how many were stored."""
        return await self._access(partial(_unlink, list(map(self._name, names))))

    async def clear(self) -> int:
        """Delete all values, in batches; return how many there were."""
        cursor, count = None, 0
        while cursor != 0:
            cursor, names = await self._access(partial(_scan, cursor))
            if names:
                count += await self._access(partial(_unlink, names))
        return count

    async def run(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Hold a connection, and replace it when it fails, until cancelled.

        Args:
            task_status: started once the first attempt to connect has ended.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._connect_always)
            await self._tried.wait()
            task_status.started()

    async def _connect_always(self) -> None:
        while True:
            async with _redis(self._url, self._password) as client:
                reason = await self._hold(client)
            if not self.problem:
                self._log.warning("state.lost", address=self._url.text, reason=reason)
            self.problem = reason
            self._tried.set()
            await trio.sleep(self._pause_s)
            self._pause_s = min(2 * self._pause_s, MOST_PAUSE_S)

    async def _hold(self, client: "Redis[bytes]") -> str:
        """Let requests use a connection until it fails; return why."""
        try:
            with trio.fail_after(CONNECT_S):
                await client.eval(_PUT, [TRIED], [_ms(CONNECT_S), b""])
        except Exception as error:  # noqa: BLE001 - coredis passes on those of its parser
            return _reason(error)
        if self.problem:
            self._log.info("state.back", address=self._url.text)
        self.problem = ""
        async with trio.open_nursery() as nursery:
            self._connection = _Connection(client, nursery)
            self._tried.set()
            try:
                await self._connection.failed.wait()
            finally:
                connection, self._connection = self._connection, None
            nursery.cancel_scope.cancel()
        return connection.reason

    async def _access(self, command: Callable[["Redis[bytes]"], Awaitable[T]]) -> T:
        """Run a command.

        Raises:
            StateError: it failed, or there is no connection.
        """
        if self._connection is None:
            raise StateError(self._url.text, self.problem or "it is not connected")
        answer = _Answer[T]()
        self._connection.nursery.start_soon(self._ask, self._connection, command, answer)
        await answer.done.wait()
        if answer.error:
            raise StateError(self._url.text, answer.error)
        return cast("T", answer.value)

    async def _ask(
        self, connection: "_Connection", command: Callable[["Redis[bytes]"], Awaitable[T]], answer: _Answer[T]
    ) -> None:
        try:
            with trio.fail_after(SILENT_S):
                answer.value = await command(connection.client)
            answer.error = ""
            self._pause_s = LEAST_PAUSE_S
        except Exception as error:  # noqa: BLE001 - coredis passes on those of its parser
            answer.error = connection.reason = _reason(error)
            connection.failed.set()
        finally:
            answer.done.set()

    def _name(self, name: str) -> str:
        return STATE + self._cipher.hide(name)


async def _offloaded(size: int, work: Callable[[], T]) -> T:
    """Call a function that encrypts or decrypts so many bytes, in a thread if that takes long."""
    return work() if size < MIN_OFFLOADED_BYTES else await in_thread(work)


async def _scan(cursor: int | None, redis: "Redis[bytes]") -> tuple[int, tuple[bytes, ...]]:
    return await redis.scan(cursor, f"{STATE}*", 1000)


async def _unlink(names: Sequence[str | bytes], redis: "Redis[bytes]") -> int:
    return await redis.unlink(names)


def _ms(seconds: float) -> int:
    return max(1, round(1000 * seconds))
