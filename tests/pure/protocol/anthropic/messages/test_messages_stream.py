"""The Messages API's events and object of a turn: their bytes, their order, and that both have the same content."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from claude_openai.errors import RateLimited, UpstreamError
from claude_openai.protocol.anthropic.messages.message import AnswerSoFar, MessageHead, MessageObject
from claude_openai.protocol.anthropic.messages.stream import MessageStream
from claude_openai.protocol.turn.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.wire.sse import typed_frame
from tests.anthropic_package import strict_anthropic_event, strict_anthropic_message
from tests.pure.turns import any_text, completed, failed, on_the_wire, turns, unicode_text
from tests.sse_reader import parse_typed_sse

HEAD = MessageHead("msg_1", "claude-opus", "req_1")
START = TurnStarted("claude-opus-5-5", usage=Usage(3, 4, 5, 1))
DONE = TurnCompleted("stop", Usage(3, 4, 5, 6, 2))
CALL = ToolCall("toolu_1", "read", '{"a":1}')


def stream(events: Iterable[Event]) -> list[dict[str, Any]]:
    frames = MessageStream(HEAD)
    return parse_typed_sse(b"".join(frames.feed(event) for event in events))


def fold(events: Iterable[Event]) -> dict[str, Any]:
    whole = MessageObject(HEAD)
    for event in events:
        whole.feed(event)
    return whole.result()


def with_json(events: list[Event]) -> list[Event]:
    """The events with arguments of calls that are JSON objects, as all backends send them."""
    return [
        ToolCall(event.id, event.name, json.dumps({"a": event.arguments})) if isinstance(event, ToolCall) else event
        for event in events
    ]


def added_up(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content of a client that trusts nothing but the starts and the deltas."""
    content: list[dict[str, Any]] = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(content)
                content.append({**event["content_block"]})
            case "content_block_delta":
                assert event["index"] == len(content) - 1
                (_, kind), (key, piece) = event["delta"].items()
                assert kind == {"partial_json": "input_json"}.get(key, key) + "_delta"
                content[-1][key] = content[-1].get(key, "") + piece
            case "content_block_stop" if "partial_json" in content[-1]:
                content[-1]["input"] = json.loads(content[-1].pop("partial_json"))
    return content


def test_a_turn_with_everything_is_these_bytes() -> None:
    frames = MessageStream(HEAD)
    turn: list[Event] = [START, ReasoningDelta("Hm"), ReasoningEnd("sig"), TextDelta("Hel"), TextDelta("lo"), CALL]
    sent = b"".join(map(frames.feed, [*turn, TurnCompleted("tool_calls", Usage(3, 4, 5, 6, 2), cost_usd=0.5)]))
    at_start = (
        b'"usage":{"input_tokens":3,"cache_creation_input_tokens":5,"cache_read_input_tokens":4,"output_tokens":1,'
        b'"output_tokens_details":{"thinking_tokens":0}}'
    )
    at_end = (
        b'"usage":{"input_tokens":3,"cache_creation_input_tokens":5,"cache_read_input_tokens":4,"output_tokens":6,'
        b'"output_tokens_details":{"thinking_tokens":2},"cost_usd":0.5}'
    )
    expected = [
        b'{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus",'
        b'"content":[],"stop_reason":null,"stop_sequence":null,' + at_start + b"}}",
        b'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}',
        b'{"type":"content_block_stop","index":0}',
        b'{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}',
        b'{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}',
        b'{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}',
        b'{"type":"content_block_stop","index":1}',
        b'{"type":"content_block_start","index":2,"content_block":'
        b'{"type":"tool_use","id":"toolu_1","name":"read","input":{}}}',
        b'{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":1}"}}',
        b'{"type":"content_block_stop","index":2}',
        b'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},' + at_end + b"}",
        b'{"type":"message_stop"}',
    ]
    assert sent == b"".join(
        b"event: " + json.loads(data)["type"].encode() + b"\ndata: " + data + b"\n\n" for data in expected
    )
    assert frames.ended
    assert frames.calls == ["read"]


@given(turns(any_text, completed | failed))
@example([TextDelta("a"), TextDelta("b"), CALL, TextDelta("c"), TextDelta("d"), DONE])
@example([TextDelta("a"), TextDelta("b"), TurnFailed(UpstreamError("It broke off."))])
def test_a_stream_has_the_frames_of_its_events_and_nothing_follows_its_end(events: list[Event]) -> None:
    frames, answer = MessageStream(HEAD), AnswerSoFar(HEAD)
    for event in events:
        assert frames.feed(event) == b"".join(map(typed_frame, answer.feed(event)))
    for event in events:
        with pytest.raises(RuntimeError, match=f"{type(event).__name__} after the end"):
            frames.feed(event)


def test_the_object_has_what_the_stream_has() -> None:
    thought: list[Event] = [
        ReasoningDelta("H"),
        ReasoningDelta("m"),
        ReasoningEnd("sig"),
        ReasoningEnd(redacted="data"),
    ]
    assert fold([START, *thought, TextDelta("Hel"), TextDelta("lo"), CALL, DONE]) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "sig"},
            {"type": "redacted_thinking", "data": "data"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"a": 1}},
        ],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 4,
            "output_tokens": 6,
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }


@pytest.mark.parametrize(
    ("finish_reason", "stop_sequence", "stop_reason"),
    [
        ("stop", None, "end_turn"),
        ("stop", "END", "stop_sequence"),
        ("length", None, "max_tokens"),
        ("content_filter", None, "refusal"),
        ("tool_calls", None, "tool_use"),
    ],
)
def test_the_reason_of_the_end_is_in_claudes_words(
    finish_reason: FinishReason, stop_sequence: str | None, stop_reason: str
) -> None:
    end = TurnCompleted(finish_reason, Usage(), stop_sequence=stop_sequence)
    delta = {"stop_reason": stop_reason, "stop_sequence": stop_sequence}
    assert stream([START, end])[-2]["delta"] == delta
    assert delta.items() <= fold([START, end]).items()


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], []),
        ([TextDelta(""), ReasoningDelta(""), ReasoningEnd()], []),
        ([ReasoningEnd("sig")], [("", "sig")]),
        ([ReasoningDelta("a"), ReasoningEnd(), ReasoningDelta("b"), ReasoningEnd("s")], [("a", ""), ("b", "s")]),
        ([ReasoningDelta("a"), ReasoningDelta("[Read]", tool="Read"), ReasoningDelta("b"), ReasoningEnd("s")],
         [("a", ""), ("[Read]", ""), ("b", "s")]),
    ],
)  # fmt: skip
def test_thinking_that_broke_off_and_notes_about_tools_have_blocks_of_their_own(
    events: list[Event], content: list[tuple[str, str]]
) -> None:
    found = fold([START, *events, DONE])["content"]
    assert [(block["thinking"], block["signature"]) for block in found] == content


def test_thinking_is_left_out_for_clients_that_did_not_ask_for_it() -> None:
    whole = MessageObject(replace(HEAD, show_thinking=False))
    thought: list[Event] = [ReasoningDelta("Hm"), ReasoningEnd("sig"), ReasoningEnd(redacted="data")]
    for event in [START, *thought, TextDelta("Hi"), DONE]:
        whole.feed(event)
    assert whole.result()["content"] == [{"type": "text", "text": "Hi"}]


def test_a_failure_ends_the_stream_with_an_error_event() -> None:
    events = stream([START, TextDelta("Hel"), TurnFailed(UpstreamError("Claude broke off."))])
    error = {"type": "api_error", "message": "Claude broke off."}
    assert events[-1] == {"type": "error", "error": error, "request_id": "req_1"}
    assert [event["type"] for event in events[-2:]] == ["content_block_delta", "error"]
    assert [event["type"] for event in stream([TurnFailed(UpstreamError("It died."))])] == ["error"]


def test_a_failure_has_no_object() -> None:
    whole, error = MessageObject(HEAD), RateLimited("later")
    with pytest.raises(RuntimeError):
        whole.result()
    whole.feed(TurnFailed(error))
    assert whole.ended
    with pytest.raises(RateLimited):
        whole.result()
    with pytest.raises(RuntimeError):
        whole.feed(DONE)


@given(turns(unicode_text, completed))
@settings(max_examples=40)
def test_every_event_and_the_whole_object_are_those_of_the_anthropic_package(events: list[Event]) -> None:
    events = with_json(events)
    for event in stream(events):
        strict_anthropic_event(event)
    strict_anthropic_message(fold(events))


@given(turns(any_text, completed))
def test_a_client_that_adds_up_the_stream_has_what_the_one_object_holds(events: list[Event]) -> None:
    events = with_json(events)
    sent, whole = stream(events), on_the_wire(fold(events))
    assert on_the_wire(added_up(sent)) == whole["content"]
    assert sent[-2]["usage"] == whole["usage"]


@given(turns(any_text, completed | failed))
def test_a_stream_has_one_beginning_one_end_and_one_open_block_at_a_time(events: list[Event]) -> None:
    names = [event["type"] for event in stream(with_json(events))]
    if names != ["error"]:
        assert names[0] == "message_start"
    assert names.count("message_start") == (names != ["error"])
    assert [name in ("message_stop", "error") for name in names].index(True) == len(names) - 1
    steps = [name for name in names if name in ("content_block_start", "content_block_stop")]
    if names[-1] == "error":
        steps += ["content_block_stop"] * (len(steps) % 2)
    assert steps == ["content_block_start", "content_block_stop"] * (len(steps) // 2)


@given(st.lists(st.builds(TextDelta, any_text), max_size=8))
def test_the_text_of_the_stream_is_the_text_of_the_turn(deltas: list[TextDelta]) -> None:
    sent = [event["delta"]["text"] for event in stream([*deltas, DONE]) if event["type"] == "content_block_delta"]
    assert "".join(sent) == on_the_wire("".join(delta.text for delta in deltas))
