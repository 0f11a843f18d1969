"""The phases of a conversation: what a turn's end makes of it, and which transitions there are."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from claude_openai.claude.sdk.conversation_state import TRANSITIONS, ConversationState, Phase, TurnOutcome
from claude_openai.protocol.openai.chat.request import parse_chat_request
from claude_openai.protocol.turn.blocks import Message, TextBlock, ThinkingBlock
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.protocol.wire.models import ModelCatalog


def request_with(*texts: str) -> TurnRequest:
    messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]
    body = {"model": "sonnet", "messages": messages, "max_tokens": 7}
    return parse_chat_request(json.dumps(body).encode(), ModelCatalog("sonnet", ()))


REQUEST = request_with("Hi", "Hello.", "And?")
ANSWER = Message("assistant", (TextBlock("So."),))
THOUGHT = (ThinkingBlock("{}", "sonnet"),)
GOOD = TurnOutcome(ANSWER, "id", (), THOUGHT, exact=True, reusable=True)
CALLS = replace(GOOD, calls=("a", "b"))
FIRST = ConversationState.first(REQUEST, "session")


def test_first_state_is_busy_and_has_the_ids_of_the_messages_it_resumes_from() -> None:
    assert FIRST.phase is Phase.BUSY
    assert [bool(ident) for ident in FIRST.message_ids] == [True, False]


@pytest.mark.parametrize(
    ("outcome", "alive", "phase"),
    [
        (GOOD, True, Phase.IDLE),
        (CALLS, True, Phase.PARKED),
        (GOOD, False, Phase.BROKEN),
        (CALLS, False, Phase.BROKEN),
        (replace(GOOD, reusable=False), True, Phase.BROKEN),
        (replace(CALLS, reusable=False), True, Phase.BROKEN),
        (replace(GOOD, exact=False), True, Phase.BROKEN),
        (replace(CALLS, exact=False), True, Phase.PARKED),
    ],
)
def test_after_turn_phase_follows_from_its_outcome(outcome: TurnOutcome, alive: bool, phase: Phase) -> None:
    assert FIRST.after(REQUEST, outcome, alive=alive).phase is phase


def test_after_turn_state_holds_the_answer_and_the_settings() -> None:
    state = FIRST.after(REQUEST, CALLS, alive=True)
    assert state.history == (*REQUEST.turns, REQUEST.prompt, ANSWER)
    assert state.message_ids == (*FIRST.message_ids, "id", "")
    assert (state.pending, state.thinking, state.settings.max_tokens) == (("a", "b"), THOUGHT, 7)


def test_after_turn_that_was_not_exact_no_later_turn_is() -> None:
    parked = FIRST.after(REQUEST, replace(CALLS, exact=False), alive=True)
    assert parked.taken().after(REQUEST, CALLS, alive=True).phase is Phase.PARKED
    assert parked.taken().after(REQUEST, GOOD, alive=True).phase is Phase.BROKEN


def test_taken_state_waits_for_nothing_and_holds_the_same_history() -> None:
    parked = FIRST.after(REQUEST, CALLS, alive=True)
    taken = parked.taken()
    assert (taken.phase, taken.pending, taken.thinking, taken.history) == (Phase.BUSY, (), (), parked.history)


def test_rewound_state_has_the_first_messages() -> None:
    taken = FIRST.after(REQUEST, GOOD, alive=True).taken()
    assert taken.rewound_to(2).message_ids == FIRST.message_ids


@pytest.mark.parametrize("phase", Phase)
def test_transition_that_is_not_in_the_table_is_an_error(phase: Phase) -> None:
    state = replace(FIRST, phase=phase)
    steps: dict[Phase, Callable[[], ConversationState]] = {
        Phase.BUSY: state.taken,
        Phase.IDLE: lambda: state.after(REQUEST, GOOD, alive=True),
        Phase.PARKED: lambda: state.after(REQUEST, CALLS, alive=True),
        Phase.BROKEN: lambda: state.after(REQUEST, GOOD, alive=False),
    }
    for target, step in steps.items():
        if target in TRANSITIONS[phase]:
            assert step().phase is target
        else:
            with pytest.raises(AssertionError, match=f"from {phase.name} to {target.name}"):
                step()
