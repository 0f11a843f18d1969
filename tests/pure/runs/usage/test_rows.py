"""The summary of the usage table."""

from datetime import date

from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import ModelSpent
from claude_openai.runs.usage.rows import Amounts, RowKey, amounts_of, summary

TODAY = date(2026, 11, 27)


def key(day: str = "2026-11-27", model: str = "opus", key: str = "default") -> RowKey:
    return RowKey(day, model, key)


def test_rows_are_summed_by_day_model_and_key() -> None:
    rows = {
        key(): Amounts(input=1, cache_read=2, cache_write=4, output=8, thinking=3, cost_usd=1.0),
        key(model="haiku", key="none"): Amounts(input=1, cost_usd=0.5, estimated_usd=0.25),
        key("2026-11-26"): Amounts(output=1, cost_usd=2.0, at_list_price_usd=2.0),
        key("2026-11-21"): Amounts(cost_usd=4.0),
        key("2026-11-20"): Amounts(cost_usd=100.0),
        key("2026-11-28"): Amounts(cost_usd=100.0),
    }
    report = summary(rows, TODAY)
    today, week = report["today"], report["last_7_days"]
    assert (today["cost_usd"], today["estimated_usd"], today["at_list_price_usd"]) == (1.75, 0.25, 0.0)
    assert (week["cost_usd"], week["estimated_usd"], week["at_list_price_usd"]) == (7.75, 0.25, 2.0)
    assert today["by_model"] == [
        {"model": "opus", "cost_usd": 1.0, "estimated_usd": 0.0, "at_list_price_usd": 0.0, "input_tokens": 7,
         "cache_read_tokens": 2, "cache_write_tokens": 4, "output_tokens": 8, "thinking_tokens": 3},
        {"model": "haiku", "cost_usd": 0.75, "estimated_usd": 0.25, "at_list_price_usd": 0.0, "input_tokens": 1,
         "cache_read_tokens": 0, "cache_write_tokens": 0, "output_tokens": 0, "thinking_tokens": 0},
    ]  # fmt: skip
    assert [(each["key"], each["cost_usd"]) for each in week["by_key"]] == [("default", 7.0), ("none", 0.75)]
    assert [(each["day"], each["cost_usd"]) for each in report["days"]] == [
        ("2026-11-27", 1.75), ("2026-11-26", 2.0), ("2026-11-21", 4.0),
    ]  # fmt: skip


def test_a_model_whose_estimates_were_all_replaced_is_not_listed() -> None:
    rows = {key(model="opus-20270101"): Amounts(estimated_usd=0.1 + 0.2) + Amounts(estimated_usd=-0.3)}
    assert rows[key(model="opus-20270101")].estimated_usd != 0
    assert summary(rows, TODAY)["today"]["by_model"] == []


def test_amounts_add_reported_and_estimated_tokens() -> None:
    spent = ModelSpent(Usage(1, 2, 3, 4, 5), 0.5, Usage(10, 20, 30, 40, 50), -0.25)
    assert amounts_of(spent) == Amounts(11, 22, 33, 44, 55, 0.5, -0.25)
    assert amounts_of(spent, at_list_price=True).at_list_price_usd == 0.5


def test_no_rows_are_a_summary_of_nothing() -> None:
    report = summary({}, TODAY)
    assert (report["today"]["cost_usd"], report["last_7_days"]["by_model"], report["days"]) == (0, [], [])
