"""The table of a turn's states, and that the reader goes by it."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import pytest

from claude_openai.protocol.claude_code import turn_states
from claude_openai.protocol.claude_code.effects import Effect
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import ENDS, TRANSITIONS, Input, State
from claude_openai.protocol.turn.claude_options import ClaudeOptions, WebSearch
from tests.pure.records import (
    GOOD,
    LOGIN,
    STOP,
    abandoned_from,
    bad_result,
    fits,
    follow,
    good_result,
    message_delta,
    message_start,
    text,
    use,
)

HOW_A_MESSAGE_ENDS = {
    *(Input.CALLS, Input.GOES_ON, Input.ANSWER, Input.FINISHED, Input.BROKEN_OFF, Input.WITHDRAWN),
}
# What has no effect, and why.
IGNORED = {
    # Nothing that comes after the end has one, but another message to Claude Code at rest.
    *((state, each) for state in ENDS for each in Input if (state, each) != (State.IDLE, Input.ASKED_AGAIN)),
    # Only a message that is streamed can end.
    *((state, each) for state in (State.WAITING, State.BETWEEN, State.ANSWERED) for each in HOW_A_MESSAGE_ENDS),
    # A message that begins before the end of another ends that one first, as broken off.
    (State.MESSAGE, Input.MESSAGE_START),
    # What is begun is paid for: Claude Code may try again after any refusal.
    *((state, Input.RETRY_REFUSED) for state in (State.MESSAGE, State.BETWEEN, State.ANSWERED)),
    # The tools are known when Claude Code begins.
    *((state, Input.LACKS_TOOL) for state in (State.MESSAGE, State.BETWEEN, State.ANSWERED)),
    # Claude is asked again by the server, and only when Claude Code is at rest.
    *((state, Input.ASKED_AGAIN) for state in State if state is not State.IDLE),
}


def test_each_state_and_input_has_a_transition_or_a_reason_to_have_none() -> None:
    assert set(TRANSITIONS) | IGNORED == {(state, each) for state in State for each in Input}
    assert set(TRANSITIONS) & IGNORED == set()


def test_each_state_is_reached_and_each_that_is_no_end_leads_to_one() -> None:
    after = {state: {to for (start, _), to in TRANSITIONS.items() if start is state} for state in State}
    reached = {State.WAITING}
    for _ in State:
        reached |= {to for state in reached for to in after[state]}
    assert reached == set(State)
    assert all(after[state] & ENDS for state in set(State) - ENDS)


def test_the_drawing_has_every_state_and_every_input() -> None:
    drawing = (turn_states.__doc__ or "").partition("are the ends")[0]
    assert [each.name for each in (*State, *Input) if each.name not in drawing] == []


WAITING: list[dict[str, Any]] = []
BETWEEN = [message_start(), *use("a", "read", "{}"), message_delta("tool_use"), STOP]
RECORDS: dict[State, list[dict[str, Any]]] = {
    State.WAITING: WAITING,
    State.MESSAGE: [message_start()],
    State.BETWEEN: BETWEEN,
    State.ANSWERED: [message_start(), text("Hi"), message_delta("end_turn"), STOP],
    State.IDLE: [message_start(), text("Hi"), message_delta("end_turn"), STOP, good_result("Hi")],
    State.PARKED: [message_start(), *use("a", "read", GOOD), message_delta("tool_use"), STOP],
    State.STOPPED: [message_start(), text("Hi"), message_delta("max_tokens"), STOP],
}


def records(*written: dict[str, Any]) -> Callable[[TurnReader], Sequence[Effect]]:
    return lambda reader: follow(reader, *written)


def ask_again(reader: TurnReader) -> Sequence[Effect]:
    reader.ask_again()
    return ()


def gone(reader: TurnReader) -> Sequence[Effect]:
    return () if reader.ended else [reader.gone("exit status 1")]


TAKE: dict[Input, Callable[[TurnReader], Sequence[Effect]]] = {
    Input.MESSAGE_START: records(message_start()),
    Input.CALLS: records(*use("b", "read", GOOD), message_delta("tool_use")),
    Input.GOES_ON: records(*use("b", "read", "{}"), message_delta("tool_use")),
    Input.ANSWER: records(text("Hello"), message_delta("end_turn")),
    Input.FINISHED: records(text("Hello"), message_delta("refusal")),
    Input.BROKEN_OFF: records(abandoned_from(0)),
    Input.WITHDRAWN: records(text("Hello"), abandoned_from(0)),
    Input.LACKS_TOOL: lambda reader: reader.begun(()),
    Input.RETRY_REFUSED: lambda reader: reader.retry(status=429, delay_ms=1, kind="rate_limit"),
    Input.RESULT: records(good_result("Hi")),
    Input.FAILURE: records(bad_result(529)),
    Input.ASKED_AGAIN: ask_again,
    Input.GONE: gone,
}


def reader_in(state: State) -> TurnReader:
    reader = TurnReader(LOGIN, check=fits, options=ClaudeOptions(web_search=WebSearch()))
    follow(reader, *RECORDS[state])
    assert reader.state is state
    return reader


# These end a message that is under way first; see the test after this one.
ENDING_FIRST = [(State.MESSAGE, Input.MESSAGE_START), (State.MESSAGE, Input.RETRY_REFUSED)]


@pytest.mark.parametrize(("state", "what"), [pair for pair in product(State, Input) if pair not in ENDING_FIRST])
def test_the_reader_goes_by_the_table(state: State, what: Input) -> None:
    reader = reader_in(state)
    effects = TAKE[what](reader)
    assert reader.state is TRANSITIONS.get((state, what), state)
    if (state, what) not in TRANSITIONS:
        assert not effects


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("what", [Input.MESSAGE_START, Input.RETRY_REFUSED])
def test_a_message_that_has_no_end_broke_off_when_the_next_thing_comes(what: Input, said: bool) -> None:
    reader = reader_in(State.MESSAGE)
    if said:
        follow(reader, text("Hel"))
    TAKE[what](reader)
    after = State.MESSAGE if what is Input.MESSAGE_START else State.BETWEEN
    assert reader.state is (State.STOPPED if said else after)
