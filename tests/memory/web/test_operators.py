"""What an operator sees of the server: /health, /ready, /version, /metrics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import trio
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import wait_all_tasks_blocked

from claude_openai import __version__
from claude_openai.errors import QueueFull, ShuttingDown, UpstreamAuth, UpstreamError
from claude_openai.protocol.turn.events import (
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.turn.reports import AccountLimits, Window
from claude_openai.runs.registry import LOGIN_DOUBT_S
from claude_openai.testing import Hang, Pause
from claude_openai.web.readiness import PLAN_DOUBT_S
from tests.memory.harness import BEGIN, Server, chat, serving
from tests.scripted_backend import Crash, ScriptedBackend, TurnStep, full_turn

KEY = "a-key"
REFUSED = (TurnFailed(UpstreamAuth("Run `/home/me/bin/claude auth login`.")),)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class BackendWithout(ScriptedBackend):
    """A backend without a program, with some numbers in its status."""

    found = False
    version: Mapping[str, Any] = {}

    def status(self) -> Mapping[str, Any]:
        return {"claude": {"found": self.found, **self.version}}

    def counts(self) -> Mapping[str, int]:
        return {"processes": 5, "spares": 1, "idle": 2, "parked": 3}


@dataclass
class Scrape:
    """The samples of one answer."""

    samples: Samples

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of a sample; None if there is none."""
        return self.samples.get((f"claude_openai_{name}", frozenset(labels.items())))


async def scrape(server: Server, **headers: str) -> Scrape:
    answer = await server.get("/metrics", **headers)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.body.decode()))
    assert all(family.name.startswith("claude_openai_") and family.documentation for family in families)
    return Scrape(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
    )


async def reasons(server: Server, key: str = "reasons") -> list[str]:
    """What /ready says; the words only."""
    answer = await server.get("/ready")
    report = answer.json()
    assert (answer.status, set(report)) == (
        503 if report["reasons"] else 200,
        {"ready", "reasons", "warnings", "slots"},
    )
    assert report["ready"] is (answer.status == 200)
    for each in (*report["reasons"], *report["warnings"]):
        assert set(each) == {"reason", "message"}
        assert each["message"].endswith(".")
    assert "/home" not in answer.body.decode()
    return [each["reason"] for each in report[key]]


async def warnings(server: Server) -> list[str]:
    """The warnings of /ready, of a server that is ready."""
    assert await reasons(server) == []
    return await reasons(server, "warnings")


async def test_a_server_that_could_take_a_turn_is_ready() -> None:
    async with serving() as server:
        assert await reasons(server) == []
        await server.post(chat())
        assert await reasons(server) == []


async def test_free_slots_are_those_that_a_next_turn_would_get_at_once() -> None:
    async with serving(full_turn(Pause(1)), max_concurrency=2) as server:

        async def slots() -> dict[str, int]:
            found: dict[str, int] = (await server.get("/ready")).json()["slots"]
            return found

        assert await slots() == {"total": 2, "free": 2, "queued": 0}
        clients = []
        for expected in ({"free": 1, "queued": 0}, {"free": 0, "queued": 0}, {"free": 0, "queued": 1}):
            clients.append(server.connect())
            await clients[-1].post(chat())
            await wait_all_tasks_blocked()
            assert await slots() == {"total": 2, **expected}
        for client in clients:
            await client.answer()


async def test_draining_server_is_not_ready() -> None:
    async with serving() as server:
        server.admission.draining = True
        assert await reasons(server) == ["draining"]
        assert (await server.get("/health")).status == 200


async def test_one_without_claude_code_is_not_until_there_is_one() -> None:
    backend = BackendWithout()
    async with serving(backend) as server:
        assert await reasons(server) == ["no_cli"]
        assert (await server.get("/health")).status == 200
        backend.found = True
        assert await reasons(server) == []


async def test_old_claude_code_is_a_warning_and_one_that_is_too_old_is_not_ready() -> None:
    backend = BackendWithout()
    backend.found = True
    async with serving(backend) as server:
        assert await warnings(server) == []
        backend.version = {"outdated": "Claude Code 2.1.200 is older than 2.1.285", "too_old": False}
        assert await warnings(server) == ["cli_outdated"]
        backend.version = {"outdated": "Claude Code 2.1.100 is too old", "too_old": True}
        assert await reasons(server) == ["cli_too_old"]


async def test_used_up_plan_is_not_ready_until_it_resets_or_may_have_changed() -> None:
    async with serving() as server:
        ledger = server.runs.ledger
        ledger.note_limits(AccountLimits({"seven_day_opus": Window(1.0, BEGIN + 1000, "rejected")}, "rejected"))
        assert await warnings(server) == ["limit_high"]  # it is for one model
        used_up = AccountLimits({"five_hour": Window(1.0, BEGIN + 200, "rejected")}, "rejected")
        ledger.note_limits(used_up)
        assert await reasons(server) == ["plan_used_up"]
        ledger.note_limits(replace(used_up, overage="allowed", uses_overage=True))
        assert await reasons(server) == []
        ledger.note_limits(used_up)
        assert await reasons(server) == ["plan_used_up"]
        await trio.sleep(201)
        assert await reasons(server) == []
        ledger.note_limits(AccountLimits({"seven_day": Window(1.0, BEGIN + 9000, "rejected")}, "rejected"))
        await trio.sleep(PLAN_DOUBT_S - 1)
        assert await reasons(server) == ["plan_used_up"]
        await trio.sleep(1)
        assert await warnings(server) == ["limit_high"]


async def test_server_whose_own_limit_is_reached_is_not_ready() -> None:
    async with serving(stop_at_utilization=0.9) as server:
        server.runs.ledger.note_limits(AccountLimits({"five_hour": Window(0.93, BEGIN + 100, "allowed_warning")}, ""))
        assert await reasons(server) == ["usage_limit"]
        await trio.sleep(101)
        assert await warnings(server) == []


async def test_files_that_cannot_be_written_are_warnings_without_their_paths() -> None:
    async with serving() as server:
        problem = "No space left on device"
        server.log._problem = lambda: problem
        server.runs.ledger._book._problem = "database is locked"
        assert await warnings(server) == ["log_not_written", "usage_not_saved"]
        problem = server.runs.ledger._book._problem = ""
        assert await warnings(server) == []


async def test_server_with_a_full_queue_is_not_ready_until_there_is_room() -> None:
    async with serving(full_turn("Hel", Hang()), max_concurrency=1, max_queue_size=0) as server:
        client = await server.streaming()
        assert await reasons(server) == ["queue_full"]
        client.leave()
        await wait_all_tasks_blocked()
        assert await reasons(server) == []


async def test_server_with_a_refused_login_is_not_ready_until_an_answer() -> None:
    scripts: list[tuple[TurnStep, ...]] = [REFUSED, (TurnFailed(UpstreamError("It died.")),), full_turn("ok")]
    backend = ScriptedBackend(lambda _: scripts.pop(0))
    async with serving(backend) as server:
        assert (await server.post(chat())).status == 403
        assert await reasons(server) == ["not_logged_in"]
        assert (await server.post(chat())).status == 502
        assert await reasons(server) == ["not_logged_in"]
        assert (await server.post(chat())).status == 200
        assert await reasons(server) == []


async def test_a_login_that_fails_within_an_answer_counts_too() -> None:
    async with serving((TurnStarted("claude"), TextDelta("Hel"), *REFUSED)) as server:
        assert (await server.post(chat())).status == 403
        assert await reasons(server) == ["not_logged_in"]


async def test_refused_login_is_forgotten_after_a_while() -> None:
    async with serving(REFUSED) as server:
        await server.post(chat())
        await trio.sleep(LOGIN_DOUBT_S - 1)
        assert await reasons(server) == ["not_logged_in"]
        await trio.sleep(1)
        assert await reasons(server) == []


class BackendWithLogin(ScriptedBackend):
    """Reports a login, and keeps what it hears of turns."""

    login = "missing"

    def __init__(self, script: tuple[TurnStep, ...] | None = None) -> None:
        super().__init__(script)
        self.refused: list[bool] = []

    def status(self) -> dict[str, Any]:
        return {"claude": {"found": True, "login": self.login}}

    def note_login(self, *, is_refused: bool) -> None:
        self.refused.append(is_refused)


async def test_server_without_login_is_not_ready_until_there_is_one() -> None:
    backend = BackendWithLogin()
    async with serving(backend) as server:
        assert await reasons(server) == ["login_missing"]
        assert (await server.get("/health")).json()["claude"]["login"] == "missing"
        for backend.login in ("unknown", "found"):
            assert await reasons(server) == []


async def test_backend_hears_of_refused_and_of_answered_turns() -> None:
    for script, heard in ((REFUSED, [True]), (full_turn("ok"), [False]), ((TurnFailed(UpstreamError("x")),), [])):
        backend = BackendWithLogin(script)
        async with serving(backend) as server:
            await server.post(chat())
            assert backend.refused == heard
            # The lookup knows more than the last turn.
            assert await reasons(server) == ["login_missing"]


async def test_all_reasons_are_listed_at_once() -> None:
    async with serving(BackendWithout(REFUSED), max_concurrency=1, max_queue_size=0) as server:
        await server.post(chat())
        server.admission.draining = True
        assert await reasons(server) == ["draining", "no_cli", "not_logged_in"]


async def test_the_version_names_what_runs() -> None:
    async with serving() as server:
        told = (await server.get("/version")).json()
        assert (told["name"], told["version"], told["backend"]) == ("claude-openai", __version__, "scripted")
        assert told["python"].startswith("3.")
        assert told["claude_agent_sdk"][0].isdigit()


@pytest.mark.parametrize("path", ["/health", "/ready", "/version"])
async def test_a_probe_needs_no_key(path: str) -> None:
    async with serving(api_key=KEY) as server:
        assert (await server.get(path)).status == 200
        assert (await server.get(path, "HEAD")).body == b""
        assert (await server.get(path, origin="http://evil.example")).status == 403


async def test_the_counts_need_the_key_if_there_is_one() -> None:
    async with serving(api_key=KEY) as server:
        answer = await server.get("/metrics")
        assert (answer.status, answer.error()["code"]) == (401, "invalid_api_key")
        assert (await scrape(server, authorization=f"Bearer {KEY}"))("http_requests_in_flight") == 1


async def test_a_fresh_server_counts_nothing_and_knows_its_labels() -> None:
    async with serving() as server:
        told = await scrape(server)
        assert told("build_info", version=__version__, backend="scripted") == 1
        for way in ("new", "replayed", "continued", "parked"):
            assert told("conversations_total", conversation=way) == 0
        for reason in ("queue_full", "shutting_down"):
            assert told("requests_rejected_total", reason=reason) == 0
        for reason in ("client_left", "client_stalled", "run_cancelled", "shutting_down"):
            assert told("cancellations_total", reason=reason) == 0
        for kind in ("input", "cache_read", "cache_write", "output"):
            assert told("tokens_total", kind=kind) == 0
        assert (told("turns_running"), told("turns_queued"), told("processes")) == (0, 0, 0)


async def test_requests_are_counted_by_route_and_status_and_strange_paths_are_one_route() -> None:
    async with serving(full_turn(Pause(2), "ok"), control_key=KEY) as server:
        await server.post(chat())
        await server.post(chat(stream=True))
        await server.post({})
        await server.get("/v1/models/claude-sonnet")
        await server.get("/v1/models/some/other")
        for number in range(3):
            await server.get(f"/nowhere/{number}")
        await server.get("/health", "DELETE")
        await server.get("/control/runs")
        told = await scrape(server)
        expected = {
            ("/v1/chat/completions", "200"): 2,
            ("/v1/chat/completions", "400"): 1,
            ("/v1/models/{model}", "200"): 1,
            ("/v1/models/{model}", "404"): 1,
            ("unknown", "404"): 3,
            ("unknown", "405"): 1,
            ("/control/runs", "401"): 1,
        }
        for (route, status), count in expected.items():
            assert told("http_requests_total", route=route, status=status) == count
        counted = [labels for name, labels in told.samples if name == "claude_openai_http_requests_total"]
        assert len(counted) == len(expected)
        seconds = "http_request_duration_seconds"
        assert told(f"{seconds}_sum", route="/v1/chat/completions") == 4
        assert told(f"{seconds}_bucket", route="/v1/chat/completions", le="1.0") == 1
        assert told(f"{seconds}_bucket", route="/v1/chat/completions", le="2.5") == 3


async def test_a_turn_is_timed_from_the_arrival_of_its_request() -> None:
    script = full_turn(Pause(3), "Hel", Pause(4), "lo")
    async with serving(script, max_concurrency=1) as server:
        first, second = server.connect(), server.connect()
        await first.post(chat())
        await wait_all_tasks_blocked()
        await second.post(chat())
        await wait_all_tasks_blocked()
        told = await scrape(server)
        assert (told("turns_running"), told("turns_queued"), told("http_requests_in_flight")) == (1, 1, 3)
        await first.answer()
        await second.answer()
        told = await scrape(server)
        labels = {"conversation": "new", "backend": "scripted"}
        assert told("time_to_first_token_seconds_sum", **labels) == 3 + (7 + 3)
        assert told("time_to_first_token_seconds_count", **labels) == 2
        assert told("time_to_first_token_seconds_bucket", le="5.0", **labels) == 1
        assert told("time_to_first_token_seconds_bucket", le="10.0", **labels) == 2
        assert told("turn_duration_seconds_sum", backend="scripted", outcome="completed") == 7 + 14
        assert (told("turns_running"), told("turns_queued"), told("http_requests_in_flight")) == (0, 0, 1)


async def test_a_body_that_comes_slowly_is_part_of_the_time() -> None:
    async with serving() as server:
        client, body = server.connect(), json.dumps(chat()).encode()
        await client.send_raw(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        await trio.sleep(6)
        await client.send_raw(body)
        status, _ = await client.head()
        assert status == 200
        told = await scrape(server)
        assert told("time_to_first_token_seconds_sum", conversation="new", backend="scripted") == 6


@pytest.mark.parametrize("delta", [TextDelta("x"), ReasoningDelta("x"), ToolCall("toolu_1", "look", "{}")])
async def test_text_reasoning_and_calls_are_first_tokens_each(delta: TurnStep) -> None:
    async with serving((TurnStarted("claude", "parked"), Pause(1), delta, Pause(1), delta, full_turn()[-1])) as server:
        await server.post(chat())
        told = await scrape(server)
        assert told("time_to_first_token_seconds_sum", conversation="parked", backend="scripted") == 1
        assert told("conversations_total", conversation="parked") == 1
        assert told("conversations_total", conversation="new") == 0


async def test_tokens_are_counted_by_kind() -> None:
    usage = Usage(3, 20, 100, 7, 4)
    async with serving((TurnStarted("claude"), TextDelta("ok"), TurnCompleted("stop", usage))) as server:
        await server.post(chat())
        await server.post(chat(stream=True))
        told = await scrape(server)
        counted = [told("tokens_total", kind=kind) for kind in ("input", "cache_read", "cache_write", "output")]
        assert counted == [6, 40, 200, 14]
        assert told("reasoning_tokens_total") == 8


async def test_failures_are_counted_by_their_code() -> None:
    scripts: list[tuple[TurnStep, ...]] = [REFUSED, (Crash(RuntimeError("a bug")),), (Hang(),)]
    backend = ScriptedBackend(lambda _: scripts.pop(0))
    async with serving(backend, expected_errors={"run.crashed"}, process_timeout_ms=5000) as server:
        for _ in range(3):
            await server.post(chat())
        told = await scrape(server)
        for code in ("upstream_authentication_error", "internal_error", "timeout"):
            assert told("turn_failures_total", code=code) == 1
        assert told("turn_duration_seconds_count", backend="scripted", outcome="failed") == 3
        assert told("turn_duration_seconds_sum", backend="scripted", outcome="failed") == 5


async def test_those_turned_away_are_counted_by_reason() -> None:
    async with serving(full_turn("Hel", Hang()), max_concurrency=1, max_queue_size=0) as server:
        await server.streaming()
        assert (await server.post(chat())).error()["code"] == QueueFull.default_code
        server.admission.draining = True
        for _ in range(2):
            assert (await server.post(chat())).error()["code"] == ShuttingDown.default_code
        told = await scrape(server)
        assert told("requests_rejected_total", reason="queue_full") == 1
        assert told("requests_rejected_total", reason="shutting_down") == 2


async def test_cancellations_are_counted_by_who_wanted_them() -> None:
    backend = ScriptedBackend(full_turn("Hel", Hang()))
    async with serving(backend, control_key=KEY) as server:
        left = await server.streaming()
        left.leave()
        await wait_all_tasks_blocked()
        await server.streaming()
        (run,) = [run for run in server.runs.all() if not run.ended]
        await server.post({}, f"/control/runs/{run.id}/cancel", authorization=f"Bearer {KEY}")
        await server.streaming()
        server.runs.cancel_all(ShuttingDown("The server is shutting down."))
        await server.admission.wait_idle()
        told = await scrape(server)
        counted = [told("cancellations_total", reason=r) for r in ("client_left", "run_cancelled", "shutting_down")]
        assert counted == [1, 1, 1]
        assert told("turn_duration_seconds_count", backend="scripted", outcome="cancelled") == 3
        assert told("http_requests_total", route="/v1/chat/completions", status="499") == 1
        assert not [name for name, _ in told.samples if name == "claude_openai_turn_failures_total"]


async def test_what_the_backend_keeps_is_read_at_the_scrape() -> None:
    async with serving(BackendWithout()) as server:
        told = await scrape(server)
        assert (told("processes"), told("spares")) == (5, 1)
        assert (told("conversations_kept", state="idle"), told("conversations_kept", state="parked")) == (2, 3)


async def test_two_servers_in_one_process_count_apart_and_the_global_registry_stays_clean() -> None:
    async with serving() as one, serving() as other:
        await one.post(chat())
        chats = {"route": "/v1/chat/completions", "status": "200"}
        assert (await scrape(one))("http_requests_total", **chats) == 1
        assert (await scrape(other))("http_requests_total", **chats) is None
    assert not [family for family in REGISTRY.collect() if family.name.startswith("claude_openai")]


async def test_who_asks_for_openmetrics_gets_it() -> None:
    async with serving() as server:
        await server.post(chat())
        answer = await server.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        names = {family.name for family in parse_openmetrics(answer.body.decode())}  # type: ignore[no-untyped-call]
        assert {"claude_openai_tokens", "claude_openai_time_to_first_token_seconds"} <= names
