"""What turns have used: in the answer, in `GET /v1/usage`, in the metrics; and the limits that refuse the next turn."""

import json
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from claude_openai.claude.backend import Emit, Parked
from claude_openai.logs.log import Log
from claude_openai.protocol.turn.events import TextDelta, TurnCompleted, TurnStarted, Usage
from claude_openai.protocol.turn.reports import AccountLimits, ModelSpent, Report, Spent, Window
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.testing import Hang, Pause
from tests.memory.harness import BEGIN, Server, chat, serving
from tests.scripted_backend import ScriptedBackend, TurnStep, full_turn

MIDNIGHT_S = 1800
RESPONSES = {"model": "claude-sonnet", "input": "Hi"}
RESET = BEGIN + 1000
TOKENS = Usage(10, 20, 30, 40, 5)
DOLLAR = Spent({"claude-opus-5-5": ModelSpent(TOKENS, 1.0)})
ESTIMATE = Spent({"claude-opus-5-5": ModelSpent(estimated_usage=TOKENS, estimated_usd=0.5)})
SETTLED = Spent({"claude-opus-5-5": ModelSpent(TOKENS, 1.0, Usage(-10, -20, -30, -40, -5), -0.5)})
HIGH = AccountLimits({"five_hour": Window(0.93, RESET, "allowed_warning")}, "rejected")


class Reporting(ScriptedBackend):
    """A backend each of whose turns makes reports before its script.

    Args:
        reports: of each turn, in their order; the last ones are repeated.
        late: they come after the script.
    """

    def __init__(self, *reports: list[Report], script: tuple[TurnStep, ...] | None = None, late: bool = False) -> None:
        super().__init__(script)
        self.reports = list(reports)
        self.late = late

    async def turn(self, request: TurnRequest, emit: Emit, log: Log) -> Parked | None:
        reports = self.reports.pop(0) if len(self.reports) > 1 else self.reports[0]
        if self.late:
            await super().turn(request, emit, log)
        for report in reports:
            emit.report(report)
        return None if self.late else await super().turn(request, emit, log)


async def usage_of(server: Server, path: str = "/v1/usage", **headers: str) -> dict[str, Any]:
    answer = await server.get(path, **headers)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    return answer.json()


async def samples(server: Server, name: str, **headers: str) -> list[str]:
    lines = (await server.get("/metrics", **headers)).body.decode().splitlines()
    return [line.removeprefix("claude_openai_") for line in lines if line.startswith(f"claude_openai_{name}")]


async def test_a_turn_that_costs_has_its_dollars_in_the_answer_of_each_api() -> None:
    async with serving(Reporting([ESTIMATE, SETTLED])) as server:
        assert (await server.post(chat())).json()["usage"]["cost_usd"] == 1.0
        responses = await server.post(RESPONSES, "/v1/responses")
        assert responses.json()["usage"]["cost_usd"] == 1.0
        stream = await server.post(chat(stream=True, stream_options={"include_usage": True}))
        *_, last, done, _ = stream.body.decode().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["usage"]["cost_usd"] == 1.0
        assert done == "data: [DONE]"
        events = (await server.post({**RESPONSES, "stream": True}, "/v1/responses")).body
        assert b'"cost_usd":1.0' in events


async def test_a_turn_without_reports_has_no_key_for_dollars() -> None:
    async with serving() as server:
        assert "cost_usd" not in (await server.post(chat())).json()["usage"]
        assert server.runs.all()[0].view().to_json()["cost_usd"] is None


async def test_dollars_of_an_answer_are_not_below_zero_when_earlier_estimates_were_too_high() -> None:
    too_high = Spent({"claude-opus-5-5": ModelSpent(estimated_usd=-2.0)})
    async with serving(Reporting([too_high])) as server:
        assert (await server.post(chat())).json()["usage"]["cost_usd"] == 0.0
        assert server.runs.all()[0].view().cost_usd == -2.0


async def test_dollars_are_in_the_answer_that_a_stop_sequence_has_cut() -> None:
    script = (TurnStarted("claude-opus-5-5"), TextDelta("one END two"), Hang())
    async with serving(Reporting([ESTIMATE], script=script)) as server:
        assert (await server.post(chat(stop="END"))).json()["usage"]["cost_usd"] == 0.5


async def test_usage_route_has_the_sums_of_all_turns() -> None:
    async with serving(Reporting([DOLLAR], [ESTIMATE])) as server:
        await server.post(chat())
        await server.post(chat())
        usage = await usage_of(server)
        assert usage["today"] == usage["last_7_days"]
        assert usage["today"]["by_model"] == [
            {"model": "claude-opus-5-5", "cost_usd": 1.5, "estimated_usd": 0.5, "at_list_price_usd": 0.0,
             "input_tokens": 120, "cache_read_tokens": 40, "cache_write_tokens": 60, "output_tokens": 80,
             "thinking_tokens": 10}
        ]  # fmt: skip
        assert [each["key"] for each in usage["today"]["by_key"]] == ["none"]
        assert [each["day"] for each in usage["days"]] == ["2026-11-27"]
        assert usage["limits"] == {"max_cost_per_day_usd": None, "stop_at_utilization": None}
        assert (usage["windows"], usage["refusing"], usage["problem"]) == ([], None, None)
        records = [(run.view().cost_usd, run.view().estimated_usd) for run in server.runs.all()]
        assert records == [(1.0, 0.0), (0.5, 0.5)]


async def test_usage_route_needs_the_key_and_commands_have_a_route_of_their_own() -> None:
    async with serving(Reporting([DOLLAR]), api_key="a-key", control_key="a-control-key") as server:
        assert (await server.get("/v1/usage")).status == 401
        await server.post(chat(), authorization="Bearer a-key")
        usage = await usage_of(server, authorization="Bearer a-key")
        assert [each["key"] for each in usage["today"]["by_key"]] == ["default"]
        assert await usage_of(server, "/control/usage", authorization="Bearer a-control-key") == usage
        assert (await server.get("/control/usage")).status == 401


async def test_metrics_have_reported_tokens_and_dollars_by_model_and_estimates_apart() -> None:
    async with serving(Reporting([DOLLAR], [ESTIMATE], [SETTLED])) as server:
        await server.post(chat())
        await server.post(chat())
        assert await samples(server, "cost_usd_total{") == ['cost_usd_total{model="claude-opus-5-5"} 1.0']
        assert await samples(server, "estimated_cost_usd ") == ["estimated_cost_usd 0.5"]
        await server.post(chat())
        assert await samples(server, "cost_usd_total{") == ['cost_usd_total{model="claude-opus-5-5"} 2.0']
        assert await samples(server, "estimated_cost_usd ") == ["estimated_cost_usd 0.0"]
        assert 'model_tokens_total{kind="output",model="claude-opus-5-5"} 80.0' in await samples(server, "model_tokens")


async def test_the_turn_after_the_days_dollars_are_used_up_is_refused_before_it_begins() -> None:
    async with serving(Reporting([DOLLAR]), max_cost_per_day=2.0) as server:
        for _ in range(2):
            assert (await server.post(chat())).status == 200
        for path, body in {"/v1/chat/completions": chat(), "/v1/responses": RESPONSES}.items():
            refused = await server.post(body, path)
            assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
            assert refused.headers["retry-after"] == str(MIDNIGHT_S)
            assert refused.headers["x-should-retry"] == "false"
        assert len(server.backend.turns) == 2
        assert (await usage_of(server))["refusing"].startswith("This server has used $2.00 today")
        assert 'requests_rejected_total{reason="usage_limit"} 2.0' in await samples(server, "requests_rejected_total{")
        await trio.sleep(MIDNIGHT_S)
        assert (await server.post(chat())).status == 200


async def test_estimated_dollars_of_a_loop_of_calls_refuse_its_next_turn() -> None:
    async with serving(Reporting([ESTIMATE]), max_cost_per_day=1.0) as server:
        assert [(await server.post(chat())).status for _ in range(3)] == [200, 200, 429]
        assert len(server.backend.turns) == 2


async def test_a_turn_that_waited_while_the_limit_was_reached_is_refused_without_a_backend() -> None:
    backend = Reporting([DOLLAR], script=(Pause(10), *full_turn("ok")), late=True)
    async with serving(backend, max_cost_per_day=1.0, max_concurrency=1) as server:
        first, second = server.connect(), server.connect()
        await first.post(chat("one"))
        await server.backend.wait_for_turn()
        server.runs.ledger.spend(Spent({}))
        await second.post(chat("two"))
        await wait_all_tasks_blocked()
        assert (await first.answer()).status == 200
        refused = await second.answer()
        assert (refused.status, refused.headers["retry-after"]) == (429, str(MIDNIGHT_S - 10))
        assert len(server.backend.turns) == 1


async def test_a_full_window_refuses_turns_until_it_resets() -> None:
    async with serving(Reporting([HIGH], []), stop_at_utilization=0.9) as server:
        assert (await server.post(chat())).status == 200
        await trio.sleep(400)
        refused = await server.post(chat())
        assert (refused.status, refused.error()["code"]) == (429, "insufficient_quota")
        assert refused.headers["retry-after"] == "600"
        assert "resets, in 10 min" in refused.error()["message"]
        assert len(server.backend.turns) == 1
        await trio.sleep(601)
        assert (await server.post(chat())).status == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_window_beyond_80_percent_is_in_a_header_and_once_in_the_log(stream: bool) -> None:
    async with serving(Reporting([HIGH])) as server:
        for _ in range(2):
            answer = await server.post(chat(stream=stream))
            assert answer.headers["x-claude-openai-limits"] == f"five_hour=0.93;reset={RESET:.0f}"
        (record,) = server.logged("limit.warning")
        assert (record["level"], record["window"], record["utilization"]) == ("warning", "five_hour", 0.93)
        (window,) = (await usage_of(server))["windows"]
        assert (window["utilization"], window["resets_at"], window["age_s"]) == (0.93, RESET, 0)
        assert await samples(server, "limit_utilization{") == ['limit_utilization{window="five_hour"} 0.93']
        assert (await samples(server, "limit_resets_at{"))[0].startswith('limit_resets_at{window="five_hour"}')
        await trio.sleep(1001)
        assert await samples(server, "limit_utilization{") == []


async def test_a_window_below_80_percent_is_in_no_header() -> None:
    low = AccountLimits({"five_hour": Window(0.5, RESET, "allowed")})
    async with serving(Reporting([low])) as server:
        assert "x-claude-openai-limits" not in (await server.post(chat())).headers
        assert server.logged("limit.warning") == []


async def test_overage_is_shown_and_logged_once() -> None:
    async with serving(Reporting([AccountLimits({}, "allowed", uses_overage=True)])) as server:
        for _ in range(2):
            await server.post(chat())
        assert (await usage_of(server))["overage"] == {"status": "allowed", "in_use": True}
        assert len(server.logged("limit.overage")) == 1


async def test_a_cancelled_turn_keeps_what_it_has_used() -> None:
    script = (TurnStarted("claude-opus-5-5"), TextDelta("one"), Hang())
    async with serving(Reporting([ESTIMATE], script=script)) as server:
        client = await server.streaming()
        await client.until_text("one")
        client.leave()
        await server.admission.wait_idle()
        (run,) = server.runs.all()
        assert (run.state, run.view().cost_usd, run.view().estimated_usd) == ("cancelled", 0.5, 0.5)
        assert (await usage_of(server))["today"]["estimated_usd"] == 0.5


async def test_a_completed_turn_is_followed_by_its_dollars_in_the_list_of_runs() -> None:
    script = (TurnStarted("claude-opus-5-5"), TextDelta("ok"), TurnCompleted("stop", Usage(1, output_tokens=1)))
    async with serving(Reporting([DOLLAR], script=script), control_key="a-control-key") as server:
        await server.post(chat())
        (run,) = (await server.get("/control/runs", authorization="Bearer a-control-key")).json()["data"]
        assert (run["cost_usd"], run["estimated_usd"]) == (1.0, 0.0)


async def test_run_reports_what_the_prompt_cache_had_and_what_broke_it() -> None:
    written = full_turn("1", usage=Usage(input_tokens=10, cache_write_tokens=5000))
    lost = full_turn("2", usage=Usage(input_tokens=10, cache_write_tokens=6000))
    scripts = [written, lost]
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one"}]
    async with serving(ScriptedBackend(lambda _: scripts.pop(0))) as server:
        await server.post(chat(messages=messages))
        messages[0]["content"] = "be rude"
        more = [{"role": "assistant", "content": "1"}, {"role": "user", "content": "two"}]
        await server.post(chat(messages=[*messages, *more]))
        first, second = (run.view() for run in server.runs.all())
        assert first.cache == {"conversation": first.id, "read_share": 0.0, "lost_tokens": 0, "causes": []}
        assert second.cache == {"conversation": first.id, "read_share": 0.0, "lost_tokens": 5000, "causes": ["system"]}
        lines = [record for record in server.records if record["event"] == "run.cache"]
        assert [line["causes"] for line in lines] == [[], ["system"]]
