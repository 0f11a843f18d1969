"""The usage windows of the account: kept by name, with their age, until they reset; and one warning each."""

import json
from typing import Any

from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.protocol.turn.reports import AccountLimits, Window
from claude_openai.runs.usage.account import MAX_WINDOWS, AccountWindows

NOW = 1_795_000_000.0
RESET = NOW + 600


class Seen(AccountWindows):
    """Windows whose log is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []
        self.log = Log(Level.DEBUG, lambda line: self.records.append(json.loads(line)), Redactor())

    def see(self, at: float = NOW, /, *, uses_overage: bool = False, **windows: Window) -> list[str]:
        """Note the windows; return the names in the warnings that this logs."""
        before = len(self.records)
        self.note(AccountLimits(windows, "allowed", uses_overage=uses_overage), at, self.log)
        return [record.get("window", record["event"]) for record in self.records[before:]]


def window(utilization: float, resets_at: float | None = RESET, status: str = "allowed") -> Window:
    return Window(utilization, resets_at, status)


def test_a_window_warns_once_when_it_passes_80_percent_and_once_when_it_is_used_up() -> None:
    seen = Seen()
    assert seen.see(five_hour=window(0.79)) == []
    assert seen.see(five_hour=window(0.8)) == ["five_hour"]
    assert seen.see(five_hour=window(0.9)) == []
    assert seen.see(five_hour=window(1.0)) == ["five_hour"]
    assert seen.see(five_hour=window(1.0)) == []
    assert seen.records[0]["utilization"] == 0.8
    assert seen.records[0]["resets_at"] == RESET


def test_a_window_warns_again_after_its_reset() -> None:
    seen = Seen()
    assert seen.see(five_hour=window(0.9)) == ["five_hour"]
    assert seen.see(RESET + 1, five_hour=window(0.85, RESET + 600)) == ["five_hour"]


def test_overage_warns_once() -> None:
    seen = Seen()
    assert seen.see(uses_overage=True) == ["limit.overage"]
    assert seen.see(uses_overage=True) == []


def test_header_has_the_windows_beyond_80_percent_that_have_not_reset() -> None:
    seen = Seen()
    assert seen.header(NOW) == ""
    seen.see(five_hour=window(0.93), seven_day=window(0.5), opus=window(0.81, None))
    assert seen.header(NOW) == f"five_hour=0.93;reset={RESET:.0f}, opus=0.81"
    assert seen.header(RESET + 1) == "opus=0.81"


def test_a_window_that_has_reset_is_unknown() -> None:
    seen = Seen()
    seen.see(five_hour=window(0.93))
    (before,), (after,) = seen.to_json(NOW + 60)["windows"], seen.to_json(RESET + 1)["windows"]
    assert before == {
        "window": "five_hour", "utilization": 0.93, "resets_at": RESET, "status": "allowed", "age_s": 60,
    }  # fmt: skip
    assert (after["utilization"], after["status"]) == (None, "reset")


def test_each_window_keeps_its_own_age() -> None:
    seen = Seen()
    seen.see(five_hour=window(0.1), seven_day=window(0.2))
    seen.see(NOW + 100, five_hour=window(0.3))
    seen.see(NOW + 150)
    ages = {each["window"]: (each["utilization"], each["age_s"]) for each in seen.to_json(NOW + 200)["windows"]}
    assert ages == {"five_hour": (0.3, 100), "seven_day": (0.2, 200)}


def test_stored_windows_are_restored_with_their_age() -> None:
    seen, other = Seen(), AccountWindows()
    seen.see(five_hour=window(0.93), uses_overage=True)
    other.restore(json.loads(json.dumps(seen.stored())))
    assert other.to_json(NOW + 5) == seen.to_json(NOW + 5)


def test_an_older_stored_window_does_not_replace_a_newer_one() -> None:
    old, new = Seen(), Seen()
    old.see(five_hour=window(0.1), seven_day=window(0.2))
    new.see(NOW + 5, five_hour=window(0.3))
    new.restore(old.stored())
    assert {name: seen.window.utilization for name, seen in new.windows.items()} == {"five_hour": 0.3, "seven_day": 0.2}


def test_stored_limits_of_another_form_are_ignored() -> None:
    others: list[dict[str, Any]] = [{}, {"windows": []}, {"windows": {"a": {}}}, {"windows": {"a": {"seen_at": "x"}}}]
    for stored in others:
        windows = AccountWindows()
        windows.restore(stored)
        assert windows.to_json(NOW)["windows"] == []


def test_number_of_windows_is_bounded() -> None:
    seen = Seen()
    for number in range(MAX_WINDOWS + 5):
        seen.note(AccountLimits({f"w{number}": window(0.1)}), NOW, seen.log)
    assert len(seen.windows) == MAX_WINDOWS
