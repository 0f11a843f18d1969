"""The accounts of a server: reports are added up by day, model and key, and limits refuse the next turn."""

from datetime import datetime

from claude_openai.logs.log import NULL_LOG
from claude_openai.protocol.turn.events import Usage
from claude_openai.protocol.turn.reports import AccountLimits, ModelSpent, Spent, Window
from claude_openai.runs.usage.ledger import MAX_MODELS, Ledger, book_of
from claude_openai.runs.usage.limits import UsageLimits

NOON = datetime(2026, 11, 27, 12).timestamp()
DAY_S = 86400.0


def spent(usd: float = 1.0, model: str = "opus", *, at_list_price: bool = False) -> Spent:
    return Spent({model: ModelSpent(Usage(10, output_tokens=5), usd)}, at_list_price)


class Clock:
    """Unix time that the test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def test_reports_are_added_up_by_day_model_and_key() -> None:
    clock = Clock()
    ledger = Ledger(key="default", now=clock)
    ledger.spend(spent())
    clock.now += DAY_S
    ledger.spend(spent(2.0))
    ledger.spend(spent(4.0, "haiku", at_list_price=True))
    report = ledger.report(*ledger.read_rows())
    assert (report["today"]["cost_usd"], report["today"]["at_list_price_usd"]) == (6.0, 4.0)
    assert report["last_7_days"]["cost_usd"] == 7.0
    assert [(each["key"], each["output_tokens"]) for each in report["last_7_days"]["by_key"]] == [("default", 15)]
    assert [each["day"] for each in report["days"]] == ["2026-11-28", "2026-11-27"]


def test_estimated_dollars_count_for_the_limit() -> None:
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), now=Clock())
    ledger.spend(Spent({"opus": ModelSpent(estimated_usage=Usage(5), estimated_usd=0.99)}))
    assert ledger.refusal() is None
    ledger.spend(Spent({"opus": ModelSpent(estimated_usage=Usage(5), estimated_usd=0.01)}))
    assert ledger.refusal() is not None
    assert ledger.report(*ledger.read_rows())["refusing"].startswith("This server has used $1.00 today")


def test_next_day_begins_with_nothing_spent() -> None:
    clock = Clock()
    ledger = Ledger(UsageLimits(max_cost_usd=1.0), now=clock)
    ledger.spend(spent())
    assert ledger.refusal() is not None
    clock.now += DAY_S
    assert ledger.refusal() is None


def test_a_full_window_refuses_until_its_reset() -> None:
    clock = Clock()
    ledger = Ledger(UsageLimits(stop_at=0.9), now=clock)
    assert ledger.refusal() is None
    ledger.note_limits(AccountLimits({"five_hour": Window(0.93, NOON + 60, "allowed_warning")}))
    assert ledger.refusal() is not None
    assert ledger.header.startswith("five_hour=0.93;reset=")
    clock.now += 61
    assert ledger.refusal() is None
    assert ledger.header == ""


def test_windows_that_another_ledger_has_seen_are_known() -> None:
    clock = Clock()
    book = book_of(None, NULL_LOG)
    one, other = (Ledger(UsageLimits(stop_at=0.9), book=book, now=clock) for _ in range(2))
    one.note_limits(AccountLimits({"five_hour": Window(0.93, NOON + 60, "allowed_warning")}))
    assert other.refusal() is not None
    clock.now += 5
    other.note_limits(AccountLimits({"five_hour": Window(0.94, NOON + 60, "allowed_warning")}))
    assert one.header.startswith("five_hour=0.94")


def test_models_beyond_the_first_64_are_counted_together() -> None:
    ledger = Ledger(now=Clock())
    names = {name for number in range(MAX_MODELS + 6) for name, _ in ledger.spend(spent(1.0, f"model-{number}"))}
    assert len(names) == MAX_MODELS + 1
    today = ledger.report(*ledger.read_rows())["today"]
    assert today["cost_usd"] == MAX_MODELS + 6
    assert (today["by_model"][0]["model"], today["by_model"][0]["cost_usd"]) == ("other", 6.0)
