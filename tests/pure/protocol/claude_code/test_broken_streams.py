"""Streams that break off: what of them the client gets, by the records of Claude Code of different versions.

`records_of` are the records that Claude Code 2.1.332 was seen to make of a message that broke off. What the real one
makes of them is the business of `tests/real/protocol/claude_code/test_broken_streams.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall, Effect
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.events import (
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    Usage,
)
from tests.pure.records import (
    GOOD,
    LOGIN,
    STOP,
    abandoned_from,
    failure_of,
    fits,
    follow,
    good_result,
    message_delta,
    message_start,
    stop,
    text,
    thinking,
    tool_reader,
    use,
)

DONE = [message_start(), text("Done."), stop(), message_delta("end_turn"), STOP, good_result("Done.")]


def content(effects: Sequence[Effect]) -> str:
    return "".join(effect.text for effect in effects if isinstance(effect, TextDelta))


@pytest.mark.parametrize("live", [True, False])
def test_a_break_before_any_block_is_nothing_to_the_client(live: bool) -> None:
    reader = tool_reader(live=live)
    effects = follow(reader, message_start(input_tokens=1), abandoned_from(0), message_start(input_tokens=2), *DONE[1:])
    assert effects[1:] == [TextDelta("Done."), TurnCompleted("stop", Usage(input_tokens=3))]
    assert reader.exact


def test_words_that_were_shown_and_are_taken_back_end_the_turn() -> None:
    reader = tool_reader()
    error = failure_of(follow(reader, message_start(), text("Hel"), stop(), abandoned_from(0))[2:])
    assert (type(error), error.may_retry) == (UpstreamError, False)
    assert "ended before the answer was complete" in error.message
    assert reader.state is State.STOPPED


def test_failure_has_the_cause_that_claude_code_reported() -> None:
    reader = tool_reader()
    follow(reader, message_start(), text("Hel"))
    assert reader.assistant(model="<synthetic>", error="unknown", text="API Error: Overloaded", status=529) == ()
    error = failure_of(follow(reader, stop(), message_delta(None), abandoned_from(0)))
    assert ("it is too busy" in error.message, error.may_retry) == (True, False)


def test_words_that_were_not_shown_are_dropped() -> None:
    reader = tool_reader(live=False)
    assert follow(reader, message_start(), text("Hel"), stop(), abandoned_from(0))[1:] == []
    assert content(follow(reader, *DONE)) == "Done."


@pytest.mark.parametrize("live", [True, False])
def test_a_text_that_stands_is_continued(live: bool) -> None:
    reader = tool_reader(live=live)
    effects = follow(reader, message_start(), text("Once "), text("upon "), stop(), abandoned_from(1))
    assert content(effects) == "Once upon "
    reader.note_injected_message()
    assert content(effects + follow(reader, *DONE)) == "Once upon Done."
    assert reader.state is State.IDLE
    assert not reader.exact


@pytest.mark.parametrize("live", [True, False])
def test_after_a_text_that_stands_an_empty_end_is_an_answer(live: bool) -> None:
    reader = tool_reader(live=live)
    effects = follow(reader, message_start(), text("All."), stop(), abandoned_from(1), message_start())
    effects += follow(reader, message_delta("end_turn"))
    assert (content(effects), effects[-1]) == ("All.", TurnCompleted("stop", Usage()))


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("rest", [[], use("b", "read", GOOD[:4], index=2)[:-1]])
def test_calls_that_stand_end_the_turn(live: bool, rest: list[dict[str, Any]]) -> None:
    reader = tool_reader(live=live)
    written = [message_start(), text("So:"), stop(), *use("a", "read", GOOD, index=1), *rest, abandoned_from(2)]
    assert follow(reader, *written)[1:] == [
        TextDelta("So:"),
        ToolCall("a", "read", GOOD),
        TurnCompleted("tool_calls", Usage()),
    ]
    assert reader.state is State.PARKED
    assert reader.exact


def test_a_call_that_stands_after_which_shown_words_are_taken_back_is_no_answer() -> None:
    reader = tool_reader()
    effects = follow(reader, message_start(), *use("a", "read", GOOD), text("and", 1), stop(1), abandoned_from(1))
    assert isinstance(failure_of(effects[2:]), UpstreamError)


def test_a_call_that_stands_and_does_not_fit_is_corrected() -> None:
    reader = tool_reader()
    effects = follow(reader, message_start(), *use("a", "read", "{}"), abandoned_from(1))
    assert effects[1:] == [AnswerCall("a", "no")]
    assert content(follow(reader, *DONE)) == "Done."


def test_complete_structured_output_is_the_answer() -> None:
    reader = TurnReader(LOGIN, output=lambda _: None)
    given = use("o", "StructuredOutput", '{"a": 1}', index=1)
    follow(reader, message_start(), text("So:"), stop(), *given, abandoned_from(2))
    reader.assistant(model="<synthetic>", error="server_error", text="API Error: Connection lost mid-response.")
    assert content(follow(reader, {**good_result(), "structured": {"a": 1}})) == '{"a": 1}'
    assert reader.state is State.IDLE


def test_failure_of_a_stream_is_not_the_failure_of_the_turn() -> None:
    reader = tool_reader()
    follow(reader, message_start(), *use("a", "read", "{}"), abandoned_from(1))
    reader.assistant(model="<synthetic>", error="server_error", text="API Error: Connection lost mid-response.")
    assert follow(reader, *DONE)[-1] == TurnCompleted("stop", Usage())


def test_thinking_is_shown_and_never_taken_back() -> None:
    reader = tool_reader()
    effects = follow(reader, message_start(), thinking("Hm"), stop(), abandoned_from(0), *DONE)
    assert effects[1:] == [ReasoningDelta("Hm"), ReasoningEnd(), TextDelta("Done."), TurnCompleted("stop", Usage())]


@pytest.mark.parametrize("void", [None, 0])
def test_before_2_1_300_a_stop_without_a_reason_voids_everything(void: int | None) -> None:
    broken = {"type": "message_stop"} if void is None else abandoned_from(void)
    for delta in ([], [message_delta(None)]):
        reader = tool_reader()
        assert isinstance(failure_of(follow(reader, message_start(), text("Hel"), *delta, broken)[2:]), UpstreamError)
        reader = tool_reader()
        assert content(follow(reader, message_start(), *delta, broken, *DONE)) == "Done."


@pytest.mark.parametrize("half", [[], [text("and", 1)], use("b", "read", GOOD[:4], index=1)[:-1]])
def test_before_2_1_300_a_synthetic_message_keeps_the_calls_so_far(half: list[dict[str, Any]]) -> None:
    reader = tool_reader(live=False)
    follow(reader, message_start(), *use("a", "read", GOOD), *half)
    told = "API Error: Connection closed mid-response. The response above may be incomplete."
    effects = reader.assistant(model="<synthetic>", error="server_error", text=told)
    assert effects == [ToolCall("a", "read", GOOD), TurnCompleted("tool_calls", Usage())]
    # A later record of the message is not part of the next turn.
    parked = tool_reader()
    assert follow(parked, message_delta(None), STOP) == []
    assert content(follow(parked, *DONE)) == "Done."


def test_a_stop_sequence_is_found_in_words_that_are_kept() -> None:
    reader = tool_reader(live=False, stops=["END"])
    assert follow(reader, message_start(), text("one E"))[1:] == []
    assert follow(reader, text("ND two"), text(" three")) == [TextDelta("one END two"), TextDelta(" three")]
    assert isinstance(failure_of(follow(reader, abandoned_from(0))), UpstreamError)


Block: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Attempt:
    """Blocks that came whole, and the beginning of one more; "" for none. Without `breaks` it ends as it should."""

    blocks: tuple[Block, ...]
    half: Block | None
    breaks: bool


def block_records(block: Block, index: int, *, whole: bool) -> list[dict[str, Any]]:
    kind, said = block
    if kind == "call":
        written = use(f"toolu_{said}", "read", GOOD if said == "fits" else "{}", index=index)
        return written if whole else [*written[:1]]
    delta = text(said, index) if kind == "text" else thinking(said, index)
    return [delta, stop(index)]


def records_of(message: Attempt) -> Iterator[dict[str, Any]]:
    yield message_start()
    for index, block in enumerate(message.blocks):
        yield from block_records(block, index, whole=True)
    if message.half is not None:
        yield from block_records(message.half, len(message.blocks), whole=False)
    if message.breaks:
        yield abandoned_from(len(message.blocks))
        return
    kinds = {kind for kind, _ in message.blocks}
    yield message_delta("tool_use" if "call" in kinds else "end_turn")
    yield STOP


def goes_on(message: Attempt) -> bool:
    """Claude Code asks Claude for another message."""
    calls = [said for kind, said in message.blocks if kind == "call"]
    if "fits" in calls:
        return False
    return message.breaks or bool(calls)


words = st.text("ab ", min_size=1, max_size=4)
blocks = st.tuples(st.just("text"), words) | st.tuples(st.just("thinking"), words)
calls = st.tuples(st.just("call"), st.sampled_from(["fits", "misfits"]))
messages = st.builds(
    Attempt,
    st.lists(blocks, max_size=2).flatmap(lambda said: st.lists(calls, max_size=2).map(lambda c: (*said, *c))),
    st.none() | blocks | calls,
    st.just(True),
)


@given(st.lists(messages, max_size=3), st.booleans())
def test_the_client_gets_what_stands_and_never_what_was_taken_back(broken: list[Attempt], live: bool) -> None:
    last = Attempt((("text", "the end"),), None, breaks=False)
    reader = TurnReader(LOGIN, check=fits, live=live)
    effects: list[Effect] = []
    standing, new_paragraph, withdrawn = "", False, False
    for message in [*broken, last]:
        effects += follow(reader, *records_of(message))
        for kind, said in message.blocks:
            if kind == "text":
                standing += ("\n\n" if new_paragraph else "") + said
                new_paragraph = False
        withdrawn = live and message.half is not None and message.half[0] == "text"
        if any(kind == "call" for kind, _ in message.blocks):
            new_paragraph = bool(standing)
        if withdrawn or not goes_on(message):
            break
    effects += follow(reader, good_result("the end"))
    ends = [effect for effect in effects if isinstance(effect, TurnCompleted | TurnFailed)]
    assert ends == effects[-1:]
    if withdrawn:
        assert isinstance(ends[0], TurnFailed)
        assert not ends[0].error.may_retry
    elif isinstance(ends[0], TurnCompleted):
        assert content(effects) == standing
        assert (ends[0].finish_reason == "tool_calls") == (("call", "fits") in message.blocks)
        told = [effect.id for effect in effects if isinstance(effect, ToolCall)]
        assert told == [f"toolu_{said}" for kind, said in message.blocks if (kind, said) == ("call", "fits")]
