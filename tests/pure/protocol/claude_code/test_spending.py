"""What a process of Claude Code has used, from its records: each token and dollar once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.claude_code.list_prices import estimated_usd
from claude_openai.protocol.claude_code.spending import ProcessSpending
from claude_openai.protocol.claude_code.usage import sum_of
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import AccountLimits, Spent, Window

OPUS = "claude-opus-5-5"


def event(**fields: Any) -> dict[str, Any]:
    return {"type": "stream_event", "parent_tool_use_id": None, "event": fields}


def start(ident: str, model: str = OPUS, **usage: int) -> dict[str, Any]:
    return event(type="message_start", message={"id": ident, "model": model, "usage": usage})


def delta(**usage: int) -> dict[str, Any]:
    return event(type="message_delta", delta={"stop_reason": "tool_use"}, usage=usage)


def sub_agent(ident: str, **usage: int) -> dict[str, Any]:
    message = {"id": ident, "model": OPUS, "usage": usage}
    return {"type": "assistant", "parent_tool_use_id": "toolu_1", "message": message}


def result(**models: tuple[int, int, float]) -> dict[str, Any]:
    """Totals of the process: input tokens, output tokens and dollars of each model."""
    return {
        "type": "result",
        "modelUsage": {
            name: {"inputTokens": tokens_in, "outputTokens": tokens_out, "costUSD": usd}
            for name, (tokens_in, tokens_out, usd) in models.items()
        },
    }


def limits(**info: Any) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", **info}}


class Follower:
    """A process, and the sums of what was reported of it."""

    def __init__(self) -> None:
        self.process = ProcessSpending()
        self.tokens: dict[str, Usage] = {}
        self.reported_usd = self.estimated_usd = 0.0

    def take(self, *records: dict[str, Any]) -> "Follower":
        for record in records:
            report = self.process.take(record)
            if isinstance(report, Spent):
                for model, spent in report.by_model.items():
                    usage = sum_of(spent.usage, spent.estimated_usage)
                    self.tokens[model] = sum_of(self.tokens.get(model, Usage()), usage)
                    self.reported_usd += spent.cost_usd
                    self.estimated_usd += spent.estimated_usd
        return self

    @property
    def usd(self) -> float:
        return self.reported_usd + self.estimated_usd


def test_totals_of_a_live_process_are_reported_as_differences() -> None:
    process = Follower().take(result(a=(10, 5, 0.5)))
    assert (process.tokens, process.usd) == ({"a": Usage(10, output_tokens=5)}, 0.5)
    process.take(result(a=(30, 6, 0.75), b=(1, 1, 0.1)))
    assert process.tokens == {"a": Usage(30, output_tokens=6), "b": Usage(1, output_tokens=1)}
    assert process.usd == pytest.approx(0.85)


def test_totals_that_are_lower_count_from_zero() -> None:
    process = Follower().take(result(a=(10, 5, 0.5)), result(a=(4, 2, 0.25)))
    assert (process.tokens, process.usd) == ({"a": Usage(14, output_tokens=7)}, 0.75)


def test_same_totals_again_are_not_reported() -> None:
    spending = ProcessSpending()
    assert spending.take(result(a=(10, 5, 0.5))) is not None
    assert spending.take(result(a=(10, 5, 0.5))) is None


def test_message_without_a_result_is_estimated() -> None:
    process = Follower().take(start("m1", input_tokens=1000, output_tokens=1))
    assert process.tokens == {OPUS: Usage(1000, output_tokens=1)}
    process.take(delta(output_tokens=100))
    assert process.tokens == {OPUS: Usage(1000, output_tokens=100)}
    assert process.reported_usd == 0
    assert process.usd == pytest.approx(estimated_usd(OPUS, process.tokens[OPUS], long_cache=False))


def test_result_replaces_the_estimates_of_a_whole_loop_of_calls() -> None:
    process = Follower()
    for number in range(3):
        process.take(start(f"m{number}", input_tokens=10, output_tokens=1), delta(output_tokens=5))
    process.take(result(**{OPUS: (30, 15, 0.01)}))
    assert process.tokens == {OPUS: Usage(30, output_tokens=15)}
    assert (process.reported_usd, round(process.estimated_usd, 12)) == (0.01, 0)


def test_result_under_another_model_id_leaves_nothing_under_the_first() -> None:
    process = Follower().take(start("m1", "claude-opus-5-5-20270101", input_tokens=10), delta(output_tokens=5))
    process.take(result(opus=(10, 5, 0.01)))
    assert process.tokens == {"claude-opus-5-5-20270101": Usage(), "opus": Usage(10, output_tokens=5)}
    assert process.usd == pytest.approx(0.01)


def test_blocks_of_a_sub_agents_message_count_once() -> None:
    process = Follower().take(sub_agent("s1", input_tokens=7, output_tokens=2), sub_agent("s1", input_tokens=7))
    assert process.tokens == {OPUS: Usage(7, output_tokens=2)}
    process.take(sub_agent("s2", input_tokens=1))
    assert process.tokens == {OPUS: Usage(8, output_tokens=2)}


def test_message_that_broke_off_counts_until_the_result() -> None:
    process = Follower().take(start("m1", input_tokens=10), start("m2", input_tokens=10), delta(output_tokens=5))
    assert process.tokens == {OPUS: Usage(20, output_tokens=5)}
    process.take(result(**{OPUS: (10, 5, 0.01)}))
    assert process.tokens == {OPUS: Usage(10, output_tokens=5)}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"type": "result"},
        {"type": "result", "modelUsage": None},
        {"type": "result", "modelUsage": {"a": None}},
        {"type": "result", "modelUsage": {"a": {"inputTokens": "x", "costUSD": float("nan")}}},
        {"type": "stream_event"},
        event(type="message_start"),
        event(type="message_delta", usage=None),
        {"type": "assistant", "parent_tool_use_id": "x", "message": {"id": [], "model": "m", "usage": {}}},
        {"type": "rate_limit_event"},
    ],
)
def test_invalid_record_is_ignored(record: dict[str, Any]) -> None:
    process = Follower().take(record)
    assert process.usd == 0
    process.take(start("m1", input_tokens=10), result(**{OPUS: (10, 0, 0.5)}))
    assert (process.tokens[OPUS], process.usd) == (Usage(10), 0.5)


def test_amounts_that_no_process_can_reach_count_as_none() -> None:
    process = Follower().take(result(a=(10**30, -5, float("inf")), b=(True, 1, 1.0)))
    assert (process.tokens, process.usd) == ({"b": Usage(output_tokens=1)}, 1.0)


def test_dollars_are_at_list_price_once_limits_of_a_plan_were_reported() -> None:
    spending = ProcessSpending()
    before = spending.take(start("m1", input_tokens=10))
    spending.take(limits())
    after = spending.take(result(a=(10, 5, 0.5)))
    assert isinstance(before, Spent)
    assert isinstance(after, Spent)
    assert (before.at_list_price, after.at_list_price) == (False, True)


def test_windows_of_the_plan_are_read_and_invalid_parts_left_out() -> None:
    windows = {
        "five_hour": {"utilization": 0.93, "resetsAt": 1795760981, "status": "allowed_warning"},
        "seven_day": {"utilization": "much", "resetsAt": None},
        "Not A Name\n": {"utilization": 0.5},
        "other": 5,
    }
    report = ProcessSpending().take(
        limits(unifiedWindows=windows, overageStatus="rejected", isUsingOverage=True, overageDisabledReason="x")
    )
    assert report == AccountLimits(
        {"five_hour": Window(0.93, 1795760981, "allowed_warning"), "seven_day": Window(None, None, "")},
        "rejected",
        uses_overage=True,
    )
    assert ProcessSpending().take(limits()) == AccountLimits()


@given(st.lists(st.sampled_from(["message", "broken", "sub_agent", "result"]), max_size=30))
def test_after_any_records_and_a_result_the_reports_add_up_to_the_totals(kinds: list[str]) -> None:
    process, total = Follower(), 0
    for number, kind in enumerate([*kinds, "result"]):
        match kind:
            case "message":
                total += 1
                process.take(start(f"m{number}", input_tokens=10), delta(output_tokens=3))
            case "broken":
                process.take(start(f"m{number}", input_tokens=10))
            case "sub_agent":
                total += 1
                process.take(sub_agent(f"m{number}", input_tokens=10, output_tokens=2))
            case "result":
                process.take(result(**{OPUS: (10 * total, 3 * total, 0.125 * total)}))
                assert process.tokens.get(OPUS, Usage()) == Usage(10 * total, output_tokens=3 * total)
                assert process.reported_usd == 0.125 * total
                assert abs(process.estimated_usd) < 1e-12
