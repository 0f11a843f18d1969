"""Events to the stream and the object of a response, held against OpenAI's schema, its own models, and each other."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_openai.errors import (
    ApiError,
    BadRequest,
    ContextTooLong,
    InternalError,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TurnTimeout,
    UpstreamError,
)
from claude_openai.protocol.openai.responses.objects import ResponsesHead
from claude_openai.protocol.openai.responses.request import parse_responses_request
from claude_openai.protocol.openai.responses.stream import ResponsesObject, ResponsesStream
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    SearchEnded,
    Source,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.sse import typed_frame
from tests.open_responses import validate_open_event, validate_open_response
from tests.openai_schema import strict_openai_event, strict_openai_response, validate_event, validate_response
from tests.pure.turns import any_text, completed, failed, on_the_wire, turns, unicode_text
from tests.sse_reader import parse_typed_sse

BODY = {"model": "opus", "input": "hi", "tools": [{"type": "function", "name": "read", "parameters": {}}]}
ECHO = parse_responses_request(json.dumps(BODY).encode(), ModelCatalog("sonnet", ()), lambda _: None).echo
HEAD = ResponsesHead("resp_1", 1_700_000_000, ECHO, {"agents__spawn": ("agents", "spawn")})
ENDED = 1_700_000_009
# Open Responses has no items of web searches.
OF_OPENAI = "web_search_call"
USAGE = Usage(3, 4, 5, 6, 2)
DONE = TurnCompleted("stop", USAGE)


def forget(item: Mapping[str, Any]) -> None:
    pass


def stream(events: Iterable[Event], head: ResponsesHead = HEAD) -> list[dict[str, Any]]:
    frames = ResponsesStream(head, lambda: ENDED, forget)
    return parse_typed_sse(b"".join([frames.feed(event) for event in events]))


def fold(events: Iterable[Event], head: ResponsesHead = HEAD) -> dict[str, Any]:
    whole = ResponsesObject(head, lambda: ENDED, forget)
    for event in events:
        whole.feed(event)
    return whole.result()


def kinds(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def added_up(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items of a client that trusts nothing but what is added and the deltas, with the status they end in."""
    found: list[dict[str, Any]] = []
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(found)
                found.append({**event["item"]})
            case "content_part.added" | "reasoning_summary_part.added":
                holder = "content" if "content_index" in event else "summary"
                parts = found[event["output_index"]][holder]
                assert event[f"{holder}_index"] == len(parts)
                parts.append({**event["part"]})
            case "output_text.delta" | "reasoning_summary_text.delta":
                item = found[event["output_index"]]
                assert item["id"] == event["item_id"]
                item["content" if "content_index" in event else "summary"][-1]["text"] += event["delta"]
            case "refusal.delta":
                found[event["output_index"]]["content"][event["content_index"]]["refusal"] += event["delta"]
            case "function_call_arguments.delta":
                found[event["output_index"]]["arguments"] += event["delta"]
            case "output_item.done":
                found[event["output_index"]]["status"] = event["item"]["status"]
    return found


@given(turns(any_text, completed | failed))
@settings(max_examples=40)
def test_every_event_is_one_of_the_schema_and_of_open_responses(events: list[Event]) -> None:
    for event in stream(events):
        validate_event(event)
        if OF_OPENAI not in str(event):
            validate_open_event(event)


@given(turns(unicode_text, completed))
@settings(max_examples=40)
def test_every_event_is_one_of_the_openai_package(events: list[Event]) -> None:
    for event in stream(events):
        strict_openai_event(event)


@given(turns(any_text, completed))
def test_a_client_that_adds_up_the_stream_has_what_the_one_object_holds(events: list[Event]) -> None:
    sent, whole = stream(events), on_the_wire(fold(events))
    assert sent[-1]["response"] == whole
    assert on_the_wire(added_up(sent)) == whole["output"]
    assert [event["item"] for event in sent if event["type"] == "response.output_item.done"] == whole["output"]


@given(turns(any_text, completed))
@settings(max_examples=40)
def test_the_whole_object_is_one_of_the_schema_and_of_open_responses(events: list[Event]) -> None:
    whole = fold(events)
    validate_response(whole)
    if OF_OPENAI not in str(whole):
        validate_open_response(whole)
    ids = [item["id"] for item in whole["output"]]
    assert len(set(ids)) == len(ids)


@given(turns(unicode_text, completed))
@settings(max_examples=40)
def test_the_whole_object_is_one_of_the_openai_package(events: list[Event]) -> None:
    response = strict_openai_response(fold(events))
    assert response.output_text == "".join(event.text for event in events if isinstance(event, TextDelta))


@given(turns(any_text, completed | failed))
def test_a_stream_has_one_beginning_one_end_numbers_without_gaps_and_one_open_item_at_a_time(
    events: list[Event],
) -> None:
    sent = stream(events)
    names = kinds(sent)
    assert names[:2] == ["created", "in_progress"]
    assert names.count("created") == 1
    assert [name in ("completed", "incomplete", "failed") for name in names].index(True) == len(names) - 1
    assert [event["sequence_number"] for event in sent] == list(range(len(sent)))
    steps = [name for name in names if name in ("output_item.added", "output_item.done")]
    if names[-1] == "failed":
        steps += ["output_item.done"] * (len(steps) % 2)
    assert steps == ["output_item.added", "output_item.done"] * (len(steps) // 2)
    assert all(event["response"]["id"] == "resp_1" for event in sent if "response" in event)


def test_text_has_openais_order_of_events() -> None:
    sent = stream([TurnStarted("claude-opus"), TextDelta("Hel"), TextDelta("lo"), DONE])
    assert kinds(sent) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    response = sent[-1]["response"]
    assert (response["status"], response["created_at"], response["completed_at"]) == ("completed", HEAD.created, ENDED)
    assert response["usage"] == {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }
    assert (sent[0]["response"]["status"], sent[0]["response"]["usage"]) == ("in_progress", None)


@given(st.lists(unicode_text.filter(bool), min_size=2, max_size=12))
def test_frame_of_a_further_text_is_that_of_the_first_with_its_own_text_and_number(texts: list[str]) -> None:
    encoder = ResponsesStream(HEAD, lambda: ENDED, forget)
    first, *further = [encoder.feed(TextDelta(text)) for text in texts]
    event = parse_typed_sse(first)[-1]
    for text, frame in zip(texts[1:], further, strict=True):
        event = {**event, "delta": text, "sequence_number": event["sequence_number"] + 1}
        assert frame == typed_frame(event)


def test_thinking_a_text_and_calls_are_items_in_their_order_with_their_own_ids() -> None:
    call = ToolCall("toolu_1", "read", '{"a":1}')
    output = fold([ReasoningDelta("Hm"), ReasoningDelta("m"), TextDelta("Yes."), call, DONE])["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert [item["id"] for item in output] == ["rs_1_0", "msg_1_1", "fc_1_2"]
    assert output[0]["summary"] == [{"type": "summary_text", "text": "Hmm"}]
    assert (output[2]["call_id"], output[2]["name"], output[2]["arguments"]) == ("toolu_1", "read", '{"a":1}')
    assert "namespace" not in output[2]


def test_thinking_is_sent_as_a_summary_part_by_part() -> None:
    names = kinds(stream([ReasoningDelta("Hm"), TextDelta("Yes."), DONE]))
    assert names[2:8] == [
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
    ]


def test_call_of_a_namespaced_tool_has_its_own_name() -> None:
    sent = stream([ToolCall("toolu_1", "agents__spawn", "{}"), DONE])
    (item,) = sent[-1]["response"]["output"]
    assert (item["namespace"], item["name"]) == ("agents", "spawn")
    assert kinds(sent)[2:-1] == [
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done")
    ]


@pytest.mark.parametrize("said", [[], [TextDelta("")], [ReasoningDelta("Hm")]])
def test_an_answer_without_a_word_is_an_empty_message(said: list[Event]) -> None:
    item = fold([*said, DONE])["output"][-1]
    assert (item["type"], item["content"][0]["text"], item["status"]) == ("message", "", "completed")


def test_cut_answer_is_incomplete_with_a_reason() -> None:
    sent = stream([TextDelta("Hel"), TurnCompleted("length", USAGE)])
    response = sent[-1]["response"]
    assert sent[-1]["type"] == "response.incomplete"
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (response["output"][0]["status"], response["completed_at"]) == ("incomplete", None)


def test_failure_is_two_error_events_and_a_failed_response_with_the_text() -> None:
    sent = stream([TextDelta("Hel"), TurnFailed(UpstreamError("It died.", param="input"))])
    error, last = sent[-2:]
    assert (error["type"], error["code"], error["message"]) == ("error", "upstream_error", "It died.")
    assert error["error"] == UpstreamError("It died.", param="input").body()["error"]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    (item,) = last["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hel")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ContextTooLong("x"), "context_length_exceeded"),
        (QuotaExhausted("x"), "insufficient_quota"),
        (RateLimited("x"), "rate_limit_exceeded"),
        (Overloaded("x"), "server_is_overloaded"),
        (InternalError("x"), "server_error"),
        (InternalError("x", may_retry=False), "invalid_prompt"),
        (UpstreamError("x"), "invalid_prompt"),
        (TurnTimeout("x", may_retry=False), "invalid_prompt"),
        (BadRequest("x", code="invalid_value"), "invalid_prompt"),
    ],
)
def test_failed_response_has_a_code_with_which_codex_repeats_nothing_paid(error: ApiError, code: str) -> None:
    assert stream([TurnFailed(error)])[-1]["response"]["error"] == {"code": code, "message": "x"}


def test_a_failure_is_raised_by_the_whole_object() -> None:
    error = UpstreamError("It died.")
    with pytest.raises(UpstreamError) as raised:
        fold([TextDelta("Hel"), TurnFailed(error)])
    assert raised.value is error


def test_what_comes_after_the_end_or_is_taken_before_it_is_a_bug() -> None:
    frames = ResponsesStream(HEAD, lambda: ENDED, forget)
    whole = ResponsesObject(HEAD, lambda: ENDED, forget)
    with pytest.raises(RuntimeError):
        whole.result()
    frames.feed(DONE)
    whole.feed(DONE)
    assert frames.ended
    assert whole.ended
    for late in (frames.feed, whole.feed):
        with pytest.raises(RuntimeError):
            late(TextDelta("x"))


def test_each_finished_item_is_handed_on_to_be_remembered() -> None:
    remembered: list[Mapping[str, Any]] = []
    whole = ResponsesObject(HEAD, lambda: ENDED, remembered.append)
    for event in (ReasoningDelta("Hm"), TextDelta("Yes"), ToolCall("toolu_1", "read", "{}"), DONE):
        whole.feed(event)
    assert remembered == whole.result()["output"]


REFUSED_TURN = TurnCompleted("content_filter", USAGE)


def test_refusal_is_a_separate_part_after_the_text() -> None:
    events: list[Event] = [TextDelta("Well"), TextDelta(", no."), REFUSED_TURN]
    sent = stream(events)
    (message,) = sent[-1]["response"]["output"]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert (message["status"], message["content"][0]["text"]) == ("completed", "Well, no.")
    assert message["content"][1]["refusal"]
    assert kinds(sent)[-8:] == [
        *("output_text.done", "content_part.done", "content_part.added", "refusal.delta", "refusal.done"),
        *("content_part.done", "output_item.done", "completed"),
    ]


@pytest.mark.parametrize("before", [[], [ReasoningDelta("Hm")]])
def test_a_refusal_without_a_word_is_all_that_its_message_holds(before: list[Event]) -> None:
    message = fold([*before, REFUSED_TURN])["output"][-1]
    assert [part["type"] for part in message["content"]] == ["refusal"]


def test_response_in_progress_has_no_end() -> None:
    for event in stream([TurnStarted("m"), TextDelta("a"), DONE])[:2]:
        assert event["response"]["status"] == "in_progress"
        assert (event["response"]["completed_at"], event["response"]["usage"]) == (None, None)


def test_a_citation_counts_the_text_before_the_end_of_a_search() -> None:
    found = SearchEnded("s", (Source("https://a.org/", "A"),))
    events: list[Event] = [TextDelta("a"), TextDelta("b"), found, TextDelta("[c](https://a.org/)"), DONE]
    (annotation,) = fold(events)["output"][0]["content"][0]["annotations"]
    assert (annotation["start_index"], annotation["end_index"]) == (2, 21)
    assert [event["annotation"] for event in stream(events) if "annotation" in event] == [annotation]
