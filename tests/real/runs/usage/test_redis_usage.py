"""The usage table in a real Redis, to which several servers add."""

from datetime import date
from pathlib import Path
from typing import Final

import pytest
import trio

from claude_openai.config.redis_url import parse_redis_url
from claude_openai.runs.usage import redis_store
from claude_openai.runs.usage.book import KEPT_DAYS, Account, StoreError
from claude_openai.runs.usage.redis_store import RedisUsageStore
from claude_openai.runs.usage.rows import Amounts, RowKey
from tests.real.harness import LIMIT_S
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving

pytestmark = [needs_redis, coredis_warnings]

TODAY: Final = date(2026, 11, 27)
KEY: Final = RowKey("2026-11-27", "opus", "default")
ONE: Final = Amounts(1, 2, 3, 4, 5, 0.5, -0.25, 0.125)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "ANSWER_S", LIMIT_S)


def store_of(url: str) -> RedisUsageStore:
    return RedisUsageStore(parse_redis_url(url), None, lambda: TODAY)


async def test_rows_of_all_servers_are_added_up_and_kept_for_a_year(tmp_path: Path) -> None:
    earlier, tomorrow = KEY._replace(day="2026-11-20"), KEY._replace(day="2026-11-28")
    other = KEY._replace(model='a"b', key="none")
    async with redis_serving(tmp_path) as redis:
        one, two = store_of(redis.url), store_of(redis.url)
        await trio.to_thread.run_sync(one.add, {KEY: ONE, earlier: ONE}, None)
        await trio.to_thread.run_sync(two.add, {KEY: ONE, other: ONE, tomorrow: ONE}, None)
        rows, account = await trio.to_thread.run_sync(one.read, KEY.day)
        assert (rows, account) == ({KEY: ONE + ONE, other: ONE, tomorrow: ONE}, None)
        assert earlier in (await trio.to_thread.run_sync(two.read, earlier.day))[0]
        lifetime = int((await redis.ask("TTL", f"claude-openai:usage:{KEY.day}"))[1:])
        assert KEPT_DAYS * 24 * 3600 - LIMIT_S < lifetime <= KEPT_DAYS * 24 * 3600


async def test_the_limits_seen_last_are_kept(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis:
        store = store_of(redis.url)
        await trio.to_thread.run_sync(store.add, {}, Account(5.0, {"a": 1}))
        await trio.to_thread.run_sync(store.add, {}, Account(4.0, {"a": 2}))
        assert await trio.to_thread.run_sync(store.read, KEY.day) == ({}, Account(5.0, {"a": 1}))


async def test_store_without_redis_raises_and_works_once_redis_is_there(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis:
        store = store_of(redis.url)
        await redis.stop()
        with pytest.raises(StoreError, match=r"^redis://127\.0\.0\.1:\d+/1: "):
            await trio.to_thread.run_sync(store.add, {KEY: ONE}, None)
        with pytest.raises(StoreError):
            await trio.to_thread.run_sync(store.read, KEY.day)
        await redis.start()
        await trio.to_thread.run_sync(store.add, {KEY: ONE}, None)
        await redis.ask("HSET", f"claude-openai:usage:{KEY.day}", "of another form", "1")
        with pytest.raises(StoreError, match="are not valid"):
            await trio.to_thread.run_sync(store.read, KEY.day)
