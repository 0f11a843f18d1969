"""Whole turns, generated as their events."""

import json
from typing import Any

from hypothesis import strategies as st

from claude_openai.errors import (
    ApiError,
    BadRequest,
    ContextTooLong,
    InternalError,
    RateLimited,
    TurnTimeout,
    UpstreamError,
)
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
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

__all__ = [
    "FINISH_REASONS",
    "any_text",
    "awkward",
    "completed",
    "counts",
    "error_classes",
    "failed",
    "on_the_wire",
    "turns",
    "unicode_text",
    "usages",
]


FINISH_REASONS: tuple[FinishReason, ...] = ("stop", "length", "content_filter", "tool_calls")
unicode_text = st.text(max_size=12)
awkward = st.characters() | st.sampled_from('\n\r\x00\x85\u2028\u2029\ud83d\ude00"\\')
any_text = st.sampled_from(['""', '"', '"",""', "\ud83d", "\ude00"]) | st.text(awkward, max_size=12)
counts = st.integers(0, 2**53)
usages = st.builds(Usage, counts, counts, counts, counts, counts)
completed = st.builds(TurnCompleted, st.sampled_from(FINISH_REASONS), usages)
error_classes: list[type[ApiError]] = [
    BadRequest,
    ContextTooLong,
    InternalError,
    RateLimited,
    TurnTimeout,
    UpstreamError,
]
failed = st.builds(lambda cls, text: TurnFailed(cls(text)), st.sampled_from(error_classes), any_text)


def turns(text: st.SearchStrategy[str], end: st.SearchStrategy[Event]) -> st.SearchStrategy[list[Event]]:
    """Any legal turn: perhaps a start, any deltas (empty ones too), one end."""
    call = st.builds(ToolCall, text, text, text)
    end_of_thought = st.builds(ReasoningEnd, text) | st.builds(lambda data: ReasoningEnd(redacted=data), text)
    thought = st.builds(ReasoningDelta, text) | end_of_thought
    name, sources = st.sampled_from("ab"), st.lists(st.builds(Source, text, text), max_size=2).map(tuple)
    search = st.builds(SearchStarted, name, text) | st.builds(SearchEnded, name, sources, st.booleans())
    delta: st.SearchStrategy[Event] = st.builds(TextDelta, text) | thought | call | search
    start: st.SearchStrategy[list[Event]] = st.sampled_from([[], [TurnStarted("claude-sonnet-4-5")]])
    return st.builds(lambda first, deltas, last: [*first, *deltas, last], start, st.lists(delta, max_size=8), end)


def on_the_wire(value: Any) -> Any:
    return json.loads(json.dumps(value))
