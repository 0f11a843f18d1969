"""The state store on a real Redis, which several servers share, and which may be lost."""

import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing
import yaml

from claude_openai.config.redis_url import parse_redis_url
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.state import redis as redis_module
from claude_openai.state.cipher import Cipher
from claude_openai.state.redis import RedisStore
from claude_openai.state.store import StateError
from tests.real.balancers import FOLDER
from tests.real.harness import LIMIT_S, until
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving

pytestmark = [needs_redis, coredis_warnings]

KEY: Final = "k" * 32
HOUR: Final = 3600.0


class Connected(RedisStore):
    """A store with the records of its log."""

    records: list[dict[str, Any]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than a request waits."""
    for name in ("SILENT_S", "CONNECT_S"):
        monkeypatch.setattr(redis_module, name, LIMIT_S)
    monkeypatch.setattr(redis_module, "LEAST_PAUSE_S", 0.01)
    monkeypatch.setattr(redis_module, "MOST_PAUSE_S", 0.1)


@asynccontextmanager
async def connected(url: str, secret: str | None = None, password: str | None = None) -> AsyncIterator[Connected]:
    records: list[dict[str, Any]] = []
    log = Log(Level.DEBUG, lambda line: records.append(json.loads(line)), Redactor())
    store = Connected(parse_redis_url(url), password, Cipher(secret), log)
    store.records = records
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            yield store
            nursery.cancel_scope.cancel()


def events(store: Connected) -> list[str]:
    return [record["event"] for record in store.records]


async def test_values_are_found_by_all_servers_and_deleted_for_all(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as one, connected(redis.url) as other:
        await one.put({"a": b"1", "b": b"\0\xff"}, HOUR)
        assert await other.get(["b", "none", "a"], HOUR) == [b"\0\xff", None, b"1"]
        await other.put({"a": b"2"}, HOUR)
        assert await one.get(["a"], HOUR) == [b"2"]
        assert (await one.delete(["a", "none"]), await other.delete(["a"])) == (1, 0)
        assert await other.get(["a", "b"], HOUR) == [None, b"\0\xff"]


async def test_clear_deletes_all_values_and_nothing_else(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        await redis.ask("SET", "of another program", "1")
        await redis.ask("SET", "claude-openai:usage:account", "1")
        await store.put({str(number): b"" for number in range(3000)}, HOUR)
        assert (await store.clear(), await store.clear()) == (3000, 0)
        assert await redis.ask("EXISTS", "of another program", "claude-openai:usage:account") == b":2"


async def test_lifetime_is_renewed_by_use_and_then_redis_deletes_the_value(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        await store.put({"a": b"1", "b": b"2"}, 0.001)
        await until_gone(store, "a")
        await store.put({"a": b"1"}, 100)
        assert await redis.ask("TTL", "claude-openai:state:a") == b":100"
        await store.get(["a"], 5000)
        assert await redis.ask("TTL", "claude-openai:state:a") == b":5000"


async def until_gone(store: RedisStore, name: str) -> None:
    while await store.get([name], 0.001) != [None]:  # noqa: ASYNC110 - there is no event
        await trio.sleep(0.01)


async def test_values_with_a_key_are_not_readable_in_redis_or_under_another_name(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url, KEY) as store:
        await store.put({"a": b"the secret", "b": b"another"}, HOUR)
        assert await store.get(["a", "b"], HOUR) == [b"the secret", b"another"]
        large = os.urandom(2 * redis_module.MIN_OFFLOADED_BYTES)
        await store.put({"large": large}, HOUR)
        assert await store.get(["large"], HOUR) == [large]
        one, other = (f"claude-openai:state:{Cipher(KEY).hide(name)}" for name in ("a", "b"))
        stored = await redis.ask("EVAL", "return redis.call('GET', KEYS[1]):find('secret') or 0", "1", one)
        assert stored == b":0"
        await redis.ask("RENAME", other, one)
        assert await store.get(["a"], HOUR) == [None]
        async with connected(redis.url, KEY + "2") as another, connected(redis.url) as plain:
            await store.put({"a": b"1"}, HOUR)
            assert (await another.get(["a"], HOUR), await plain.get(["a"], HOUR)) == ([None], [None])
            await plain.put({"p": b"1"}, HOUR)
            assert await store.get(["p"], HOUR) == [None]
            assert (events(store), events(another)) == (["state.not_decrypted"], [])


async def test_names_with_a_key_are_not_readable_in_redis_and_values_are_deleted_by_them(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url, KEY) as store:
        await store.put({"response:caller:1": b"1", "response:caller:2": b"2", "response:caller:3": b"3"}, HOUR)
        assert await redis.ask("EVAL", "return #redis.call('KEYS', '*caller*')", "0") == b":0"
        assert await store.delete(["response:caller:1"]) == 1
        assert await store.clear() == 2


async def test_values_that_are_too_large_are_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "MAX_BYTES", 5)
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        await store.put({"a": b"123", "b": b"456"}, HOUR)
        await store.put({"c": b"12345"}, HOUR)
        assert await store.get(["a", "b", "c"], HOUR) == [None, None, b"12345"]


async def test_store_works_again_after_a_restart_of_redis_which_is_logged_once(tmp_path: Path) -> None:
    async with redis_serving(tmp_path, "--dbfilename", "state.rdb") as redis, connected(redis.url) as store:
        await store.put({"a": b"1"}, HOUR)
        await redis.ask("SAVE")
        await redis.stop()
        with pytest.raises(StateError, match=r"^redis://127\.0\.0\.1:\d+/1: "):
            await store.get(["a"], HOUR)
        with pytest.raises(StateError):
            await store.put({"a": b"2"}, HOUR)
        await until(lambda: bool(store.problem), "the loss is seen")
        await until(lambda: store._pause_s == redis_module.MOST_PAUSE_S, "several attempts to connect fail")
        await redis.start()
        await until(lambda: "state.back" in events(store), "the store is back")
        assert await store.get(["a"], HOUR) == [b"1"]
        assert events(store) == ["state.lost", "state.back"]


async def test_start_without_redis_does_not_fail(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis:
        await redis.stop()
        async with connected(redis.url) as store:
            assert store.problem
            with pytest.raises(StateError):
                await store.delete(["a"])
            with pytest.raises(StateError):
                await store.clear()
            assert [(each["level"], each["event"]) for each in store.records] == [("warning", "state.lost")]


class TwoAddresses(trio.abc.HostnameResolver):
    """Each name has two addresses, where nothing listens."""

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", port)) for number in (1, 2)]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


async def test_problem_of_a_host_with_several_addresses_is_that_of_an_address() -> None:
    trio.socket.set_custom_hostname_resolver(TwoAddresses())
    async with connected("redis://two.test:1") as store:
        assert store.problem == "Connection refused"


@pytest.mark.parametrize("answer", [b"-ERR \xff\xfe\r\n", b"$abc\r\n", b"*xyz\r\n"])
async def test_answer_that_is_no_redis_protocol_is_a_problem(answer: bytes) -> None:
    async def answer_badly(stream: trio.SocketStream) -> None:
        async for request in stream:
            if b"HELLO" in request:
                await stream.send_all(b"%3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n")
            else:
                await stream.send_all(answer if b"GETEX" in request else b"$-1\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer_badly, 0, host="127.0.0.1"))
        async with connected(f"redis://127.0.0.1:{listener.socket.getsockname()[1]}") as store:
            assert store.problem == ""
            with pytest.raises(StateError):
                await store.get(["a"], HOUR)
            await until(lambda: "state.back" in events(store), "it is connected again")
        nursery.cancel_scope.cancel()


async def test_error_of_a_wrong_password_does_not_show_the_password(tmp_path: Path) -> None:
    async with redis_serving(tmp_path, "--requirepass", "right-password") as redis:
        async with connected(redis.url, password="right-password") as store:
            await store.put({"a": b"1"}, HOUR)
            assert await store.get(["a"], HOUR) == [b"1"]
        async with connected(redis.url, password="wrong-password") as store:
            assert "username-password" in store.problem
            assert "wrong-password" not in str(store.records)


async def test_full_redis_is_a_problem_until_there_is_room(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        await redis.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StateError, match="OOM"):
            await store.put({"a": b"1", "b": b"2"}, HOUR)
        await until(lambda: "OOM" in store.problem, "the loss is seen")
        await redis.ask("CONFIG", "SET", "maxmemory", "0")
        await until(lambda: not store.problem, "the store is back")
        assert await store.get(["a", "b"], HOUR) == [None, None]


async def test_value_is_stored_although_its_caller_has_gone(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        with trio.move_on_after(0.05):
            await store.put({"a": b"1"}, HOUR)
        redis.process.send_signal(signal.SIGCONT)
        assert await store.get(["a"], HOUR) == [b"1"]


async def test_redis_that_stays_silent_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(redis_module, "SILENT_S", 0.05)
        monkeypatch.setattr(redis_module, "CONNECT_S", 0.2)
        with pytest.raises(StateError):
            await store.put({"a": b"1"}, HOUR)
        await until(lambda: bool(store.problem), "the loss is seen")
        monkeypatch.undo()
        redis.process.send_signal(signal.SIGCONT)
        await until(lambda: not store.problem, "the store is back", LIMIT_S)


async def test_access_may_be_cancelled_and_the_next_one_gets_its_own_answer(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis, connected(redis.url) as store:
        await store.put({str(number): str(number).encode() for number in range(100)}, HOUR)
        for number in range(100):
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.get([str(number)], HOUR)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.get, [str(number)], HOUR)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert await store.get([str(99 - number)], HOUR) == [str(99 - number).encode()]
        assert events(store) == []


async def test_unix_socket_and_database_are_taken_from_the_url(tmp_path: Path) -> None:
    async with (
        redis_serving(tmp_path, "--unixsocket", str(tmp_path / "s")) as redis,
        connected(f"unix://{tmp_path}/s?db=1") as store,
        connected(f"unix://{tmp_path}/s?db=2") as other,
    ):
        await store.put({"a": b"1"}, HOUR)
        assert await other.get(["a"], HOUR) == [None]
        assert await redis.ask("EXISTS", "claude-openai:state:a") == b":1"


async def test_full_redis_of_the_compose_file_drops_the_oldest_responses_and_no_usage(tmp_path: Path) -> None:
    compose = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())
    program, *flags = compose["services"]["redis"]["command"]
    assert program == "redis-server"
    async with redis_serving(tmp_path, *flags) as redis, connected(redis.url) as store:
        await redis.ask("SET", "claude-openai:usage:2026-11-27", "1", "EX", str(366 * 24 * 3600))
        await redis.ask("CONFIG", "SET", "maxmemory", "16mb")
        for number in range(100):
            await store.put({str(number): bytes(500_000)}, HOUR + number)
        assert (await store.get(["0"], HOUR), store.problem) == ([None], "")
        assert (await store.get(["99"], HOUR)) == [bytes(500_000)]
        assert await redis.ask("EXISTS", "claude-openai:usage:2026-11-27") == b":1"
