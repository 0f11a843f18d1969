"""Claude's web searches in the records of a turn."""

import json
from typing import Any, Final

import pytest

from claude_openai.claude.control.records import effects_of_record
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.claude_options import NO_CLAUDE_OPTIONS, ClaudeOptions, WebSearch
from claude_openai.protocol.turn.events import (
    ReasoningDelta,
    SearchEnded,
    SearchStarted,
    Source,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from tests.pure.records import LOGIN, follow, good_result, message_delta, message_start, text, use

FOUND: Final = {
    "query": "trio",
    "results": [
        "I search.",
        {
            "tool_use_id": "srvtoolu_1",
            "content": [{"title": "Trio", "url": "https://a.org/"}, {"url": "https://b.org/"}],
        },
        "A summary.",
    ],
}
SOURCES: Final = (Source("https://a.org/", "Trio"), Source("https://b.org/", "https://b.org/"))


def reader(options: ClaudeOptions = ClaudeOptions(web_search=WebSearch())) -> TurnReader:  # noqa: B008 - is frozen
    return TurnReader(LOGIN, check=lambda name, _: None if name == "read" else "no", own_name=own_name, options=options)


def searches(turn: TurnReader, *queries: str) -> list[Any]:
    calls = [use(f"s{n}", "WebSearch", json.dumps({"query": query}), index=n) for n, query in enumerate(queries)]
    return follow(turn, message_start(), *(record for call in calls for record in call), message_delta("tool_use"))


def result(call_id: str, found: Any, **block: Any) -> dict[str, Any]:
    content = [{"type": "tool_result", "tool_use_id": call_id, "content": "text", **block}]
    return {"type": "user", "message": {"role": "user", "content": content}, "tool_use_result": found}


def test_a_turn_with_a_search_reports_its_query_and_sources_between_the_texts() -> None:
    turn = reader()
    effects = follow(turn, message_start(), text("I look."), *use("s0", "WebSearch", '{"query": "trio"}', index=1))
    effects += follow(turn, message_delta("tool_use"))
    effects += effects_of_record(result("s0", FOUND), turn)
    effects += follow(turn, message_start(), text("It is."), message_delta("end_turn"), good_result())
    assert [type(effect) for effect in effects[:1]] == [TurnStarted]
    assert effects[1:] == [
        TextDelta("I look."),
        SearchStarted("s0", "trio"),
        SearchEnded("s0", SOURCES),
        TextDelta("\n\nIt is."),
        TurnCompleted("stop", Usage()),
    ]


@pytest.mark.parametrize(
    "found", [{"query": "q", "results": ["Web search error: max_uses_exceeded"]}, "Error: denied", None, {"query": "q"}]
)
def test_a_search_without_a_list_of_results_has_failed(found: Any) -> None:
    turn = reader()
    searches(turn, "q")
    assert effects_of_record(result("s0", found, is_error=True), turn) == [SearchEnded("s0", failed=True)]


def test_a_search_that_finds_nothing_has_not_failed() -> None:
    turn = reader()
    searches(turn, "q")
    found = {"query": "q", "results": [{"tool_use_id": "x", "content": []}]}
    assert effects_of_record(result("s0", found), turn) == [SearchEnded("s0")]


def test_equal_sources_are_reported_once() -> None:
    turn = reader()
    searches(turn, "q")
    found = {"query": "q", "results": [FOUND["results"][1], FOUND["results"][1]]}
    assert effects_of_record(result("s0", found), turn) == [SearchEnded("s0", SOURCES)]


@pytest.mark.parametrize("arguments", ["", "{", "[]", '{"query": 3}', "{}"])
def test_search_without_a_query_is_reported_with_an_empty_one(arguments: str) -> None:
    turn = reader()
    effects = follow(turn, message_start(), *use("s0", "WebSearch", arguments), message_delta("tool_use"))
    assert effects[1:] == [SearchStarted("s0", "")]


def test_a_search_that_an_earlier_turn_began_is_reported_after_the_start() -> None:
    turn = reader()
    assert effects_of_record(result("s0", FOUND), turn) == ()
    first, second = follow(turn, message_start())
    assert isinstance(first, TurnStarted)
    assert second == SearchEnded("s0", SOURCES)


def test_a_search_beside_a_call_of_the_client_is_reported_before_it() -> None:
    turn = reader()
    call = use("c", "mcp__openai__read", "{}", index=1)
    search = use("s0", "WebSearch", '{"query": "q"}')
    effects = follow(turn, message_start(), *search, *call, message_delta("tool_use"))
    assert effects[1:] == [SearchStarted("s0", "q"), ToolCall("c", "read", "{}"), TurnCompleted("tool_calls", Usage())]


def test_the_tokens_of_a_search_are_part_of_the_usage() -> None:
    turn = reader()
    searches(turn, "q")
    effects_of_record(result("s0", FOUND), turn)
    follow(turn, message_start(input_tokens=2), text("It is."), message_delta("end_turn", input_tokens=2))
    models = {"m": {"inputTokens": 12, "outputTokens": 5}}
    (end,) = turn.result(**{**good_result(), "models": models})
    assert isinstance(end, TurnCompleted)
    assert (end.usage.input_tokens, end.usage.output_tokens) == (12, 5)


def test_results_of_other_tools_are_not_searches() -> None:
    turn = reader()
    searches(turn, "q")
    assert effects_of_record(result("other", {"stdout": ""}), turn) == []
    plain = {"type": "user", "message": {"role": "user", "content": "text"}}
    assert effects_of_record(plain, turn) == []


def test_search_of_the_tool_mode_is_reported_as_a_tool_note() -> None:
    turn = reader(ClaudeOptions(tool_mode="all"))
    assert searches(turn, "q")[1:] == [ReasoningDelta("\n[WebSearch: q]\n", tool="WebSearch")]
    assert effects_of_record(result("s0", FOUND), turn) == []


def test_a_tool_that_was_not_offered_is_refused_beside_a_search() -> None:
    turn = reader()
    follow(turn, message_start(), *use("b", "Bash", "{}"), message_delta("tool_use"))
    assert not turn.exact


def test_a_turn_without_the_search_of_the_request_fails_before_claude_answers() -> None:
    turn = reader()
    (failed,) = effects_of_record({"type": "system", "subtype": "init", "tools": ["Read"]}, turn)
    assert isinstance(failed, TurnFailed)
    assert (failed.error.status, failed.error.code) == (400, "web_search_not_available")
    assert turn.state is State.STOPPED


@pytest.mark.parametrize(
    ("options", "tools"), [(ClaudeOptions(web_search=WebSearch()), ["WebSearch"]), (NO_CLAUDE_OPTIONS, [])]
)
def test_a_turn_with_all_tools_of_its_request_begins(options: ClaudeOptions, tools: list[str]) -> None:
    turn = reader(options)
    assert effects_of_record({"type": "system", "subtype": "init", "tools": tools}, turn) == ()
    assert turn.state is State.WAITING
