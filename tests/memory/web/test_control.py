"""The control routes: who may use them, what they report of a run, and how they end one."""

from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.protocol.turn.events import ToolCall
from claude_openai.testing import Hang, Pause
from tests.memory.client import Answer
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, full_turn

KEY = "control-key"
BEARER = {"authorization": f"Bearer {KEY}"}
UNKNOWN = "run_" + "0" * 24
CALLING = full_turn(ToolCall("toolu_1", "look", "{}"), finish_reason="tool_calls")
PATHS = ["/control/status", "/control/runs", f"/control/runs/{UNKNOWN}", f"/control/runs/{UNKNOWN}/output"]


@dataclass
class Waiting:
    """A conversation that waits for results."""

    waiting: bool = True
    close_s: float = 0
    closed: int = 0

    async def close(self) -> None:
        self.waiting = False
        await trio.sleep(self.close_s)
        self.closed += 1


async def ask(server: Server, path: str) -> Any:
    answer = await server.get(path, **BEARER)
    assert answer.status == 200, answer.body
    return answer.json()


async def cancel(server: Server, run_id: str) -> Answer:
    return await server.post({}, f"/control/runs/{run_id}/cancel", **BEARER)


async def statuses(server: Server) -> list[str]:
    return [run["status"] for run in (await ask(server, "/control/runs"))["data"]]


@pytest.mark.parametrize("path", PATHS)
async def test_without_any_key_there_are_no_control_routes(path: str) -> None:
    async with serving() as server:
        answer = await server.get(path, **BEARER)
        assert (answer.status, answer.error()["code"]) == (404, "unknown_url")


@pytest.mark.parametrize("path", [*PATHS, f"/control/runs/{UNKNOWN}/cancel"])
@pytest.mark.parametrize("key", ["", "Bearer wrong", f"Basic {KEY}", "Bearer"])
async def test_every_control_route_needs_its_key(path: str, key: str) -> None:
    async with serving(control_key=KEY) as server:
        method = server.post({}, path, authorization=key) if "cancel" in path else server.get(path, authorization=key)
        answer = await method
        assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        assert KEY not in answer.body.decode()


async def test_the_servers_own_key_opens_the_control_routes_and_theirs_opens_nothing_else() -> None:
    async with serving(control_key=KEY, api_key="api-key") as server:
        for key in (KEY, "api-key"):
            assert (await server.get("/control/status", authorization=f"Bearer {key}")).status == 200
        assert (await server.get("/v1/models", **BEARER)).status == 401
    async with serving(api_key="api-key") as server:
        assert (await server.get("/control/status", authorization="Bearer api-key")).status == 200


async def test_a_web_page_cannot_use_them_even_with_the_key() -> None:
    async with serving(control_key=KEY) as server:
        answer = await server.get("/control/runs", origin="http://evil.example", **BEARER)
        assert (answer.status, answer.error()["code"]) == (403, "origin_not_allowed")
        answer = await server.get("/control/runs", sec_fetch_site="cross-site", **BEARER)
        assert answer.status == 403


@pytest.mark.parametrize("run_id", ["..", "%2e%2e%2fx", "..%2F..%2Fetc%2Fpasswd", "run_", "run_" + "g" * 24, "x" * 500])
@pytest.mark.parametrize("end", ["", "/output"])
async def test_a_bad_id_is_refused(run_id: str, end: str) -> None:
    async with serving(control_key=KEY) as server:
        answer = await server.get(f"/control/runs/{run_id}{end}", **BEARER)
        assert answer.status in (400, 404)
        assert answer.error()["type"] == "invalid_request_error"


async def test_a_run_that_is_not_known_is_404() -> None:
    async with serving(control_key=KEY) as server:
        for answer in (
            await server.get(f"/control/runs/{UNKNOWN}", **BEARER),
            await server.get(f"/control/runs/{UNKNOWN}/output", **BEARER),
            await cancel(server, UNKNOWN),
        ):
            assert (answer.status, answer.error()["code"]) == (404, "run_not_found")


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "9" * 5000])
async def test_a_bad_limit_is_refused(limit: str) -> None:
    async with serving(control_key=KEY) as server:
        answer = await server.get(f"/control/runs?limit={limit}", **BEARER)
        assert (answer.status, answer.error()["param"]) == (400, "limit")


async def test_every_answer_names_its_run_and_the_run_is_listed() -> None:
    async with serving(full_turn("Hel", Pause(2), "lo"), control_key=KEY, cors_origins=("http://page",)) as server:
        whole = await server.post(chat("Hi", model="claude-opus"), origin="http://page")
        assert "x-claude-openai-run" in whole.headers["access-control-expose-headers"]
        streamed = await server.post(chat(stream=True))
        newest, oldest = (await ask(server, "/control/runs"))["data"]
        assert (newest["id"], oldest["id"]) == tuple(a.headers["x-claude-openai-run"] for a in (streamed, whole))
        assert oldest | {"id": "", "started_at": "", "ended_at": ""} == {
            "id": "",
            "status": "completed",
            "backend": "scripted",
            "model": "claude-opus",
            "key": None,
            "conversation": "new",
            "started_at": "",
            "ended_at": "",
            "waiting_for": None,
            "waited_ms": 0,
            "duration_ms": 2000,
            "usage": whole.json()["usage"],
            "cost_usd": None,
            "estimated_usd": None,
            "cache": {"conversation": oldest["id"], "read_share": 0.0, "lost_tokens": 0, "causes": []},
            "error": None,
        }
        assert await ask(server, f"/control/runs/{oldest['id']}") == oldest
        assert [run["id"] for run in (await ask(server, "/control/runs?limit=1"))["data"]] == [newest["id"]]
        answer = await server.get(f"/control/runs/{oldest['id']}/output", **BEARER)
        assert (answer.status, answer.error()["code"]) == (404, "run_not_captured")


async def test_failed_run_is_listed_with_its_reason() -> None:
    async with serving(full_turn(Hang()), control_key=KEY, process_timeout_ms=5000) as server:
        answer = await server.post(chat())
        assert answer.status == 504
        run = await ask(server, f"/control/runs/{answer.headers['x-claude-openai-run']}")
        assert (run["status"], run["error"], run["usage"]) == ("failed", answer.error(), None)
        kept = server.runs.get(run["id"])
        assert kept is not None
        assert kept.error is None  # its traceback would hold the request


async def test_running_and_queued_runs_are_listed_and_can_be_cancelled() -> None:
    backend = ScriptedBackend(full_turn("Hel", Hang()), cleanup_s=2)
    async with serving(backend, control_key=KEY, max_concurrency=1) as server:
        running = await server.streaming()
        await running.until_text("Hel")
        queued = server.connect()
        await queued.post(chat())
        await wait_all_tasks_blocked()
        assert await statuses(server) == ["queued", "running"]
        assert await ask(server, "/control/status") == {"running": 1, "queued": 1, "parked": 0}
        second, first = (run["id"] for run in (await ask(server, "/control/runs"))["data"])

        answer = await cancel(server, second)
        assert (answer.status, answer.json()["status"]) == (200, "cancelled")
        refused = await queued.answer()
        assert (refused.status, refused.error()["code"]) == (410, "run_cancelled")
        assert refused.headers["x-should-retry"] == "false"
        assert refused.headers["x-claude-openai-run"] == second
        assert len(backend.turns) == 1

        answer = await cancel(server, first)
        assert trio.current_time() == 2  # its process is gone
        assert (answer.status, answer.json()["status"]) == (200, "cancelled")
        error, done = await running.events()
        assert error == {"error": {**answer.json()["error"]}}
        assert (error["error"]["type"], done) == ("cancelled_error", "[DONE]")
        assert await statuses(server) == ["cancelled", "cancelled"]
        assert (await cancel(server, first)).status == 409


async def test_disconnect_cancels_the_run_without_an_error() -> None:
    async with serving(full_turn("Hel", Hang()), control_key=KEY) as server:
        client = await server.streaming()
        await client.until_text("Hel")
        client.leave()
        await wait_all_tasks_blocked()
        (run,) = (await ask(server, "/control/runs"))["data"]
        assert (run["status"], run["error"]) == ("cancelled", None)


async def test_a_run_is_parked_until_its_conversation_waits_no_more() -> None:
    backend = ScriptedBackend(CALLING)
    waiting = backend.parked = Waiting()
    async with serving(backend, control_key=KEY) as server:
        await server.post(chat())
        assert await statuses(server) == ["parked"]
        assert (await ask(server, "/control/status"))["parked"] == 1
        waiting.waiting = False  # the results came, or it expired
        assert await statuses(server) == ["completed"]
        (run,) = (await ask(server, "/control/runs"))["data"]
        assert (await cancel(server, run["id"])).error()["code"] == "run_ended"
        assert waiting.closed == 0


async def test_cancelling_a_parked_run_ends_its_conversation() -> None:
    backend = ScriptedBackend(CALLING)
    waiting = backend.parked = Waiting(close_s=2)
    async with serving(backend, control_key=KEY) as server:
        run_id = (await server.post(chat())).headers["x-claude-openai-run"]
        answer = await cancel(server, run_id)
        assert (answer.status, waiting.closed, trio.current_time()) == (200, 1, 2)
        assert answer.json()["error"]["code"] == "run_cancelled"
        assert await statuses(server) == ["cancelled"]
        assert (await cancel(server, run_id)).status == 409


async def test_a_run_whose_process_is_still_ending_has_ended() -> None:
    backend = ScriptedBackend(cleanup_s=2)
    async with serving(backend, control_key=KEY) as server:
        run_id = (await server.post(chat())).headers["x-claude-openai-run"]
        assert (await cancel(server, run_id)).status == 409
        assert backend.turns[0].outcome == "returned"


async def test_old_runs_are_forgotten() -> None:
    async with serving(kept_runs=2, control_key=KEY) as server:
        ids = [(await server.post(chat())).headers["x-claude-openai-run"] for _ in range(3)]
        assert [run["id"] for run in (await ask(server, "/control/runs"))["data"]] == [ids[2], ids[1]]
        assert (await server.get(f"/control/runs/{ids[0]}", **BEARER)).status == 404
