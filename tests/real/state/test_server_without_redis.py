"""A server whose Redis cannot be reached starts, answers and reports it."""

from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Reply
from tests.real.call import Call
from tests.real.harness import needs_claude, serving
from tests.real.redis_server import coredis_warnings, needs_redis, redis_serving

pytestmark = [needs_claude, needs_redis, coredis_warnings, pytest.mark.long]


async def test_server_answers_and_continues_its_own_responses_without_redis(tmp_path: Path) -> None:
    async with redis_serving(tmp_path) as redis:
        await redis.stop()
        (tmp_path / "server").mkdir()
        async with serving(tmp_path / "server", Reply("Hello."), state_url=redis.url, backend="cli") as served:
            body: dict[str, Any] = {"model": "claude-sonnet", "input": "Hi"}
            for _ in range(2):
                async with Call.open(served.url, body, "/v1/responses") as call:
                    status, answer = await call.answer()
                    assert status == 200, answer
                body["previous_response_id"] = answer["id"]
            (lost,) = await served.logged("state.lost")
            assert (lost["level"], lost["address"]) == ("warning", redis.url)
