"""The log as text: one line a request that fits the terminal, and nothing in it can control the terminal."""

import re
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.logs.text_format import ANNOUNCED, REDUNDANT, TextStyle, text_of
from tests.docs_tables import DOCS

TURN: dict[str, Any] = {
    "time": "2026-11-27T09:32:09.123Z",
    "level": "info",
    "event": "http.request",
    "request_id": "req_1",
    "method": "POST",
    "path": "/v1/chat/completions",
    "status": 200,
    "duration_ms": 3210.3,
    "model": "claude-sonnet",
    "run_id": "run_0123456789abcdef01234567",
    "conversation": "continued",
    "waited_ms": 120.4,
    "ttft_ms": 912.3,
    "prompt_tokens": 8123,
    "completion_tokens": 402,
}
ADVICE = "Claude Code is not logged in. Run `claude auth login` on the machine of the server, or set ANTHROPIC_API_KEY."
FAILED = {**TURN, "status": 403, "code": "upstream_authentication_error", "message": ADVICE}
MODELS = {**{name: TURN[name] for name in ("time", "level", "event", "method", "path", "status", "duration_ms")}}
MODELS |= {"method": "GET", "path": "/v1/models"}
HOSTILE = "\x1b[2J\x9b31m\r\n\t\x07\x7f\u202e\u2028\u200b\ud800"
SGR = re.compile(r"\x1b\[\d+m")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
styles = st.builds(
    TextStyle,
    st.none() | st.integers(1, 250),
    colours=st.booleans(),
    has_date=st.booleans(),
    zone=st.just(UTC),
    is_live=st.booleans(),
)


def text(record: dict[str, Any], width: int | None = 200, *, colours: bool = False) -> str:
    shown = text_of(record, TextStyle(width, colours=colours, zone=UTC))
    assert shown is not None
    return shown


def events(*levels: str) -> list[tuple[str, str]]:
    """Each event of the documentation at each of these levels that it has."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \|", (DOCS / "watching.md").read_text("utf-8"), re.MULTILINE)
    shown = [(event, level) for event, named in rows for level in levels if level in named or named == "any"]
    assert len(shown) > 30
    return shown


# Requests


def test_turn_at_200_columns_is_one_line_with_all_of_it() -> None:
    assert text(TURN).split() == [
        *("09:32:09", "200", "claude-sonnet", "continued", "wait", "0.1s", "first", "0.9s", "total", "3.2s"),
        *("8123+402", "tok", "run_01234567"),
    ]


def test_turn_at_60_columns_keeps_the_most_important_columns() -> None:
    assert text(TURN, 60) == "09:32:09 200 claude-sonnet    total 3.2s   8123+402 tok"


@pytest.mark.parametrize("width", [60, 80, 100, 110, 120, 200])
def test_columns_of_turns_align(width: int) -> None:
    other = {**TURN, "model": "claude-opus-4-1-20250805-of-a-long-name", "conversation": "new", "waited_ms": 90_000}
    other |= {"ttft_ms": 100_000, "duration_ms": 200_000, "prompt_tokens": 100_000, "completion_tokens": 1}
    lines = [text(record, width) for record in (TURN, other)]
    assert lines[0].index("total") == lines[1].index("total")
    assert all(len(line) <= width for line in lines)
    assert ("run_01234567" in lines[0]) == ("run_01234567" in lines[1])


def test_failed_turn_continues_with_error_and_hint_below_the_model() -> None:
    for width in (60, 200):
        first, *rest = text(FAILED, width).split("\n")
        assert first.startswith("09:32:09 403 claude-sonnet")
        assert all(line.startswith(" " * 13) and len(line) <= width for line in rest)
        assert " ".join(line.strip() for line in rest) == f"upstream_authentication_error: {ADVICE}"


def test_line_without_a_terminal_is_one_line_of_any_length() -> None:
    line = text(FAILED, None)
    assert "\n" not in line
    assert line.endswith(ADVICE)


def test_short_error_is_on_the_line_itself() -> None:
    record = {**MODELS, "status": 400, "code": "invalid_value", "param": "tool_choice"}
    assert text(record, 100) == "09:32:09 400 GET /v1/models total 3.2s invalid_value (tool_choice)"


def test_request_without_turn_shows_method_and_path() -> None:
    assert text(MODELS) == "09:32:09 200 GET /v1/models total 3.2s"
    cut = text({**MODELS, "path": "/" + "x" * 100}, 60)
    assert (len(cut), cut[:20], cut[-13:]) == (60, "09:32:09 200 GET /xx", "x… total 3.2s")


def test_turn_that_did_not_begin_has_empty_columns() -> None:
    begun = ("conversation", "ttft_ms", "prompt_tokens", "completion_tokens")
    line = text({name: value for name, value in TURN.items() if name not in begun})
    assert line.split() == ["09:32:09", "200", "claude-sonnet", "wait", "0.1s", "total", "3.2s", "run_01234567"]
    assert line.index("total") == text(TURN).index("total")


# Colours


@pytest.mark.parametrize(
    ("status", "code", "colour"),
    [(200, None, "32"), (404, "x", "33"), (499, None, "35"), (503, "x", "31"), (200, "timeout", "31")],
)
def test_colour_of_status_tells_the_outcome(status: int, code: str | None, colour: str) -> None:
    record = {**TURN, "status": status, **({"code": code} if code else {})}
    assert f"\x1b[{colour}m{status}\x1b[0m" in text(record, colours=True)


@pytest.mark.parametrize("record", [TURN, FAILED, MODELS, {**MODELS, "event": "spare.failed", "level": "warning"}])
@pytest.mark.parametrize("width", [60, 200])
def test_colours_change_nothing_else(record: dict[str, Any], width: int) -> None:
    coloured = text(record, width, colours=True)
    assert SGR.sub("", coloured) == text(record, width)
    assert coloured.count("\x1b[0m") == len(SGR.findall(coloured)) / 2 > 0
    assert "\x1b" not in text(record, width)


# Control characters


@pytest.mark.parametrize(
    "field", ["model", "path", "method", "param", "code", "message", "conversation", "run_id", "time"]
)
def test_control_characters_of_clients_are_escaped(field: str) -> None:
    for record in (FAILED, {**MODELS, "code": "c", "param": "p", "message": "m"}):
        shown = text({**record, field: HOSTILE + "end"}, None)
        assert shown.isprintable()


@given(st.dictionaries(st.sampled_from([*FAILED, "param", "text", "traceback"]) | st.text(), json_values), styles)
def test_any_record_gives_printable_lines_or_none(record: dict[str, Any], style: TextStyle) -> None:
    shown = text_of({**record, "event": record.get("event", "http.request")}, style)
    assert shown is None or all(line.isprintable() for line in SGR.sub("", shown).split("\n"))


@given(st.fixed_dictionaries({name: st.text(max_size=300) for name in ("model", "path", "conversation", "run_id")}))
def test_lines_of_requests_fit_60_columns(fields: dict[str, str]) -> None:
    for record in ({**TURN, **fields}, {**MODELS, "path": fields["path"]}):
        assert len(text(record, 60)) <= 60


# Other events


@pytest.mark.parametrize(("event", "level"), events("info", "warning", "error"))
def test_each_event_has_a_line_or_is_named_as_hidden(event: str, level: str) -> None:
    fields = {"reason": "of the test", "run_id": "run_" + "0" * 24, "message": HOSTILE, "traceback": "a\nb"}
    record = {"time": TURN["time"], "level": level, "event": event, **fields}
    for width in (60, 200):
        shown = text_of(record, TextStyle(width, zone=UTC))
        if event in REDUNDANT or (event, level) == ("python.log", "info"):
            assert shown is None
            continue
        assert shown is not None
        assert all(len(line) <= width and line.isprintable() for line in shown.split("\n"))
        assert level in shown or event == "http.request"
        assert event in shown or event == "http.request"
        assert (text_of(record, TextStyle(width, zone=UTC, is_live=True)) is None) == (event in ANNOUNCED)


def test_warning_has_message_then_fields_without_tracebacks_and_request_ids() -> None:
    record = {"time": TURN["time"], "level": "warning", "event": "claude.outdated", "message": "too old", "n": 1}
    record |= {"request_id": "req_1", "traceback": "secret", "empty": "", "long": "x" * 500}
    assert text(record, None) == f"09:32:09 warning claude.outdated: too old n=1 long={'x' * 199}…"


def test_time_is_of_the_zone_and_has_a_date_on_request() -> None:
    style = TextStyle(None, has_date=True, zone=UTC)
    assert str(text_of(MODELS, style)).startswith("11-27 09:32:09 200 ")
