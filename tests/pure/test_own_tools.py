"""What is told of a turn in which Claude Code runs tools of its own."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.toolbox import own_name
from claude_openai.errors import UpstreamError
from claude_openai.protocol.agent import Agent
from claude_openai.protocol.calls import MAX_CORRECTIONS
from claude_openai.protocol.cli_stream import TurnReader
from claude_openai.protocol.events import Event, ReasoningDelta, TextDelta, ToolCall, TurnCompleted, TurnStarted, Usage
from claude_openai.protocol.tool_notes import SHOWN_CHARS, tool_note
from tests.pure.test_cli_stream import LOGIN, failure_of, follow, good_result, message_delta, message_start, text


def reader(**more: Any) -> TurnReader:
    return TurnReader(
        LOGIN, check=lambda _id, _name, _arguments: None, own_name=own_name, **{"agent": Agent(tool_mode="all"), **more}
    )


def call(name: str, call_id: str = "toolu_1", **arguments: Any) -> list[dict[str, Any]]:
    pieces = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    return [
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": call_id, "name": name}},
        {"type": "content_block_delta", "delta": pieces},
        {"type": "content_block_stop"},
    ]


def without_start(events: list[Event]) -> list[Event]:
    assert isinstance(events[0], TurnStarted)
    return events[1:]


def test_the_turn_goes_on_after_its_own_tools_and_each_is_told_of_as_reasoning() -> None:
    events = follow(
        reader(),
        message_start(output_tokens=3),
        text("I look."),
        *call("Read", file_path="/w/a.py"),
        message_delta("tool_use", output_tokens=3),
        message_start(output_tokens=2),
        text("It is"),
        text(" empty."),
        message_delta("end_turn", output_tokens=2),
        good_result("It is empty."),
    )
    assert without_start(events) == [
        TextDelta("I look."),
        ReasoningDelta("\n[Read: /w/a.py]\n", tool="Read"),
        TextDelta("\n\nIt is"),
        TextDelta(" empty."),
        TurnCompleted("stop", Usage(output_tokens=5)),
    ]


def test_when_it_is_not_to_be_told_only_the_log_hears_of_it() -> None:
    turn = reader(agent=Agent(tool_mode="all", tell_tools=False))
    events = follow(turn, message_start(), *call("Read", file_path="/w/a.py"))
    assert without_start(events) == [ReasoningDelta("", tool="Read")]


def test_nothing_separates_the_first_text_from_tools_before_it() -> None:
    events = follow(
        reader(),
        message_start(),
        *call("Glob"),
        message_delta("tool_use"),
        message_start(),
        text("None."),
        good_result(),
    )
    assert without_start(events)[:2] == [ReasoningDelta("\n[Glob]\n", tool="Glob"), TextDelta("None.")]


def test_a_call_of_the_client_beside_its_own_ends_the_answer() -> None:
    turn = reader()
    mine = call("mcp__openai__ask", "toolu_2", question="which?")
    events = follow(turn, message_start(), *call("Read", file_path="a"), *mine, message_delta("tool_use"))
    assert turn.awaiting_results
    assert without_start(events) == [
        ReasoningDelta("\n[Read: a]\n", tool="Read"),
        ToolCall("toolu_2", "ask", '{"question": "which?"}'),
        TurnCompleted("tool_calls", Usage()),
    ]


def test_without_tools_of_its_own_a_foreign_name_is_a_mistake_that_claude_may_correct_a_few_times() -> None:
    turn = TurnReader(LOGIN, own_name=own_name)
    one = [message_start(), *call("Read", file_path="a"), message_delta("tool_use")]
    assert without_start(follow(turn, *one)) == []
    for _ in range(MAX_CORRECTIONS - 1):
        assert follow(turn, *one) == []
    assert isinstance(failure_of(follow(turn, *one)), UpstreamError)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"command":"ls -l\\n rm x","description":"d"}', ": ls -l rm x"),
        ('{"description":"d"}', ": d"),
        ('{"file_path":7}', ": 7"),
        ("{}", ""),
        ("[1]", ""),
        ("{", ""),
        ("[" * 100_000, ""),
    ],
)
def test_a_note_is_one_line_with_what_the_tool_is_about(arguments: str, shown: str) -> None:
    assert tool_note("Bash", arguments).text == f"\n[Bash{shown}]\n"


@given(st.text())
def test_a_note_is_short(command: str) -> None:
    assert len(tool_note("Bash", json.dumps({"command": command})).text) <= SHOWN_CHARS + len("\n[Bash: ]\n")
