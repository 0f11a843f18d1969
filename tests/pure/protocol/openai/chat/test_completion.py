"""Events to chunks and to completions, held against OpenAI's schema, its own models, and each other."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState

from claude_openai.errors import (
    ApiError,
    TurnTimeout,
)
from claude_openai.protocol.openai.chat.chunks import ChunkStream
from claude_openai.protocol.openai.chat.completion import (
    REFUSED,
    Completion,
    ResponseHead,
    usage_object,
)
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
from tests.folding import fold
from tests.openai_schema import strict_openai_chunk, strict_openai_completion, validate
from tests.pure.turns import any_text, completed, failed, on_the_wire, turns, unicode_text, usages
from tests.sse_reader import Message, parse_sse

HEAD = ResponseHead("chatcmpl-1", 1_700_000_000, "claude-sonnet")


def heads(text: st.SearchStrategy[str]) -> st.SearchStrategy[ResponseHead]:
    return st.builds(ResponseHead, text.map("chatcmpl-{}".format), st.integers(0, 2**40), text)


def stream(events: Iterable[Event], head: ResponseHead = HEAD, include_usage: bool = True) -> list[Message]:
    chunks = ChunkStream(head, include_usage)
    return parse_sse(b"".join([chunks.feed(event) for event in events]))


def objects(messages: list[Message]) -> list[dict[str, Any]]:
    """All but the `[DONE]` at the end, which must be there."""
    assert messages[-1] == "[DONE]"
    found = [message for message in messages if isinstance(message, dict)]
    assert len(found) == len(messages) - 1
    return found


def add_fragment(calls: list[dict[str, Any]], fragment: dict[str, Any]) -> None:
    """Add a piece of a tool call as clients do: a new index is a new call, a known one goes on with it."""
    index = fragment["index"]
    if index == len(calls):
        calls.append({key: value for key, value in fragment.items() if key != "index"})
    else:
        calls[index]["function"]["arguments"] += fragment["function"]["arguments"]


def added_up(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client that appends every string of every delta has in the end."""
    message: dict[str, Any] = {}
    finish_reason = usage = None
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = dict(choice["delta"])
            for fragment in delta.pop("tool_calls", ()):
                add_fragment(message.setdefault("tool_calls", []), fragment)
            for key, value in delta.items():
                message[key] = message[key] + value if message.get(key) is not None else value
            finish_reason = choice["finish_reason"] or finish_reason
        usage = chunk.get("usage") or usage
    return {"message": message, "finish_reason": finish_reason, "usage": usage}


@given(turns(any_text, completed), heads(any_text), st.booleans())
def test_every_chunk_is_a_chunk_of_the_schema(events: list[Event], head: ResponseHead, include_usage: bool) -> None:
    for chunk in objects(stream(events, head, include_usage)):
        validate("CreateChatCompletionStreamResponse", chunk)


@given(turns(unicode_text, completed), heads(unicode_text), st.booleans())
def test_every_chunk_is_a_chunk_of_the_openai_package(
    events: list[Event], head: ResponseHead, include_usage: bool
) -> None:
    for chunk in objects(stream(events, head, include_usage)):
        strict_openai_chunk(chunk)


@given(turns(any_text, completed), heads(any_text))
def test_a_completion_is_one_of_the_schema(events: list[Event], head: ResponseHead) -> None:
    validate("CreateChatCompletionResponse", on_the_wire(fold(head, events)))


@given(turns(unicode_text, completed), heads(unicode_text))
def test_a_completion_is_one_of_the_openai_package(events: list[Event], head: ResponseHead) -> None:
    strict_openai_completion(on_the_wire(fold(head, events)))


@given(turns(any_text, completed))
def test_what_a_client_adds_up_is_the_completion(events: list[Event]) -> None:
    total = on_the_wire(added_up(objects(stream(events))))
    completion = on_the_wire(fold(HEAD, events))
    (choice,) = completion["choices"]
    # A stream begins with an empty text before anybody knows that there will be none.
    assert {**total["message"], "annotations": []} == {
        **choice["message"],
        "content": choice["message"]["content"] or "",
    }
    assert total["finish_reason"] == choice["finish_reason"]
    assert total["usage"] == completion["usage"]


@given(turns(unicode_text, completed), heads(unicode_text))
def test_what_the_openai_package_adds_up_is_the_completion(events: list[Event], head: ResponseHead) -> None:
    state = ChatCompletionStreamState()
    for chunk in objects(stream(events, head)):
        state.handle_chunk(strict_openai_chunk(chunk))
    # The snapshot, since `get_final_completion` raises for the finish reasons `length` and `content_filter`.
    total = json.loads(state.current_completion_snapshot.model_dump_json(exclude_none=True))
    expected = json.loads(strict_openai_completion(fold(head, events)).model_dump_json(exclude_none=True))
    expected["choices"][0]["message"].pop("annotations")
    expected["choices"][0]["message"].setdefault("content", "")
    for index, call in enumerate(expected["choices"][0]["message"].get("tool_calls", ())):
        call["index"] = index  # what the package keeps of the chunks
    assert total == expected


@given(turns(any_text, completed | failed), heads(any_text), st.booleans())
def test_id_object_created_and_model_are_the_same_in_every_chunk(
    events: list[Event], head: ResponseHead, include_usage: bool
) -> None:
    expected = on_the_wire(
        {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}
    )
    for chunk in objects(stream(events, head, include_usage)):
        if "error" not in chunk:
            assert {key: chunk[key] for key in expected} == expected


@given(turns(any_text, completed), st.booleans())
def test_the_role_comes_first_and_once_and_the_finish_reason_last_and_once(
    events: list[Event], include_usage: bool
) -> None:
    chunks = objects(stream(events, include_usage=include_usage))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    roles = [choice["delta"].get("role") for choice in choices]
    finishes = [choice["finish_reason"] for choice in choices]
    end = events[-1]
    assert isinstance(end, TurnCompleted)
    assert roles == ["assistant"] + [None] * (len(choices) - 1)
    assert finishes == [None] * (len(choices) - 1) + [end.finish_reason]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert choices[-1]["delta"] == {}
    assert all(choice["index"] == 0 and choice["logprobs"] is None for choice in choices)


@given(turns(any_text, completed))
def test_each_delta_that_is_not_empty_is_one_chunk_a_call_is_two_and_the_others_are_none(events: list[Event]) -> None:
    expected: list[dict[str, Any]] = []
    calls = 0
    for event in events:
        if isinstance(event, TextDelta) and event.text:
            expected.append({"content": event.text})
        elif isinstance(event, ReasoningDelta) and event.text:
            expected.append({"reasoning_content": event.text, "reasoning": event.text})
        elif isinstance(event, ToolCall):
            named = {
                "index": calls,
                "id": event.id,
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
            expected.append({"tool_calls": [named]})
            expected.append({"tool_calls": [{"index": calls, "function": {"arguments": event.arguments}}]})
            calls += 1
        elif isinstance(event, TurnCompleted) and event.finish_reason == "content_filter":
            expected.append({"refusal": REFUSED})
    chunks = objects(stream(events, include_usage=False))
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]] == on_the_wire(expected)


@given(turns(any_text, completed))
def test_calls_are_numbered_without_gaps_and_named_once(events: list[Event]) -> None:
    calls = on_the_wire([[c.id, c.name, c.arguments] for c in events if isinstance(c, ToolCall)])
    deltas = [c["choices"][0]["delta"] for c in objects(stream(events, include_usage=False))]
    fragments = [fragment for delta in deltas for fragment in delta.get("tool_calls", ())]
    assert [fragment["index"] for fragment in fragments if "id" in fragment] == list(range(len(calls)))
    for index, (call_id, name, arguments) in enumerate(calls):
        first, *others = [fragment for fragment in fragments if fragment["index"] == index]
        assert (first["id"], first["type"], first["function"]["name"]) == (call_id, "function", name)
        assert all(fragment.keys() == {"index", "function"} for fragment in others)
        assert all(fragment["function"].keys() == {"arguments"} for fragment in others)
        # Halves of a character joined by a client are the character.
        joined = "".join(fragment["function"]["arguments"] for fragment in (first, *others))
        assert on_the_wire(joined) == arguments
    assert all(delta.keys() == {"tool_calls"} for delta in deltas if "tool_calls" in delta)


@given(turns(any_text, completed), heads(any_text))
def test_with_include_usage_only_the_last_chunk_has_usage(events: list[Event], head: ResponseHead) -> None:
    *chunks, last = objects(stream(events, head, include_usage=True))
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks)
    end = events[-1]
    assert isinstance(end, TurnCompleted)
    assert last["choices"] == []
    assert last["usage"] == usage_object(end.usage)


@given(turns(any_text, completed), heads(any_text))
def test_without_include_usage_no_chunk_has_the_key_and_the_rest_is_the_same(
    events: list[Event], head: ResponseHead
) -> None:
    without = objects(stream(events, head, include_usage=False))
    *chunks, _ = objects(stream(events, head, include_usage=True))
    assert without == [{key: value for key, value in chunk.items() if key != "usage"} for chunk in chunks]


@given(turns(any_text, failed), st.booleans())
def test_a_turn_that_fails_ends_with_one_error_object_and_never_has_a_finish_reason(
    events: list[Event], include_usage: bool
) -> None:
    *chunks, error = objects(stream(events, include_usage=include_usage))
    end = events[-1]
    assert isinstance(end, TurnFailed)
    assert error == on_the_wire(end.error.body())
    validate("ErrorResponse", error)
    assert all(choice["finish_reason"] is None for chunk in chunks for choice in chunk["choices"])
    assert [chunk for chunk in chunks if chunk.get("usage")] == []


@given(turns(any_text, completed | failed), heads(any_text), st.booleans())
def test_every_frame_is_one_line_of_compact_ascii_json(
    events: list[Event], head: ResponseHead, include_usage: bool
) -> None:
    chunks = ChunkStream(head, include_usage)
    for event in events:
        for frame in chunks.feed(event).split(b"\n\n")[:-1]:
            if frame != b"data: [DONE]":
                assert frame + b"\n\n" == data_frame(json.loads(frame.removeprefix(b"data: ")))


@given(turns(any_text, completed | failed))
def test_the_end_is_known_as_soon_as_it_was_fed_and_nothing_may_follow(events: list[Event]) -> None:
    chunks, completion = ChunkStream(HEAD, include_usage=True), Completion(HEAD)
    for event in events:
        assert not chunks.ended
        assert not completion.ended
        chunks.feed(event)
        completion.feed(event)
    assert chunks.ended
    assert completion.ended
    for event in events:
        with pytest.raises(RuntimeError, match=f"{type(event).__name__} after the end"):
            chunks.feed(event)
        with pytest.raises(RuntimeError, match=f"{type(event).__name__} after the end"):
            completion.feed(event)


@given(turns(any_text, failed))
def test_a_turn_that_failed_has_an_error_and_asking_for_its_result_raises_it(events: list[Event]) -> None:
    completion = Completion(HEAD)
    for event in events:
        assert completion.error is None
        with pytest.raises(RuntimeError, match="has not ended"):
            completion.result()
        completion.feed(event)
    end = events[-1]
    assert isinstance(end, TurnFailed)
    assert completion.error is end.error
    with pytest.raises(ApiError) as raised:
        completion.result()
    assert raised.value is end.error


def test_a_whole_stream_byte_for_byte() -> None:
    events: list[Event] = [
        TurnStarted("claude-sonnet-4-5"),
        ReasoningDelta("hm"),
        TextDelta("Hé"),
        TextDelta(""),
        TextDelta("\n"),
        TurnCompleted("stop", Usage(1, 2, 3, 4, 1)),
    ]
    chunks = ChunkStream(HEAD, include_usage=True)
    head = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
        b'"model":"claude-sonnet","choices":['
    )
    delta = head + b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}],"usage":null}\n\n'
    usage = (
        b'{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10,'
        b'"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":3,"audio_tokens":0},'
        b'"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,'
        b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
    )
    assert [chunks.feed(event) for event in events] == [
        delta % (b'{"role":"assistant","content":"","refusal":null}', b"null"),
        delta % (b'{"reasoning_content":"hm","reasoning":"hm"}', b"null"),
        delta % (b'{"content":"H\\u00e9"}', b"null"),
        b"",
        delta % (b'{"content":"\\n"}', b"null"),
        delta % (b"{}", b'"stop"') + head + b'],"usage":' + usage + b"}\n\ndata: [DONE]\n\n",
    ]


def test_a_turn_that_fails_before_it_starts_is_an_error_and_nothing_else() -> None:
    messages = stream([TurnFailed(TurnTimeout("Claude was silent."))])
    assert messages == [
        {"error": {"message": "Claude was silent.", "type": "timeout_error", "param": None, "code": "timeout"}},
        "[DONE]",
    ]


def test_the_role_is_sent_at_the_start_and_before_the_first_chunk_of_a_turn_without_one() -> None:
    started, unstarted = ChunkStream(HEAD, include_usage=False), ChunkStream(HEAD, include_usage=False)
    role = started.feed(TurnStarted("claude-sonnet-4-5"))
    assert role.count(b"data: ") == role.count(b'"role":"assistant"') == 1
    assert unstarted.feed(TextDelta("")) == b""
    assert unstarted.feed(TextDelta("a")) == role + started.feed(TextDelta("a"))
    assert unstarted.feed(TurnStarted("claude-sonnet-4-5")) == b""


def test_empty_turn_still_has_a_role_and_an_end() -> None:
    chunks = objects(stream([TurnCompleted("stop", Usage())], include_usage=False))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "", "refusal": None},
        {},
    ]
    assert fold(HEAD, [TurnCompleted("stop", Usage())])["choices"][0]["message"] == {
        "role": "assistant",
        "content": "",
        "refusal": None,
        "annotations": [],
    }


CALLS: list[Event] = [ToolCall("toolu_1", "read", '{"path": "/"}'), ToolCall("toolu_2", "glob", "{}")]
CALLED = [
    {"id": "toolu_1", "type": "function", "function": {"name": "read", "arguments": '{"path": "/"}'}},
    {"id": "toolu_2", "type": "function", "function": {"name": "glob", "arguments": "{}"}},
]


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ([], None),
        ([TextDelta("")], None),
        ([ReasoningDelta("hm")], None),
        ([TextDelta("Let me"), TextDelta(" look.")], "Let me look."),
    ],
)
def test_content_beside_calls_is_null_without_text(said: list[Event], content: str | None) -> None:
    (choice,) = fold(HEAD, [*said, *CALLS, TurnCompleted("tool_calls", Usage())])["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == content
    assert choice["message"]["tool_calls"] == CALLED


def test_without_calls_nothing_has_the_key() -> None:
    events: list[Event] = [TextDelta("Hi"), TurnCompleted("stop", Usage())]
    assert "tool_calls" not in fold(HEAD, events)["choices"][0]["message"]
    assert all("tool_calls" not in chunk["choices"][0]["delta"] for chunk in objects(stream(events))[:-1])


def test_a_stream_of_calls_byte_for_byte() -> None:
    chunks = ChunkStream(HEAD, include_usage=False)
    head = (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
        b'"model":"claude-sonnet","choices":['
    )
    delta = head + b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n'
    begun = b'{"tool_calls":[{"id":"toolu_%d","type":"function","function":{"name":"%b","arguments":""},"index":%d}]}'
    rest = b'{"tool_calls":[{"index":%d,"function":{"arguments":"%b"}}]}'
    assert [chunks.feed(event) for event in [*CALLS, TurnCompleted("tool_calls", Usage())]] == [
        delta % (b'{"role":"assistant","content":"","refusal":null}', b"null")
        + delta % (begun % (1, b"read", 0), b"null")
        + delta % (rest % (0, rb"{\"path\": \"/\"}"), b"null"),
        delta % (begun % (2, b"glob", 1), b"null") + delta % (rest % (1, b"{}"), b"null"),
        delta % (b"{}", b'"tool_calls"') + b"data: [DONE]\n\n",
    ]


def test_reasoning_is_under_both_keys() -> None:
    events: list[Event] = [ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("Hi"), TurnCompleted("stop", Usage())]
    message = fold(HEAD, events)["choices"][0]["message"]
    plain: dict[str, Any] = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []}
    assert message == {**plain, "reasoning_content": "hm", "reasoning": "hm"}


def test_refusal_is_reported_beside_the_text_before() -> None:
    events: list[Event] = [TextDelta("I cannot help with that."), TurnCompleted("content_filter", Usage())]
    (choice,) = fold(HEAD, events)["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["content"] == "I cannot help with that."
    assert choice["message"]["refusal"] == REFUSED
    stream = ChunkStream(HEAD, include_usage=False)
    assert b'"delta":{"refusal":"Claude declined' in b"".join(map(stream.feed, events))


def test_a_character_streamed_in_two_halves_is_whole_in_the_completion() -> None:
    events: list[Event] = [TextDelta("\ud83d"), TextDelta("\ude00"), TurnCompleted("stop", Usage())]
    assert on_the_wire(fold(HEAD, events))["choices"][0]["message"]["content"] == "😀"


@given(usages)
def test_usage_counts_cached_tokens_as_prompt_tokens_and_sums_up(usage: Usage) -> None:
    found = usage_object(usage)
    validate("CompletionUsage", found)
    details = found["prompt_tokens_details"]
    assert found["prompt_tokens"] == usage.input_tokens + details["cached_tokens"] + details["cache_write_tokens"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (
        usage.cache_read_tokens,
        usage.cache_write_tokens,
    )
    assert found["completion_tokens"] == usage.output_tokens
    assert found["completion_tokens_details"]["reasoning_tokens"] == usage.reasoning_tokens
    assert found["total_tokens"] == found["prompt_tokens"] + found["completion_tokens"]


def _remove_refusal(completion: dict[str, Any]) -> None:
    del completion["choices"][0]["message"]["refusal"]


def _unknown_finish_reason(completion: dict[str, Any]) -> None:
    completion["choices"][0]["finish_reason"] = "error"


def _token_count_as_text(completion: dict[str, Any]) -> None:
    completion["usage"]["prompt_tokens"] = "6"


def _undocumented_key(completion: dict[str, Any]) -> None:
    completion["choices"][0]["message"]["thinking"] = "hm"


def _null_finish_reason(completion: dict[str, Any]) -> None:
    completion["choices"][0]["finish_reason"] = None


@pytest.mark.parametrize(
    "spoil", [_remove_refusal, _unknown_finish_reason, _token_count_as_text, _undocumented_key, _null_finish_reason]
)
def test_the_schema_judge_of_these_tests_refuses_a_wrong_completion(spoil: Callable[[dict[str, Any]], None]) -> None:
    completion = fold(HEAD, [ReasoningDelta("hm"), TextDelta("Hi"), TurnCompleted("stop", Usage())])
    validate("CreateChatCompletionResponse", completion)
    spoil(completion)
    with pytest.raises(AssertionError, match="not a CreateChatCompletionResponse"):
        validate("CreateChatCompletionResponse", completion)


@pytest.mark.parametrize(
    "spoil", [_unknown_finish_reason, _token_count_as_text, _undocumented_key, _null_finish_reason]
)
def test_the_model_judge_of_these_tests_refuses_a_wrong_completion(spoil: Callable[[dict[str, Any]], None]) -> None:
    completion = fold(HEAD, [ReasoningDelta("hm"), TextDelta("Hi"), TurnCompleted("stop", Usage())])
    strict_openai_completion(completion)
    spoil(completion)
    with pytest.raises((ValueError, AssertionError), match=r"finish_reason|prompt_tokens|thinking"):
        strict_openai_completion(completion)


def test_the_schema_judge_of_these_tests_knows_nullable_and_closed_chunks() -> None:
    (chunk, *_) = objects(stream([TurnCompleted("stop", Usage())]))
    validate("CreateChatCompletionStreamResponse", chunk)
    chunk["choices"][0]["delta"]["thinking"] = "hm"
    validate("CreateChatCompletionStreamResponse", chunk, closed=False)
    with pytest.raises(AssertionError, match="thinking"):
        validate("CreateChatCompletionStreamResponse", chunk)
    chunk["usage"] = "none"
    with pytest.raises(AssertionError, match=r"\$\.usage"):
        validate("CreateChatCompletionStreamResponse", chunk, closed=False)
