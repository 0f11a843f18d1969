"""The settings of a turn: which of them reach Claude Code, and which make a difference."""

from claude_openai.claude.process.turn_settings import TurnSettings

TRACED = TurnSettings(trace_context={"traceparent": "00-1-2-01"})


def test_trace_context_reaches_claude_code_and_resets_the_state_of_an_earlier_turn() -> None:
    assert TRACED.environment == {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "", "TRACEPARENT": "00-1-2-01", "TRACESTATE": ""}
    assert TurnSettings().environment == {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": ""}


def test_trace_context_makes_no_difference() -> None:
    # Otherwise the results of a parked conversation would never fit.
    assert TurnSettings() == TRACED


def test_fast_mode_is_a_setting_that_the_next_turn_resets() -> None:
    fast = TurnSettings(fast_mode=True)
    assert fast != TurnSettings()
    asked, reset = (settings.frame()["request"]["settings"] for settings in (fast, TurnSettings()))
    assert (asked["fastMode"], reset["fastMode"]) == (True, None)


def test_the_lifetime_of_the_cache_is_a_setting_that_the_next_turn_resets() -> None:
    hour = TurnSettings(cache_ttl="1h")
    assert hour != TurnSettings()
    asked, reset = (settings.frame()["request"]["settings"] for settings in (hour, TurnSettings()))
    assert (asked["promptCacheTtl"], reset["promptCacheTtl"]) == ("1h", None)
    assert asked["env"] == reset["env"]
