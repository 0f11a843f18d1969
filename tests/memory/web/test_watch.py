"""`GET /control/watch`: what it shows of the runs, when, to how many, and what it costs a run."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.claude.backend import ClaudeProcess, WaitingConversation
from claude_openai.errors import BadRequest, UpstreamError
from claude_openai.protocol.turn.events import ReasoningDelta, TextDelta, ToolCall, TurnFailed
from claude_openai.runs import watch as watch_module
from claude_openai.testing import Hang, Pause
from tests.memory.client import Client
from tests.memory.harness import Server, chat, serving
from tests.scripted_backend import ScriptedBackend, full_turn

KEY = "control-key"
BEARER = {"authorization": f"Bearer {KEY}"}
STATE = ["ready", "login", "slots", "processes", "memory_mb", "conversations", "usage", "limits", "overage"]
STATE += ["refusing", "problem", "counts", "errors"]


class Watcher:
    """One client of the stream, which merges the updates as the contract says."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.server: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.frames: list[dict[str, Any]] = []
        self.at: list[float] = []

    async def next(self) -> dict[str, Any] | None:
        """Take the next frame; None at the end of the stream."""
        frame = await self.client.event()
        if frame is None:
            return None
        assert isinstance(frame, dict)
        self.frames.append(frame)
        self.at.append(trio.current_time())
        if "server" in frame:
            self.server, self.state, self.runs = frame["server"], frame["state"], {}
        else:
            self.state |= frame.get("state", {})
        self.runs |= {run["id"]: run for run in frame["runs"]}
        return frame

    async def until(self, status: str) -> dict[str, Any]:
        """Take frames until a run has this status, and return the run."""
        while not (found := [run for run in self.runs.values() if run["status"] == status]):
            assert await self.next() is not None
        return found[0]

    @property
    def types(self) -> list[str]:
        return self.client._sse.types


async def watching(server: Server, capacity: float = float("inf")) -> Watcher:
    client = server.connect(capacity)
    await client.send("GET", "/control/watch", headers=BEARER)
    status, headers = await client.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    watcher = Watcher(client)
    await watcher.next()
    return watcher


async def test_the_first_frame_has_the_server_its_state_and_the_runs_newest_first() -> None:
    async with serving(control_key=KEY) as server:
        for _ in range(3):
            await server.post(chat(), user_agent="OpenAI/Python 2.54.0")
        watcher = await watching(server)
        assert watcher.types == ["snapshot"]
        assert watcher.server.keys() == {"version", "backend", "pid", "started_at"}
        assert sorted(watcher.state) == sorted(STATE)
        assert watcher.state["counts"] == {"running": 0, "queued": 0, "parked": 0}
        assert watcher.state["ready"] == {"ready": True, "reasons": [], "warnings": []}
        assert watcher.state["slots"]["max_concurrency"] > 0
        started = [run["started_at"] for run in watcher.frames[0]["runs"]]
        assert started == sorted(started, reverse=True)
        for run in watcher.runs.values():
            assert (run["status"], run["client"], run["text"], run["hint"]) == ("completed", "OpenAI/Python", "ok", "")
            assert run["ttft_ms"] is not None


async def test_the_snapshot_is_not_repeated_by_an_update() -> None:
    async with serving(control_key=KEY) as server:
        await server.post(chat())
        watcher = await watching(server)
        with trio.move_on_after(10):
            await watcher.next()
        assert len(watcher.frames) == 1


async def test_a_run_appears_at_once_and_its_text_grows_to_its_end() -> None:
    script = full_turn("Hel", Pause(1), "lo", Pause(1))
    async with serving(script, control_key=KEY) as server:
        watcher = await watching(server)
        await trio.sleep(5)
        began = trio.current_time()
        stream = await server.streaming()
        run = await watcher.until("running")
        assert watcher.at[-1] - began < 0.3
        texts = [run["text"]]
        while run["status"] == "running":
            assert await watcher.next() is not None
            run = watcher.runs[run["id"]]
            texts.append(run["text"])
        assert sorted({*texts}) == ["", "Hel", "Hello"] or sorted({*texts}) == ["Hel", "Hello"]
        assert run["usage"]["completion_tokens"] == 5
        assert watcher.types == ["snapshot", *["update"] * (len(watcher.frames) - 1)]
        await stream.events()


async def test_only_the_end_of_a_long_answer_is_shown() -> None:
    async with serving(full_turn(*["x"] * 1000, "the end"), control_key=KEY) as server:
        await server.post(chat())
        (run,) = (await watching(server)).runs.values()
        assert len(run["text"]) == 400
        assert run["text"].endswith("xthe end")


async def test_a_fast_stream_makes_five_updates_a_second_and_loses_nothing() -> None:
    steps = [step for _ in range(200) for step in (TextDelta("x"), Pause(0.01))]
    async with serving(full_turn(*steps), control_key=KEY) as server:
        watcher = await watching(server)
        answer = server.connect()
        await answer.post(chat(stream=True))
        run = await watcher.until("completed")
        while len(run["text"]) < 200:
            await watcher.next()
            run = watcher.runs[run["id"]]
        gaps = [later - earlier for earlier, later in zip(watcher.at[1:], watcher.at[2:], strict=False)]
        assert min(gaps) >= 0.2 - 1e-6
        assert 8 <= len(gaps) <= 13


async def test_an_update_has_only_what_changed() -> None:
    async with serving(control_key=KEY) as server:
        await server.post(chat())
        watcher = await watching(server)
        before = {*watcher.runs}
        await server.post(chat())
        while "completed" not in [run["status"] for name, run in watcher.runs.items() if name not in before]:
            await watcher.next()
        updates = watcher.frames[1:]
        assert all(before.isdisjoint(run["id"] for run in update["runs"]) for update in updates)
        assert all("usage" not in update.get("state", {}) for update in updates)


async def test_one_computation_and_one_encoding_serve_all_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    for name in ("_view", "_advance"):
        monkeypatch.setattr(watch_module.Watch, name, counted(getattr(watch_module.Watch, name), calls, name))
    async with serving(control_key=KEY) as server:
        watchers = [await watching(server) for _ in range(20)]
        await server.post(chat())
        async with trio.open_nursery() as nursery:
            for watcher in watchers:
                nursery.start_soon(watcher.until, "completed")
        assert calls["_view"] <= 4
        assert calls["_advance"] <= 6
        assert len({json.dumps(watcher.frames[-1]) for watcher in watchers}) == 1


async def test_changes_that_are_not_shown_are_looked_at_five_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    monkeypatch.setattr(watch_module.Watch, "_advance", counted(watch_module.Watch._advance, calls, "_advance"))
    steps = [step for _ in range(200) for step in (ReasoningDelta("x"), Pause(0.01))]
    async with serving(full_turn(*steps), control_key=KEY) as server:
        watcher = await watching(server)
        await server.post(chat())
        await watcher.until("completed")
        assert 8 <= calls["_advance"] <= 14


def counted(method: Callable[..., Any], calls: Counter[str], name: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        calls[name] += 1
        return method(*args)

    return call


async def test_many_watchers_get_fewer_updates() -> None:
    steps = [step for _ in range(100) for step in (TextDelta("x"), Pause(0.1))]
    async with serving(full_turn(*steps), control_key=KEY) as server:
        watchers = [await watching(server) for _ in range(50)]
        answer = server.connect()
        await answer.post(chat(stream=True))
        async with trio.open_nursery() as nursery:
            for watcher in watchers:
                nursery.start_soon(watcher.until, "completed")
        assert all(len(watcher.frames) <= 14 for watcher in watchers)


async def test_without_a_watcher_nothing_is_collected() -> None:
    async with serving(control_key=KEY) as server:
        await server.post(chat())
        assert not server.runs.changes._ids
        watcher = await watching(server)
        await server.post(chat())
        watcher.client.leave()
        await trio.sleep(5)
        assert server.runs.changes.watchers == 0
        await server.post(chat())
        assert not server.runs.changes._ids


async def test_a_watcher_that_does_not_read_delays_no_run_and_gets_a_snapshot_later() -> None:
    steps = [step for n in range(100) for step in (TextDelta(f"{n:0>400}"), Pause(0.3))]
    async with serving(full_turn(*steps), control_key=KEY, stall_timeout_ms=3_600_000) as server:
        slow, quick = await watching(server, capacity=2000), await watching(server)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(quick.until, "completed")
            await server.post(chat())
        assert trio.current_time() - began == pytest.approx(30, abs=0.1)
        assert quick.types.count("update") > 90
        await slow.until("completed")
        assert len(slow.frames) < 20
        assert "snapshot" in slow.types[1:]


async def test_a_watcher_that_is_alone_and_slow_gets_one_update_for_all_that_it_missed() -> None:
    steps = [step for n in range(100) for step in (TextDelta(f"{n:0>400}"), Pause(0.3))]
    async with serving(full_turn(*steps), control_key=KEY, stall_timeout_ms=3_600_000) as server:
        slow = await watching(server, capacity=2000)
        await server.post(chat())
        await slow.until("completed")
        assert len(slow.frames) < 20


async def test_a_silent_stream_has_comments() -> None:
    async with serving(control_key=KEY) as server:
        watcher = await watching(server)
        await watcher.client.comment()
        await watcher.client.comment()
        assert trio.current_time() == pytest.approx(30, abs=1)


async def test_the_stream_ends_when_the_server_drains_and_takes_no_slot() -> None:
    async with serving(control_key=KEY, max_concurrency=1, max_queue_size=0) as server:
        watcher = await watching(server)
        assert (await server.post(chat())).status == 200
        with trio.move_on_after(5):
            await watcher.until("never")
        drained_at = trio.current_time()
        server.admission.draining = True
        while await watcher.next() is not None:
            pass
        assert trio.current_time() < drained_at + 0.3
        await wait_all_tasks_blocked()
        assert server.runs.changes.watchers == 0


async def test_prompts_and_quotes_of_them_are_never_shown() -> None:
    async with serving(control_key=KEY) as server:
        watcher = await watching(server)
        await server.post(chat("the secret prompt"))
        refused = await server.post({**chat(), "reasoning_effort": "the secret value"})
        assert "the secret value" in refused.body.decode()
        await watcher.until("completed")
        while not watcher.state["errors"]:
            await watcher.next()
        assert "secret" not in json.dumps(watcher.frames)
        (error,) = watcher.state["errors"]
        assert error["message"] == "The field reasoning_effort is invalid"


async def test_the_error_of_a_run_quotes_no_field_of_its_request() -> None:
    failed = (TurnFailed(BadRequest("Invalid picture: the secret value", param="messages[0].content")),)
    async with serving(failed, control_key=KEY) as server:
        await server.post(chat())
        watcher = await watching(server)
        (run,) = watcher.runs.values()
        assert run["error"]["message"] == "The field messages[0].content is invalid"
        assert "secret" not in json.dumps(watcher.frames)


async def test_failed_turns_and_refused_requests_are_errors_with_their_hint_for_an_hour() -> None:
    failed = (TurnFailed(UpstreamError("Claude Code died", hint="Look at the log.")),)
    async with serving(failed, control_key=KEY, api_key="api-key") as server:
        watcher = await watching(server)
        await server.post(chat(), authorization="Bearer api-key")
        run = await watcher.until("failed")
        for _ in range(3):
            await server.post(chat(), authorization="Bearer wrong")
        while len(watcher.state["errors"]) < 2 or watcher.state["errors"][0]["count"] < 3:
            await watcher.next()
        refused, died = watcher.state["errors"]
        assert (refused["code"], refused["run"], refused["count"]) == ("invalid_api_key", "", 3)
        assert (died["code"], died["run"]) == ("upstream_error", run["id"])
        assert (died["message"], died["hint"]) == ("Claude Code died", "Look at the log.")
        assert run["hint"] == "Look at the log."
        assert watcher.state["errors"] == server.runs.errors.to_json(died["at"] + 3599)
        assert server.runs.errors.to_json(refused["at"] + 3601) == []


async def test_a_run_that_no_longer_waits_for_results_is_updated() -> None:
    class Parked:
        waiting = True

        async def close(self) -> None:
            self.waiting = False
            await trio.lowlevel.checkpoint()

    script = full_turn(ToolCall("toolu_1", "look", "{}"), finish_reason="tool_calls")
    async with serving(script, control_key=KEY) as server:
        server.backend.parked = parked = Parked()
        watcher = await watching(server)
        await server.post(chat())
        run = await watcher.until("parked")
        parked.waiting = False
        server.runs.changes.wake()
        while watcher.runs[run["id"]]["status"] == "parked":
            await watcher.next()
        assert watcher.runs[run["id"]]["status"] == "completed"


class Keeping(ScriptedBackend):
    """A backend with conversations that wait."""

    waiting: list[WaitingConversation]

    def __init__(self) -> None:
        super().__init__()
        self.waiting = [WaitingConversation("c-1", "idle", "claude-x", 4, 100.0)]

    def conversations(self) -> list[WaitingConversation]:
        return self.waiting

    def processes(self) -> list[ClaudeProcess]:
        return [ClaudeProcess("idle", 90) for _ in self.waiting]

    async def close_conversation(self, conversation: str) -> bool:
        await trio.lowlevel.checkpoint()
        found = [each for each in self.waiting if each.id == conversation]
        self.waiting = [each for each in self.waiting if each.id != conversation]
        return bool(found)


async def test_a_waiting_conversation_is_shown_and_can_be_closed() -> None:
    async with serving(Keeping(), control_key=KEY) as server:
        watcher = await watching(server)
        assert watcher.state["conversations"] == [
            {"id": "c-1", "phase": "idle", "model": "claude-x", "messages": 4, "since": 100}
        ]
        assert watcher.state["processes"] == [{"kind": "idle", "memory_mb": 90}]
        assert (await server.post({}, "/control/conversations/c-1/close")).status == 401
        closed = await server.post({}, "/control/conversations/c-1/close", **BEARER)
        assert closed.json() == {"id": "c-1", "closed": True}
        while watcher.state["conversations"]:
            await watcher.next()
        again = await server.post({}, "/control/conversations/c-1/close", **BEARER)
        assert (again.status, again.error()["code"]) == (404, "conversation_not_found")


@pytest.mark.parametrize("key", ["", "Bearer wrong"])
async def test_the_stream_needs_the_key(key: str) -> None:
    async with serving(control_key=KEY) as server:
        answer = await server.get("/control/watch", authorization=key)
        assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")


async def test_a_snapshot_has_only_the_newest_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "MAX_RUNS", 10)
    monkeypatch.setattr(watch_module, "BATCH", 3)
    async with serving(control_key=KEY) as server:
        for _ in range(15):
            await server.post(chat())
        watcher = await watching(server)
        assert [*watcher.runs] == [run.id for run in reversed(server.runs.all())][:10]


async def test_a_watcher_that_leaves_while_a_frame_is_made_loses_nothing_for_the_others() -> None:
    async with serving(full_turn("a", Hang()), control_key=KEY, max_concurrency=100) as server:
        first, second = await watching(server), await watching(server)
        clients = [server.connect() for _ in range(60)]
        for client in clients:
            await client.post(chat(stream=True))
        await server.backend.wait_for_turn(60)
        first.client.leave()
        while len([run for run in second.runs.values() if run["text"] == "a"]) < 60:
            await second.next()
        for client in clients:
            client.leave()
        await wait_all_tasks_blocked()


async def test_a_frame_is_one_line_of_ascii_whatever_the_text() -> None:
    text = "a\u2028b\nc\r\nd 🦙 \ud83e"
    async with serving(full_turn(text), control_key=KEY) as server:
        await server.post(chat())
        client = server.connect()
        await client.send("GET", "/control/watch", headers=BEARER)
        await client.head()
        part = await client.next_event()
        name, data, end = bytes(part.data).decode("ascii").splitlines()
        assert (name, end) == ("event: snapshot", "")
        assert json.loads(data.removeprefix("data: "))["runs"][0]["text"] == text
