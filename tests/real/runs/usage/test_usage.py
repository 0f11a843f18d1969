"""What turns have used, through the bundled CLI: its dollars, and the tokens of the stand-in."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from claude_openai.protocol.claude_code.list_prices import estimated_usd
from claude_openai.protocol.turn.events import Usage as Tokens
from claude_openai.runs.usage import book, redis_store
from claude_openai.testing import Hang, Reply, Text, Usage
from tests.named_keys import bearer, named_key, write_keys
from tests.real.call import Call, chat
from tests.real.harness import LIMIT_S, POLL_S, Served, needs_claude, on_both_backends, serving, until
from tests.real.redis_server import needs_redis, redis_serving
from tests.real.tool_turns import ASKED, KEPT, ask, results, use

pytestmark = needs_claude

USAGE = Usage(1000, 100, cache_read_input_tokens=2000, cache_creation_input_tokens=4000)
OK = Reply("ok", usage=USAGE)
HI = [{"role": "user", "content": "Hi"}]
UNIFIED = "anthropic-ratelimit-unified-"
# Only who is logged in has a plan; the token is made up.
LOGGED_IN = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-stand-in"}


async def usage_of(served: Served, **headers: str) -> dict[str, Any]:
    async with Call.open(served.url, None, "/v1/usage", **headers) as call:
        status, usage = await call.answer(validated=False)
    assert (status, usage["problem"]) == (200, None)
    return usage


async def turn(served: Served, messages: Sequence[dict[str, Any]], **fields: Any) -> tuple[dict[str, Any], float, str]:
    """The message of the answer, its dollars, and the route of the turn."""
    async with Call.open(served.url, chat(messages, **fields)) as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return (
            answer["choices"][0]["message"],
            answer["usage"]["cost_usd"],
            call.headers["x-claude-openai-conversation"],
        )


def assert_tokens(amounts: dict[str, Any], calls: int) -> None:
    """The tokens are those of so many answers of the stand-in."""
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    assert [amounts[name] for name in names] == [7000 * calls, 2000 * calls, 4000 * calls, 100 * calls]


@on_both_backends
async def test_each_turn_of_a_conversation_costs_what_it_has_used_itself(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, OK, backend=backend, **KEPT) as served:
        messages, costs, routes = HI, [], []
        for _ in range(3):
            message, cost, route = await turn(served, messages)
            costs.append(cost)
            routes.append(route)
            messages = [*messages, message, {"role": "user", "content": "And?"}]
        today = (await usage_of(served))["today"]
    assert routes == (["new", "continued", "continued"] if backend == "sdk" else ["new", "replayed", "replayed"])
    assert costs[0] > 0
    assert costs == pytest.approx([costs[0]] * 3)
    assert_tokens(today, 3)
    assert today["cost_usd"] == pytest.approx(sum(costs))
    assert (today["estimated_usd"], today["at_list_price_usd"]) == (0, 0)
    assert len(today["by_model"]) == 1


@pytest.mark.long
async def test_reported_dollars_replace_the_estimates_of_a_loop_of_calls(kept: Served) -> None:
    kept.api.enqueue(*(Reply(use(number), usage=USAGE) for number in (1, 2)), OK, OK)
    first, _ = await ask(kept, ASKED)
    today = (await usage_of(kept))["today"]
    assert_tokens(today, 1)
    assert today["estimated_usd"] == today["cost_usd"] == first["usage"]["cost_usd"] > 0
    messages = [*ASKED, *results(first, "a")]
    second, _ = await ask(kept, messages)
    assert second["usage"]["cost_usd"] == pytest.approx(first["usage"]["cost_usd"])
    last, route = await ask(kept, [*messages, *results(second, "b")])
    today = (await usage_of(kept))["today"]
    _, alone, _ = await turn(kept, HI)
    assert (route, last["choices"][0]["message"]["content"]) == ("parked", "ok")
    assert_tokens(today, 3)
    assert today["estimated_usd"] == 0
    assert today["cost_usd"] == pytest.approx(3 * alone)
    assert sum(each["usage"]["cost_usd"] for each in (first, second, last)) == pytest.approx(3 * alone)


@pytest.mark.long
@on_both_backends
async def test_a_cancelled_turn_has_the_tokens_of_its_prompt_and_an_estimate(tmp_path: Path, backend: str) -> None:
    async with serving(tmp_path, Reply(Text("one", Hang()), usage=USAGE), backend=backend) as served:
        async with Call.open(served.url, chat("Hi", stream=True)) as call:
            assert await call.status() == 200
            await call.until_text("one")
            call.leave()
        await served.processes.wait_no_claude()
        today = (await usage_of(served))["today"]
        assert (today["input_tokens"], today["cache_read_tokens"], today["cache_write_tokens"]) == (7000, 2000, 4000)
        assert today["cost_usd"] == today["estimated_usd"] > 0


@pytest.mark.long
async def test_figures_survive_a_restart_and_two_servers_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "usage.db"
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    async with serving(tmp_path / "one", OK, usage_file=file, backend="cli") as one:
        _, cost, _ = await turn(one, HI)
        async with serving(tmp_path / "other", OK, usage_file=file, backend="cli") as other:
            await turn(other, HI)
            await until(lambda: file.exists(), "the file is written")
            assert file.stat().st_mode & 0o777 == 0o600
    async with serving(tmp_path / "one", OK, usage_file=file, max_cost_per_day=cost, backend="cli") as again:
        today = (await usage_of(again))["today"]
        assert_tokens(today, 2)
        assert today["cost_usd"] == pytest.approx(2 * cost)
        async with Call.open(again.url, chat("Hi")) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(call.headers["retry-after"]) <= 25 * 3600
        assert again.api.requests == []


@pytest.mark.long
@needs_redis
async def test_budget_of_a_key_is_one_for_all_servers_with_a_shared_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "REFRESH_S", 0.1)
    monkeypatch.setattr(redis_store, "ANSWER_S", LIMIT_S)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    keys = write_keys(tmp_path / "keys.json", named_key("ann", max_cost_per_day=0.000001), named_key("bob"))

    async def ask_as(name: str, served: Served) -> tuple[int, str | None]:
        async with Call.open(served.url, chat("Hi"), **bearer(name)) as call:
            status, answer = await call.answer()
        return status, answer.get("error", {}).get("code")

    async with redis_serving(tmp_path) as redis:
        settings: dict[str, Any] = {"keys_file": keys, "state_url": redis.url, "backend": "cli"}
        async with (
            serving(tmp_path / "one", OK, **settings) as one,
            serving(tmp_path / "other", OK, **settings) as other,
        ):
            assert await ask_as("ann", one) == (200, None)
            while (await usage_of(other, **bearer("ann")))["refusing"] is None:  # noqa: ASYNC110 - there is no event
                await trio.sleep(POLL_S)
            assert await ask_as("ann", other) == (429, "key_budget_exhausted")
            assert await ask_as("bob", other) == (200, None)


@pytest.mark.long
@on_both_backends
async def test_windows_of_a_plan_are_seen_and_stop_the_next_turn(tmp_path: Path, backend: str) -> None:
    reset = int(time.time()) + 3600
    headers = {
        "status": "allowed_warning", "reset": str(reset), "representative-claim": "five_hour",
        "5h-status": "allowed_warning", "5h-utilization": "0.93", "5h-reset": str(reset),
        "7d-status": "allowed", "7d-utilization": "0.4", "7d-reset": str(reset + 86400),
    }  # fmt: skip
    reply = Reply("ok", usage=USAGE, headers={UNIFIED + name: value for name, value in headers.items()})
    settings: dict[str, Any] = {"backend": backend, "extra_env": LOGGED_IN, "stop_at_utilization": 0.9}
    async with serving(tmp_path, reply, **settings) as served:
        async with Call.open(served.url, chat("Hi")) as call:
            assert await call.status() == 200
            assert call.headers["x-claude-openai-limits"] == f"five_hour=0.93;reset={reset}"
            await call.body()
        calls = len(served.api.requests)
        usage = await usage_of(served)
        windows = {each["window"]: (each["utilization"], each["resets_at"]) for each in usage["windows"]}
        assert windows == {"five_hour": (0.93, reset), "seven_day": (0.4, reset + 86400)}
        assert usage["today"]["at_list_price_usd"] == pytest.approx(usage["today"]["cost_usd"])
        assert_tokens(usage["today"], calls)
        (record,) = await served.logged("limit.warning")
        assert (record["window"], record["utilization"]) == ("five_hour", 0.93)
        async with Call.open(served.url, chat("Hi")) as call:
            status, answer = await call.answer()
        assert (status, answer["error"]["code"]) == (429, "insufficient_quota")
        assert 0 < int(call.headers["retry-after"]) <= 3600
        assert len(served.api.requests) == calls


@pytest.mark.long
async def test_estimates_are_near_the_dollars_that_claude_code_reports(tmp_path: Path) -> None:
    # Without tokens from the cache, whose price differs between models.
    used = Tokens(1000, 0, 4000, 100)
    reply = Reply("ok", usage=Usage(1000, 100, cache_creation_input_tokens=4000))
    async with serving(tmp_path, reply, backend="cli") as served:
        for model in ("claude-haiku", "claude-sonnet", "claude-opus"):
            _, cost, _ = await turn(served, HI, model=model)
            (request,) = served.api.requests[-1:]
            assert cost == pytest.approx(estimated_usd(request.model, used, long_cache=False), rel=0.01), request.model
