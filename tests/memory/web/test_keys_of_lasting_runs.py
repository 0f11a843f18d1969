"""Turns that outlive their requests, with named keys: each key finds and joins its own only, and within its limits."""

from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import Pause
from tests.memory.harness import chat, serving
from tests.named_keys import bearer, named_key, write_keys
from tests.scripted_backend import full_turn

PATH = "/v1/responses"
ANN, BOB = bearer("ann"), bearer("bob")
BACKGROUND: dict[str, Any] = {"model": "claude-sonnet", "input": "Hi", "background": True}
ONCE = {"idempotency-key": "once"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))


async def test_response_in_the_background_is_that_of_its_key_only(path: Path) -> None:
    async with serving(full_turn(Pause(5)), keys_file=path) as server:
        target = f"{PATH}/{(await server.post(BACKGROUND, PATH, **ANN)).json()['id']}"
        for method, place in (("GET", target), ("GET", f"{target}?stream=true"), ("DELETE", target)):
            assert (await server.ask(method, place, headers=BOB)).status == 404
        assert (await server.post({}, f"{target}/cancel", **BOB)).status == 404
        (run,) = server.runs.all()
        assert (run.record.key, run.state) == ("ann", "running")
        assert (await server.post({}, f"{target}/cancel", **ANN)).json()["status"] == "cancelled"


async def test_idempotency_key_of_another_key_starts_a_turn_of_its_own(path: Path) -> None:
    async with serving(keys_file=path) as server:
        answers = [await server.post(chat(), **headers, **ONCE) for headers in (ANN, BOB, ANN)]
        assert [answer.status for answer in answers] == [200] * 3
        assert [answer.headers.get("x-claude-openai-joined") for answer in answers] == [None, None, "true"]
        assert [run.record.key for run in server.runs.all()] == ["ann", "bob"]


async def test_kept_answer_is_refused_to_its_key_once_that_may_not_use_the_model(path: Path) -> None:
    async with serving(keys_file=path) as server:
        assert (await server.post(chat(), **ANN, **ONCE)).status == 200
        write_keys(path, named_key("ann", models=("claude-haiku*",)))
        answer = await server.post(chat(), **ANN, **ONCE)
        assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")
        write_keys(path)
        assert (await server.post(chat(), **ANN, **ONCE)).status == 401
