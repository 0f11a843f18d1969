"""The notes of a turn in which Claude Code runs its own tools."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall, Effect
from claude_openai.protocol.claude_code.tool_calls import MAX_CORRECTIONS
from claude_openai.protocol.claude_code.tool_names import own_name
from claude_openai.protocol.claude_code.tool_notes import MAX_NOTE_CHARS, tool_note
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.claude_options import ClaudeOptions
from claude_openai.protocol.turn.events import ReasoningDelta, TextDelta, ToolCall, TurnCompleted, TurnStarted, Usage
from tests.pure.records import (
    LOGIN,
    STOP,
    abandoned_from,
    failure_of,
    follow,
    good_result,
    message_delta,
    message_start,
    text,
    thinking,
    use,
)


def reader(**more: Any) -> TurnReader:
    return TurnReader(
        LOGIN,
        check=lambda _name, _arguments: None,
        own_name=own_name,
        **{"options": ClaudeOptions(tool_mode="all"), **more},
    )


def call(name: str, call_id: str = "toolu_1", index: int = 1, **arguments: Any) -> list[dict[str, Any]]:
    return use(call_id, name, json.dumps(arguments), index=index)


def without_start(effects: list[Effect]) -> list[Effect]:
    assert isinstance(effects[0], TurnStarted)
    return effects[1:]


def test_turn_continues_after_own_tools_and_notes_each_as_reasoning() -> None:
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


def test_hidden_tool_use_is_only_logged() -> None:
    turn = reader(options=ClaudeOptions(tool_mode="all", show_tool_use=False))
    events = follow(turn, message_start(), *call("Read", file_path="/w/a.py"), message_delta("tool_use"))
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
    mine = call("mcp__openai__ask", "toolu_2", 2, question="which?")
    events = follow(turn, message_start(), *call("Read", file_path="a"), *mine, message_delta("tool_use"))
    assert turn.state is State.PARKED
    assert without_start(events) == [
        ReasoningDelta("\n[Read: a]\n", tool="Read"),
        ToolCall("toolu_2", "ask", '{"question": "which?"}'),
        TurnCompleted("tool_calls", Usage()),
    ]


@pytest.mark.parametrize("silent", [[], [thinking("Hm")]])
def test_text_and_a_tool_of_its_own_and_then_an_empty_end_is_an_answer(silent: list[dict[str, Any]]) -> None:
    written = [message_start(), text("Known."), *call("Read", file_path="a"), message_delta("tool_use"), STOP]
    events = follow(reader(), *written, message_start(), *silent, message_delta("end_turn"))
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("Known.")]
    assert events[-1] == TurnCompleted("stop", Usage())


def test_tool_whose_call_broke_off_has_no_note() -> None:
    broken = [message_start(), text("I look."), *call("Read", file_path="/w/a.py")[:-1], abandoned_from(1)]
    assert without_start(follow(reader(), *broken)) == [TextDelta("I look.")]


def test_without_tools_of_its_own_a_foreign_name_is_a_mistake_that_claude_may_correct_a_few_times() -> None:
    turn = TurnReader(LOGIN, own_name=own_name)
    one = [message_start(), *call("Read", file_path="a"), message_delta("tool_use")]
    for _ in range(MAX_CORRECTIONS):
        assert follow(turn, *one)[-1] == AnswerCall("toolu_1", "No tools are available.")
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
    assert len(tool_note("Bash", json.dumps({"command": command})).text) <= MAX_NOTE_CHARS + len("\n[Bash: ]\n")
