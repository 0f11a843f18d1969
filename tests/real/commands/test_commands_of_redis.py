"""`claude-openai forget` and `usage` without a server: from Redis, if the variable or the flag names one."""

import json
import signal
import time
from datetime import date
from pathlib import Path

import pytest
import trio

from claude_openai.commands import forget, main
from claude_openai.config.redis_url import parse_redis_url
from claude_openai.logs.log import NULL_LOG
from claude_openai.runs.usage import redis_store
from claude_openai.runs.usage.book import Account
from claude_openai.runs.usage.redis_store import RedisUsageStore
from claude_openai.runs.usage.rows import Amounts, RowKey
from claude_openai.runs.usage.store import UsageStore
from claude_openai.state import redis as redis_module
from claude_openai.state.cipher import Cipher
from claude_openai.state.redis import RedisStore
from tests.real.harness import LIMIT_S
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving

pytestmark = [needs_redis, coredis_warnings]

PASSWORD = "right-password"
ROW = RowKey(date.today().isoformat(), "claude-opus-5-5", "default")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer than a command waits."""
    for name in ("SILENT_S", "CONNECT_S"):
        monkeypatch.setattr(redis_module, name, LIMIT_S)
    monkeypatch.setattr(redis_store, "ANSWER_S", LIMIT_S)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> "Run":
    return Run(tmp_path, capsys)


class Run:
    """Runs a command in a thread, and returns its code and what it printed."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._capsys = capsys

    async def __call__(self, *argv: str, **environ: str) -> tuple[int, str, str]:
        variables = {"TMPDIR": str(self._folder)} | {f"CLAUDE_OPENAI_{name}": each for name, each in environ.items()}
        code = await trio.to_thread.run_sync(main, argv, variables)
        return (code, *self._capsys.readouterr())


async def fill(url: str, secret: str | None = None) -> None:
    store = RedisStore(parse_redis_url(url), PASSWORD, Cipher(secret), NULL_LOG)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await store.put({"a": b"The prompt", "b": b"2"}, 3600)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("secret", [None, "k" * 32])
async def test_forget_empties_redis_and_says_how_many(
    tmp_path: Path, run: Run, by_flag: bool, secret: str | None
) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    async with redis_serving(tmp_path, "--requirepass", PASSWORD) as redis:
        flags = ("--state-url", redis.url, "--state-password-file", str(password)) if by_flag else ()
        variables = {} if by_flag else {"STATE_URL": redis.url, "STATE_PASSWORD_FILE": str(password)}
        await fill(redis.url, secret)
        for count in (2, 0):
            assert await run("forget", *flags, **variables) == (0, f"{redis.url}: forgot {count} values\n", "")


async def test_forget_with_the_flag_of_a_file_leaves_the_redis_of_the_variable(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "responses.db"
    found = await run("forget", "--responses-file", str(file), STATE_URL="redis://127.0.0.1:1")
    assert found == (0, f"{file}: forgot 0 values\n", "")


async def test_forget_without_its_redis_is_an_error_with_the_reason(tmp_path: Path, run: Run) -> None:
    async with redis_serving(tmp_path) as redis:
        await redis.stop()
        code, out, err = await run("forget", STATE_URL=redis.url)
    assert (code, out) == (1, "")
    assert err.startswith(f"claude-openai: cannot empty the store: {redis.url}: Connection refused")
    assert "its values may still be there; correct --state-url, or try again later" in err


async def test_forget_waits_for_a_silent_redis_for_a_bounded_time(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forget, "CLEAR_S", 0.05)
    async with redis_serving(tmp_path) as redis:
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        code, out, err = await run("forget", STATE_URL=redis.url)
    assert (code, out) == (1, "")
    assert f"cannot empty the store: {redis.url}: it took longer than 0.05 s" in err


async def test_usage_is_that_of_redis_and_not_of_the_file(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "usage.db"
    UsageStore(file).add({ROW: Amounts(1, cost_usd=1.0)}, None)
    async with redis_serving(tmp_path) as redis:
        store = RedisUsageStore(parse_redis_url(redis.url), None, date.today)
        window = {"utilization": 0.5, "resets_at": time.time() + 1e6, "status": "allowed", "seen_at": time.time()}
        account = Account(time.time(), {"windows": {"five_hour": window}, "overage": "", "uses_overage": False})
        await trio.to_thread.run_sync(store.add, {ROW: Amounts(5, cost_usd=2.5)}, account)
        variables = {"STATE_URL": redis.url, "USAGE_FILE": str(file)}
        for by_flag in (True, False):
            found = await run("usage", "--json", *(("--state-url", redis.url) if by_flag else ()), **variables)
            usage = json.loads(found[1])
            assert (usage["today"]["cost_usd"], usage["today"]["input_tokens"]) == (2.5, 5)
            assert usage["windows"][0]["utilization"] == 0.5
        of_file = json.loads((await run("usage", "--json", "--usage-file", str(file), **variables))[1])
        assert of_file["today"]["cost_usd"] == 1.0
        await redis.stop()
        code, out, err = await run("usage", **variables)
        assert (code, out) == (1, "")
        assert f"cannot read the figures: {redis.url}: " in err
