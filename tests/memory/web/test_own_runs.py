"""A named key sees and cancels its own runs, on the control routes and on the page; the server's own key all."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import UpstreamError
from claude_openai.protocol.turn.events import TurnFailed
from claude_openai.testing import Hang
from tests.memory.harness import Server, chat, serving
from tests.memory.web.test_page import credentials, log_in
from tests.memory.web.test_usage import DOLLAR, HIGH, Reporting
from tests.memory.web.test_watch import STATE, Watcher, watching
from tests.named_keys import bearer, named_key, secret_of, write_keys
from tests.scripted_backend import ScriptedBackend, full_turn

ADMIN, CONTROL = "key-of-the-server", "control-key"
ADMIN_BEARER, CONTROL_BEARER = ({"authorization": f"Bearer {key}"} for key in (ADMIN, CONTROL))
ANN, BOB = bearer("ann"), bearer("bob")
KEYS: dict[str, Any] = {"api_key": ADMIN, "control_key": CONTROL}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_keys(tmp_path / "keys.json", named_key("ann"), named_key("bob"))


async def started(server: Server, *names: str) -> list[str]:
    """Start a run with each of these keys; return their ids."""
    for name in names:
        await server.connect().post(chat(), **bearer(name))
        await wait_all_tasks_blocked()
    return [run.id for run in server.runs.all()]


async def ids(server: Server, headers: dict[str, str]) -> set[str]:
    answer = await server.get("/control/runs", **headers)
    assert answer.status == 200
    return {run["id"] for run in answer.json()["data"]}


async def test_a_key_lists_shows_and_cancels_its_own_runs_only(path: Path) -> None:
    async with serving(full_turn(Hang()), keys_file=path, **KEYS) as server:
        of_ann, of_bob = await started(server, "ann", "bob")
        assert [await ids(server, headers) for headers in (ANN, BOB)] == [{of_ann}, {of_bob}]
        for headers in (ADMIN_BEARER, CONTROL_BEARER):
            assert await ids(server, headers) == {of_ann, of_bob}
        assert (await server.get(f"/control/runs/{of_ann}", **ANN)).json()["key"] == "ann"
        for target in (f"/control/runs/{of_bob}", f"/control/runs/{of_bob}/output"):
            answer = await server.get(target, **ANN)
            assert (answer.status, answer.error()["code"]) == (404, "run_not_found")
        answer = await server.get(f"/control/runs/{of_ann}/output", **ANN)
        assert (answer.status, answer.error()["code"]) == (404, "run_not_captured")
        answer = await server.post({}, f"/control/runs/{of_bob}/cancel", **ANN)
        assert (answer.status, answer.error()["code"]) == (404, "run_not_found")
        assert (await server.get("/control/status", **ANN)).json() == {"running": 1, "queued": 0, "parked": 0}
        assert (await server.get("/control/status", **ADMIN_BEARER)).json()["running"] == 2
        assert (await server.post({}, f"/control/runs/{of_ann}/cancel", **ANN)).json()["status"] == "cancelled"
        assert (await server.post({}, f"/control/runs/{of_bob}/cancel", **ADMIN_BEARER)).json()["status"] == "cancelled"


async def test_wrong_expired_and_revoked_keys_have_no_control_routes(path: Path) -> None:
    write_keys(path, named_key("ann"), named_key("old", expires="2026-11-02T00:00:00Z"))
    async with serving(keys_file=path, **KEYS) as server:
        assert (await server.get("/control/runs", **ANN)).status == 200
        assert (await server.get("/control/runs", **bearer("eve"))).status == 401
        answer = await server.get("/control/runs", **bearer("old"))
        assert (answer.status, answer.error()["code"]) == (401, "expired_api_key")
        write_keys(path)
        assert (await server.get("/control/runs", **ANN)).status == 401


@pytest.mark.parametrize("target", ["/control/tickets", "/control/conversations/some/close"])
async def test_tickets_and_the_conversations_of_all_are_for_the_servers_own_key(path: Path, target: str) -> None:
    async with serving(keys_file=path, **KEYS) as server:
        answer = await server.post({}, target, **ANN)
        assert (answer.status, answer.error()["code"]) == (403, "admin_key_required")
        page = await credentials(server, key=secret_of("ann"))
        assert (await server.post({}, target, **page)).status == 403
        assert (await server.post({}, target, **ADMIN_BEARER)).status in (200, 404)


async def test_usage_has_what_the_key_used_and_its_own_limits(path: Path) -> None:
    write_keys(path, named_key("ann", max_cost_per_day=2.0), named_key("bob"))
    async with serving(Reporting([DOLLAR, HIGH]), keys_file=path, **KEYS) as server:
        for headers in (ANN, ANN, BOB):
            await server.post(chat(), **headers)
        for target in ("/v1/usage", "/control/usage"):
            usage = (await server.get(target, **ANN)).json()
            assert [group["key"] for group in usage["today"]["by_key"]] == ["ann"]
            assert (usage["today"]["cost_usd"], usage["limits"]["max_cost_per_day_usd"]) == (2.0, 2.0)
            assert usage["refusing"].startswith("The key of 'ann' has used $2.00 today")
            usage = (await server.get(target, **ADMIN_BEARER)).json()
            assert (usage["today"]["cost_usd"], usage["refusing"]) == (3.0, None)


async def watching_as(server: Server, headers: dict[str, str]) -> Watcher:
    client = server.connect()
    await client.send("GET", "/control/watch", headers={name.replace("_", "-"): v for name, v in headers.items()})
    assert (await client.head())[0] == 200
    watcher = Watcher(client)
    await watcher.next()
    return watcher


async def test_a_key_watches_its_own_runs_and_of_the_rest_the_state_of_the_server_only(path: Path) -> None:
    failing = (TurnFailed(UpstreamError("of somebody")),)
    backend = ScriptedBackend(lambda request: full_turn(Hang()) if request.caller == "ann" else failing)
    async with serving(backend, keys_file=path, api_key=ADMIN, control_key=CONTROL) as server:
        assert (await server.post(chat(), **BOB)).status == 502
        mine, everything = await watching_as(server, ANN), await watching(server)
        assert (mine.runs, len(everything.runs)) == ({}, 1)
        assert set(mine.state) == set(everything.state) == set(STATE)
        assert (mine.state["errors"], len(everything.state["errors"])) == ([], 1)
        assert (mine.state["usage"], mine.state["conversations"]) == ({}, [])
        assert mine.state["ready"]["ready"]
        assert (await server.post(chat(), **BOB)).status == 502
        of_ann = (await started(server, "ann"))[-1]
        assert (await mine.until("running"))["id"] == of_ann
        assert set(mine.runs) == {of_ann}
        assert mine.state["counts"] == {"running": 1, "queued": 0, "parked": 0}
        assert "somebody" not in str(mine.frames)
        await server.post({}, f"/control/runs/{of_ann}/cancel", **ANN)
        await mine.until("cancelled")
        await everything.until("cancelled")
        assert len(everything.runs) == 3


async def test_the_stream_of_a_watcher_ends_with_its_key(path: Path) -> None:
    async with serving(keys_file=path, **KEYS) as server:
        page = {
            name.replace("_", "-"): value for name, value in (await credentials(server, key=secret_of("ann"))).items()
        }
        watchers = [await watching_as(server, headers) for headers in (ANN, page)]
        other = await watching_as(server, BOB)
        write_keys(path, named_key("bob"))
        server.runs.end_revoked()
        with trio.fail_after(1):
            for watcher in watchers:
                while await watcher.next() is not None:
                    pass
        await server.post(chat(), **BOB)
        await other.until("completed")


async def test_a_page_that_logs_in_with_a_named_key_sees_its_runs_until_the_key_is_revoked(path: Path) -> None:
    async with serving(full_turn(Hang()), keys_file=path, control_key=CONTROL) as server:
        assert (await log_in(server, {})).json() == {"login": "key"}
        of_ann, of_bob = await started(server, "ann", "bob")
        page = await credentials(server, key=secret_of("ann"))
        assert await ids(server, page) == {of_ann}
        assert (await server.post({}, f"/control/runs/{of_bob}/cancel", **page)).status == 404
        all_of_them = await credentials(server, key=CONTROL)
        assert await ids(server, all_of_them) == {of_ann, of_bob}
        write_keys(path, named_key("bob"))
        assert (await server.get("/control/runs", **page)).status == 401
        assert (await log_in(server, {"key": secret_of("ann")})).status == 401
        assert await ids(server, all_of_them) == {of_ann, of_bob}
