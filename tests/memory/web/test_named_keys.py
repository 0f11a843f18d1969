"""Named keys: who is let in, under which name, and until when."""

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.config import Config
from claude_openai.errors import ConfigError
from claude_openai.keys.key import iso
from claude_openai.keys.keyring import Keyring
from claude_openai.server import REVOKED_WITHIN_S, _end_revoked
from claude_openai.testing import Hang
from tests.memory.harness import BEGIN, chat, serving
from tests.named_keys import bearer, named_key, secret_of, write_keys
from tests.scripted_backend import full_turn

ADMIN = "key-of-the-server"
ADMIN_BEARER = {"authorization": f"Bearer {ADMIN}"}
ANN, BOB = bearer("ann"), bearer("bob")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))


def change(path: Path, content: str | None = "", mode: int = 0o600) -> None:
    """Change the file in place; None removes it."""
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
        path.chmod(mode)


async def test_each_named_key_and_the_servers_own_is_let_in_and_no_other(path: Path) -> None:
    async with serving(keys_file=path, api_key=ADMIN) as server:
        for headers in (ANN, BOB, ADMIN_BEARER, {"x_api_key": secret_of("ann")}):
            assert (await server.post(chat(), **headers)).status == 200
        for headers in (bearer("eve"), {}, {"authorization": f"Basic {secret_of('ann')}"}):
            answer = await server.post(chat(), **headers)
            assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        assert len(server.backend.turns) == 4


async def test_without_a_key_of_the_server_a_named_key_is_needed_too(path: Path) -> None:
    async with serving(keys_file=path) as server:
        assert (await server.post(chat())).status == 401
        assert (await server.post(chat(), **ANN)).status == 200


async def test_the_name_is_in_the_log_and_the_run_and_the_key_is_not(path: Path) -> None:
    async with serving(keys_file=path, api_key=ADMIN) as server:
        await server.post(chat(), **ANN)
        await server.post(chat(), **ADMIN_BEARER)
        await server.get("/v1/models", **BOB)
        assert [line.get("key") for line in server.logged("http.request")] == ["ann", None, "bob"]
        assert [run.view().key for run in server.runs.all()] == ["ann", None]
        assert secret_of("ann") not in str(server.records)


async def test_metrics_are_for_the_servers_own_key(path: Path) -> None:
    async with serving(keys_file=path, api_key=ADMIN) as server:
        answer = await server.get("/metrics", **ANN)
        assert (answer.status, answer.error()["code"]) == (403, "admin_key_required")
        assert (await server.get("/metrics", **ADMIN_BEARER)).status == 200


async def test_an_expired_key_is_401_and_says_so_in_the_form_of_each_api(tmp_path: Path) -> None:
    at = iso(BEGIN + 60)
    path = write_keys(tmp_path / "keys.json", named_key("ann", expires=at))
    async with serving(keys_file=path) as server:
        assert (await server.post(chat(), **ANN)).status == 200
        await trio.sleep(60)
        answer = await server.post(chat(), **ANN)
        assert (answer.status, answer.error()["code"]) == (401, "expired_api_key")
        assert f"The API key of 'ann' has expired, at {at}" in answer.error()["message"]
        message = {"model": "claude-sonnet", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        answer = await server.post(message, "/v1/messages", x_api_key=secret_of("ann"))
        assert (answer.status, answer.json()["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("wrong", ["wrong", secret_of("expired")])
async def test_a_right_key_counts_beside_a_wrong_one_and_is_the_caller(tmp_path: Path, wrong: str) -> None:
    expired = named_key("expired", expires="2026-11-02T00:00:00Z")
    path = write_keys(tmp_path / "keys.json", named_key("ann"), expired)
    body = {"model": "claude-sonnet", "input": "Hi"}
    async with serving(keys_file=path) as server:
        both = {"authorization": f"Bearer {wrong}", "x_api_key": secret_of("ann")}
        answer = await server.post(body, "/v1/responses", **both)
        assert answer.status == 200
        stored = f"/v1/responses/{answer.json()['id']}"
        assert (await server.get(stored, **ANN)).status == 200


async def test_a_stored_response_is_for_its_key_only(path: Path) -> None:
    async with serving(keys_file=path, api_key=ADMIN) as server:
        answer = await server.post({"model": "claude-sonnet", "input": "Hi"}, "/v1/responses", **ANN)
        stored = f"/v1/responses/{answer.json()['id']}"
        assert (await server.get(stored, **BOB)).status == 404
        assert (await server.get(stored, **ANN)).status == 200


async def test_a_key_is_refused_from_the_request_after_its_revocation_on(path: Path) -> None:
    async with serving(keys_file=path) as server:
        assert (await server.post(chat(), **ANN)).status == 200
        write_keys(path, named_key("bob"))
        answer = await server.post(chat(), **ANN)
        assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        assert (await server.post(chat(), **BOB)).status == 200
        assert [line["keys"] for line in server.logged("keys.read")] == [1]


async def test_a_key_is_let_in_from_the_request_after_its_addition_on(path: Path) -> None:
    async with serving(keys_file=path) as server:
        assert (await server.post(chat(), **bearer("eve"))).status == 401
        write_keys(path, named_key("eve"))
        assert (await server.post(chat(), **bearer("eve"))).status == 200


async def test_the_turns_of_a_revoked_key_are_cancelled_and_no_others(path: Path) -> None:
    async with serving(full_turn(Hang()), keys_file=path, max_concurrency=2) as server:
        clients = [server.connect() for _ in range(3)]
        for client, headers in zip(clients, (ANN, BOB, ANN), strict=True):  # the last one waits for a slot
            await client.post(chat(), **headers)
            await wait_all_tasks_blocked()
        write_keys(path, named_key("bob"))
        server.runs.end_revoked()
        for client in (clients[0], clients[2]):
            answer = await client.answer()
            assert (answer.status, answer.error()["message"]) == (401, "The API key of 'ann' was revoked")
            assert answer.headers["x-should-retry"] == "false"
        assert (server.admission.running, server.admission.queued) == (1, 0)


async def test_a_running_server_ends_the_turns_of_a_revoked_key_within_a_second(path: Path) -> None:
    closing = trio.Event()
    async with serving(full_turn(Hang()), keys_file=path) as server, trio.open_nursery() as nursery:
        nursery.start_soon(_end_revoked, server.runs, closing)
        client = server.connect()
        await client.post(chat(), **ANN)
        await trio.sleep(REVOKED_WITHIN_S * 3 + 0.01)  # just after the loop has looked
        assert server.admission.running == 1
        write_keys(path, named_key("bob"))
        with trio.fail_after(1):
            answer = await client.answer()
        assert (answer.status, answer.error()["message"]) == (401, "The API key of 'ann' was revoked")
        closing.set()


async def test_the_last_good_keys_stay_while_a_changed_file_cannot_be_used(path: Path) -> None:
    async with serving(keys_file=path, expected_errors=["keys.not_read"]) as server:
        for content in ("{", '{"keys": [{"name": "eve"}]}'):
            change(path, content)
            assert (await server.post(chat(), **ANN)).status == 200
        change(path, None)
        assert (await server.post(chat(), **ANN)).status == 200
        assert (await server.post(chat(), **bearer("eve"))).status == 401
        reasons = [line["reason"] for line in server.logged("keys.not_read")]
        assert [reason.partition("keys.json' ")[2][:18] for reason in reasons] == [
            "cannot be used: it", "cannot be used: ke", "does not exist",
        ]  # fmt: skip
        (warning,) = (await server.get("/ready")).json()["warnings"]
        assert warning["reason"] == "keys_not_read"
        assert str(path) not in warning["message"]
        write_keys(path, named_key("bob"))
        assert (await server.post(chat(), **ANN)).status == 401
        assert (await server.get("/ready")).json()["warnings"] == []


async def test_a_file_that_others_may_read_from_now_on_is_reported(path: Path) -> None:
    async with serving(keys_file=path, expected_errors=["keys.not_read"]) as server:
        change(path, "{}", 0o644)
        assert (await server.post(chat(), **ANN)).status == 200
        assert "others may open it (mode 0644)" in server.logged("keys.not_read")[0]["reason"]


async def test_a_server_does_not_start_with_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        Keyring(tmp_path / "none.json")


def test_a_keys_file_is_a_key_for_other_addresses_and_pages(tmp_path: Path) -> None:
    assert Config(host="box.internal", keys_file=tmp_path / "keys.json", cors_origins=("*",)).needs_key
