"""The findings of `doctor` about the store that replicas share."""

from pathlib import Path

import pytest
import trio

from claude_openai.commands.doctor.check_state import state_checks
from claude_openai.config import Config
from claude_openai.state import redis as redis_module
from tests.real.harness import LIMIT_S
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving

pytestmark = [needs_redis, coredis_warnings]


async def test_redis_is_found_and_its_loss_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "CONNECT_S", LIMIT_S)
    assert state_checks(Config()) == []
    async with redis_serving(tmp_path) as redis:
        config = Config(state_url=redis.url)
        (found,) = await trio.to_thread.run_sync(state_checks, config)
        assert (found.state, found.found) == ("ok", f"{redis.url} can be used")
        await redis.stop()
        (found,) = await trio.to_thread.run_sync(state_checks, config)
        assert found.state == "warning"
        assert found.found.startswith(f"{redis.url} cannot be used: ")
