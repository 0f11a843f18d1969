"""What a named key may use: models, turns at once, dollars of a day."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.testing import Pause
from tests.memory.harness import chat, serving
from tests.memory.web.test_usage import DOLLAR, ESTIMATE, MIDNIGHT_S, Reporting, samples
from tests.named_keys import bearer, named_key, write_keys
from tests.scripted_backend import full_turn

ADMIN = "key-of-the-server"
ADMIN_BEARER = {"authorization": f"Bearer {ADMIN}"}
ANN, BOB = bearer("ann"), bearer("bob")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.mark.parametrize("model", ["haiku", "claude-haiku", "claude-haiku-5-5", "claude-haiku[1m]", "claude"])
async def test_a_model_is_allowed_by_its_name_its_id_or_what_it_stands_for(path: Path, model: str) -> None:
    write_keys(path, named_key("ann", models=("claude-haiku*", "nothing")))
    async with serving(keys_file=path, default_model="haiku") as server:
        assert (await server.post(chat(model=model), **ANN)).status == 200


@pytest.mark.parametrize("model", ["opus", "claude-opus", "claude-opus-5-5", "claude"])
async def test_another_model_is_403_with_the_field_in_each_api(path: Path, model: str) -> None:
    write_keys(path, named_key("ann", models=("claude-haiku*",)), named_key("bob"))
    async with serving(keys_file=path, api_key=ADMIN) as server:
        bodies = {"/v1/chat/completions": chat(), "/v1/responses": {"input": "Hi"}, "/v1/completions": {"prompt": "Hi"}}
        for target, body in bodies.items():
            answer = await server.post({**body, "model": model}, target, **ANN)
            assert (answer.status, answer.error()["code"], answer.error()["param"]) == (
                403, "model_not_allowed", "model",
            )  # fmt: skip
            assert f"The key of 'ann' may not use the model '{model}'; allowed: claude-haiku*" in str(answer.error())
        message = {**chat(), "model": model, "max_tokens": 9}
        answer = await server.post(message, "/v1/messages", **ANN)
        assert (answer.status, answer.json()["error"]["type"]) == (403, "permission_error")
        assert server.backend.turns == []
        for headers in (BOB, ADMIN_BEARER):
            assert (await server.post(chat(model=model), **headers)).status == 200


async def test_the_list_of_models_has_those_that_the_key_may_use(path: Path) -> None:
    write_keys(path, named_key("ann", models=("claude-haiku*", "sonnet")), named_key("bob"))
    async with serving(keys_file=path) as server:
        listed = (await server.get("/v1/models", **ANN)).json()["data"]
        assert [model["id"] for model in listed] == ["claude-sonnet", "claude-haiku"]
        assert len((await server.get("/v1/models", **BOB)).json()["data"]) == 4
        headers = {"anthropic_version": "2023-06-01"}
        listed = (await server.get("/v1/models", **ANN, **headers)).json()["data"]
        assert [model["id"] for model in listed] == ["claude-sonnet", "claude-haiku"]
        assert (await server.get("/v1/models/claude-haiku", **ANN)).status == 200
        answer = await server.get("/v1/models/claude-opus", **ANN)
        assert (answer.status, answer.error()["code"]) == (403, "model_not_allowed")
        assert (await server.get("/v1/models/nothing", **ANN)).status == 404


async def test_more_turns_at_once_than_the_key_may_have_are_429_with_a_wait(path: Path) -> None:
    write_keys(path, named_key("ann", max_concurrency=2), named_key("bob"))
    async with serving(full_turn(Pause(1)), keys_file=path, api_key=ADMIN, max_concurrency=1) as server:
        clients = [server.connect() for _ in range(2)]
        for client in clients:
            await client.post(chat(), **ANN)
            await wait_all_tasks_blocked()
        answer = await server.post(chat(), **ANN)
        assert (answer.status, answer.error()["code"]) == (429, "key_concurrency_exceeded")
        assert (answer.headers["retry-after"], answer.headers["x-claude-openai-started"]) == ("5", "no")
        assert (await server.post(chat(), **BOB)).status == 200
        assert [(await client.answer()).status for client in clients] == [200, 200]
        assert (await server.post(chat(), **ANN)).status == 200
        lines = await samples(server, "requests_rejected_total{", **ADMIN_BEARER)
        assert 'requests_rejected_total{reason="key_limit"} 1.0' in lines


async def test_a_key_whose_dollars_of_the_day_are_used_up_is_429_until_midnight(path: Path) -> None:
    write_keys(path, named_key("ann", max_cost_per_day=2.0), named_key("bob", max_cost_per_day=2.0))
    async with serving(Reporting([DOLLAR]), keys_file=path, api_key=ADMIN) as server:
        assert [(await server.post(chat(), **ANN)).status for _ in range(2)] == [200, 200]
        refused = await server.post(chat(), **ANN)
        assert (refused.status, refused.error()["code"]) == (429, "key_budget_exhausted")
        assert "The key of 'ann' has used $2.00 today, and may use $2 a day" in refused.error()["message"]
        assert refused.headers["retry-after"] == str(MIDNIGHT_S)
        assert refused.headers["x-should-retry"] == "false"
        for headers in (BOB, ADMIN_BEARER):
            assert (await server.post(chat(), **headers)).status == 200
        assert (await server.get("/ready")).json()["ready"]
        lines = await samples(server, "key_", **ADMIN_BEARER)
        assert lines == [
            'key_runs_total{key="ann",status="completed"} 2.0',
            'key_runs_total{key="bob",status="completed"} 1.0',
            'key_cost_usd_total{key="ann"} 2.0',
            'key_cost_usd_total{key="bob"} 1.0',
        ]
        write_keys(path, named_key("ann", max_cost_per_day=5.0))
        assert (await server.post(chat(), **ANN)).status == 200
        write_keys(path, named_key("ann", max_cost_per_day=2.0))
        await trio.sleep(MIDNIGHT_S)
        assert (await server.post(chat(), **ANN)).status == 200


async def test_estimated_dollars_count_for_a_key_and_a_turn_that_waited_is_refused_too(path: Path) -> None:
    write_keys(path, named_key("ann", max_cost_per_day=0.5))
    backend = Reporting([ESTIMATE], script=(Pause(10), *full_turn("ok")), late=True)
    async with serving(backend, keys_file=path, max_concurrency=1) as server:
        clients = [server.connect() for _ in range(2)]
        for client in clients:
            await client.post(chat(), **ANN)
            await wait_all_tasks_blocked()
        first, second = [await client.answer() for client in clients]
        assert (first.status, second.status, second.error()["code"]) == (200, 429, "key_budget_exhausted")
        assert len(server.backend.turns) == 1


async def test_claudes_own_tools_are_403_with_the_field_unless_the_key_has_them(path: Path) -> None:
    write_keys(path, named_key("ann"))
    async with serving(keys_file=path, api_key=ADMIN) as server:
        body = chat(claude={"toolMode": "readonly"})
        answer = await server.post(body, **ANN)
        assert (answer.status, answer.error()["code"], answer.error()["param"]) == (
            403, "tool_mode_not_allowed", "claude.toolMode",
        )  # fmt: skip
        assert server.backend.turns == []


async def test_turns_have_the_name_of_the_key_that_they_are_for(path: Path) -> None:
    write_keys(path, named_key("ann"))
    async with serving(keys_file=path, api_key=ADMIN) as server:
        await server.post(chat(), **ANN)
        await server.post(chat(), **ADMIN_BEARER)
        assert [turn.request.caller for turn in server.backend.turns] == ["ann", ""]
