"""Where a text is cut, however it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.turn.stop_sequences import StopSequenceEvents, StopSequenceFilter

ABC = st.text("abc", max_size=12)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4)


def cut(stops: list[str], *pieces: str) -> tuple[str, str | None]:
    cutter = StopSequenceFilter(stops)
    shown = "".join([cutter.feed(piece) for piece in pieces])
    return shown + cutter.rest(), cutter.found


@pytest.mark.parametrize(
    ("stops", "pieces", "shown", "found"),
    [
        (["END"], ("one END two",), "one ", "END"),
        (["END"], ("one E", "N", "D two"), "one ", "END"),
        (["END"], ("one E", "ND"), "one ", "END"),
        (["END"], ("EN", "EN", "END"), "ENEN", "END"),
        (["\n\n"], ("a\n", "b\n", "\nc"), "a\nb", "\n\n"),
        (["abcd", "bc"], ("a", "b", "c", "d"), "a", "bc"),
        (["bc", "abc"], ("abc",), "", "abc"),
        (["x"], ("x",), "", "x"),
        (["aab"], ("aaa", "b"), "a", "aab"),
        (["\N{WAVING HAND SIGN}"], ("hi \N{WAVING HAND SIGN}!",), "hi ", "\N{WAVING HAND SIGN}"),
    ],
)
def test_the_text_ends_before_the_sequence(stops: list[str], pieces: tuple[str, ...], shown: str, found: str) -> None:
    assert cut(stops, *pieces) == (shown, found)


def test_a_text_without_the_sequence_is_whole_even_if_it_ends_like_one() -> None:
    assert cut(["END"], "one E", "two EN") == ("one Etwo EN", None)


def test_nothing_of_a_sequence_is_shown_before_it_is_known_not_to_be_one() -> None:
    cutter = StopSequenceFilter(["END"])
    assert [cutter.feed(piece) for piece in ("oneE", "N", "X", "E", "ND", "more")] == ["one", "", "ENX", "", "", ""]


@given(ABC, STOPS, st.data())
def test_the_borders_of_the_pieces_change_nothing(text: str, stops: list[str], data: st.DataObject) -> None:
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *borders], [*borders, len(text)], strict=True)]
    assert cut(stops, *pieces) == cut(stops, *text) == cut(stops, text)


@given(ABC, STOPS)
def test_what_is_shown_holds_no_sequence_and_is_the_beginning_of_the_text(text: str, stops: list[str]) -> None:
    shown, found = cut(stops, text)
    assert text.startswith(shown)
    assert (found is not None) == any(stop in text for stop in stops)
    assert not any(stop in shown for stop in stops)
    assert text[len(shown) :].startswith(found) if found else shown == text
    assert found in (None, *stops)


def cut_events(*events: Event, stops: tuple[str, ...] = ("END",)) -> list[Event]:
    cutter = StopSequenceEvents(stops)
    return [shown for event in events if not cutter.found for shown in cutter.feed(event)]


def test_a_sequence_is_found_across_reasoning() -> None:
    thought: list[Event] = [ReasoningDelta("Hm."), ReasoningEnd("x")]
    *shown, end = cut_events(TextDelta("one E"), *thought, TextDelta("N"), *thought, TextDelta("D two"))
    assert shown == [TextDelta("one "), *thought, *thought]
    assert isinstance(end, TurnCompleted)
    assert end.stop_sequence == "END"


@pytest.mark.parametrize("last", [ToolCall("a", "read", "{}"), TurnCompleted("stop", Usage())])
def test_what_only_began_like_a_sequence_is_shown_before_what_follows_the_text(last: Event) -> None:
    assert cut_events(TextDelta("one EN"), last) == [TextDelta("one "), TextDelta("EN"), last]


def test_the_estimate_of_a_turn_that_was_cut_counts_its_thinking() -> None:
    start = TurnStarted("m", usage=Usage(input_tokens=7, output_tokens=1))
    text = [TextDelta("t" * 37), TextDelta("END")]
    *_, without = cut_events(start, *text)
    *_, end = cut_events(start, ReasoningDelta("x" * 400), *text)
    assert without == TurnCompleted("stop", Usage(input_tokens=7, output_tokens=10), stop_sequence="END")
    assert end == TurnCompleted("stop", Usage(input_tokens=7, output_tokens=110), stop_sequence="END")
