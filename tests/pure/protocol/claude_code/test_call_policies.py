"""`tool_choice` and `parallel_tool_calls`: what they make of the effects of a turn."""

from collections.abc import Sequence

import pytest

from claude_openai.protocol.claude_code.call_policies import MUST_CALL, ONE_CALL_ONLY, CallRequired, OneCallOnly
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.turn.events import (
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)

CALL = ToolCall("a", "read", "{}")
OTHER = ToolCall("b", "read", "{}")
TEXT = TextDelta("So:")
STOP = TurnCompleted("stop", Usage())
CALLED = TurnCompleted("tool_calls", Usage())


def required(*effects: Effect, asked_again: bool = False) -> list[Effect]:
    demand = CallRequired()
    return [each for effect in effects for each in demand.filter(effect, asked_again=asked_again)]


def test_text_waits_for_the_call() -> None:
    demand = CallRequired()
    assert demand.filter(TEXT, asked_again=False) == []
    assert demand.filter(CALL, asked_again=False) == [TEXT, CALL]
    assert demand.filter(CALLED, asked_again=False) == [CALLED]


def test_what_is_no_text_waits_for_nothing() -> None:
    others: Sequence[Effect] = [TurnStarted("m"), ReasoningDelta("Hm."), AnswerCall("c", "no")]
    assert required(TEXT, *others) == others


def test_an_answer_in_text_is_dropped_and_asked_for_again_once() -> None:
    demand = CallRequired()
    assert [demand.filter(each, asked_again=False) for each in (TEXT, STOP)] == [[], [AskClaude(MUST_CALL)]]
    assert demand.filter(CALL, asked_again=True) == [CALL]
    (failed,) = required(TEXT, STOP, asked_again=True)
    assert isinstance(failed, TurnFailed)
    assert failed.error.code == "tool_choice_not_followed"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_text_is_not_lost_where_the_answer_was_cut(reason: FinishReason) -> None:
    assert required(TEXT, TurnCompleted(reason, Usage())) == [TEXT, TurnCompleted(reason, Usage())]


def test_only_the_first_call_reaches_the_client() -> None:
    demand = OneCallOnly()
    effects = [each for effect in (TEXT, CALL, OTHER, CALLED) for each in demand.filter(effect)]
    assert effects == [TEXT, CALL, AnswerCall("b", ONE_CALL_ONLY, is_error=False), CALLED]
    assert demand.answered == 1
