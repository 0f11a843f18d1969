"""Events to text completions, whole and streamed, held against OpenAI's own models, and each other."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import ApiError, TurnTimeout
from claude_openai.protocol.openai.chat.completion import ResponseHead
from claude_openai.protocol.openai.completions.text_completion import TextCompletion, TextStream
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.wire.sse import data_frame
from tests.openai_schema import strict_openai_text_completion, validate
from tests.pure.turns import any_text, failed, on_the_wire, turns, unicode_text, usages
from tests.sse_reader import parse_sse

HEAD = ResponseHead("cmpl-1", 1_700_000_000, "claude-sonnet")
KEYS = {"id", "object", "created", "model", "choices"}

# Without tools there are no calls.
completed = st.builds(TurnCompleted, st.sampled_from(("stop", "length", "content_filter")), usages)


def without_calls(text: st.SearchStrategy[str], end: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Event]]:
    return turns(text, end).map(lambda events: [event for event in events if not isinstance(event, ToolCall)])


def heads(text: st.SearchStrategy[str]) -> st.SearchStrategy[ResponseHead]:
    return st.builds(ResponseHead, text.map("cmpl-{}".format), st.integers(0, 2**40), text)


def stream(events: Iterable[Event], head: ResponseHead = HEAD, *, include_usage: bool = True) -> list[dict[str, Any]]:
    """The chunks, without the `[DONE]` that ends them."""
    chunks = TextStream(head, include_usage)
    *found, done = parse_sse(b"".join([chunks.feed(event) for event in events]))
    assert done == "[DONE]"
    return [chunk for chunk in found if isinstance(chunk, dict)]


def whole(events: Iterable[Event], head: ResponseHead = HEAD) -> dict[str, Any]:
    completion = TextCompletion(head)
    for event in events:
        completion.feed(event)
    return completion.result()


@given(without_calls(unicode_text, completed), heads(unicode_text), st.booleans())
def test_chunks_and_completions_are_those_of_the_openai_package(
    events: list[Event], head: ResponseHead, include_usage: bool
) -> None:
    completion = on_the_wire(whole(events, head))
    assert completion.keys() == KEYS | {"usage"}
    for each in (completion, *stream(events, head, include_usage=include_usage)):
        strict_openai_text_completion(each)
        assert (each["id"], each["object"], each["created"]) == (head.id, "text_completion", head.created)


@given(without_calls(any_text, completed), heads(any_text))
def test_what_a_client_adds_up_is_the_completion(events: list[Event], head: ResponseHead) -> None:
    *chunks, last = stream(events, head)
    (choice,) = on_the_wire(whole(events, head))["choices"]
    choices = [each for chunk in chunks for each in chunk["choices"]]
    assert on_the_wire("".join(each["text"] for each in choices)) == choice["text"]
    assert [each["finish_reason"] for each in choices] == [None] * (len(choices) - 1) + [choice["finish_reason"]]
    assert all(each["index"] == 0 and each["logprobs"] is None for each in choices)
    assert last["usage"] == on_the_wire(whole(events, head))["usage"]


@given(without_calls(any_text, completed))
def test_each_text_that_is_not_empty_is_a_chunk_and_thinking_is_none(events: list[Event]) -> None:
    texts = [event.text for event in events if isinstance(event, TextDelta) and event.text]
    found = [chunk["choices"][0]["text"] for chunk in stream(events, include_usage=False)]
    assert found == on_the_wire([*texts, ""])


@given(without_calls(any_text, completed), heads(any_text))
def test_only_the_last_chunk_has_usage_and_none_has_the_key_unless_it_was_asked_for(
    events: list[Event], head: ResponseHead
) -> None:
    without = stream(events, head, include_usage=False)
    *chunks, last = stream(events, head)
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks)
    assert last["choices"] == []
    assert last.keys() == KEYS | {"usage"}
    assert without == [{key: value for key, value in chunk.items() if key != "usage"} for chunk in chunks]


@given(without_calls(any_text, failed), st.booleans())
def test_a_turn_that_fails_ends_with_one_error_object_and_never_has_a_finish_reason(
    events: list[Event], include_usage: bool
) -> None:
    *chunks, error = stream(events, include_usage=include_usage)
    end = events[-1]
    assert isinstance(end, TurnFailed)
    assert error == on_the_wire(end.error.body())
    validate("ErrorResponse", error)
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
    assert [chunk for chunk in chunks if chunk.get("usage")] == []
    with pytest.raises(ApiError) as raised:
        whole(events)
    assert raised.value is end.error


@given(without_calls(any_text, completed | failed), heads(any_text), st.booleans())
def test_every_frame_is_one_line_of_compact_ascii_json(
    events: list[Event], head: ResponseHead, include_usage: bool
) -> None:
    chunks = TextStream(head, include_usage)
    for event in events:
        for frame in chunks.feed(event).split(b"\n\n")[:-1]:
            if frame != b"data: [DONE]":
                assert frame + b"\n\n" == data_frame(json.loads(frame.removeprefix(b"data: ")))


@given(without_calls(any_text, completed | failed))
def test_the_end_is_known_as_soon_as_it_was_fed_and_nothing_may_follow(events: list[Event]) -> None:
    chunks = TextStream(HEAD, include_usage=True)
    for event in events:
        assert not chunks.ended
        chunks.feed(event)
    assert chunks.ended
    for event in events:
        with pytest.raises(RuntimeError, match=f"{type(event).__name__} after the end"):
            chunks.feed(event)


def test_a_whole_stream_byte_for_byte() -> None:
    events: list[Event] = [
        TurnStarted("claude-sonnet-4-5"),
        ReasoningDelta("hm"),
        TextDelta("Hé"),
        TextDelta(""),
        TurnCompleted("length", Usage(1, 2, 3, 4, 1)),
    ]
    chunks = TextStream(HEAD, include_usage=True)
    head = b'data: {"id":"cmpl-1","object":"text_completion","created":1700000000,"model":"claude-sonnet","choices":['
    delta = head + b'{"index":0,"text":%b,"logprobs":null,"finish_reason":%b}],"usage":null}\n\n'
    usage = (
        b'{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10,'
        b'"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":3,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    )
    assert [chunks.feed(event) for event in events] == [
        b"",
        b"",
        delta % (b'"H\\u00e9"', b"null"),
        b"",
        delta % (b'""', b'"length"') + head + b'],"usage":' + usage + b"}\n\ndata: [DONE]\n\n",
    ]


def test_a_turn_that_fails_before_it_starts_is_an_error_and_nothing_else() -> None:
    (error,) = stream([TurnFailed(TurnTimeout("Claude was silent."))])
    assert error["error"]["code"] == "timeout"
