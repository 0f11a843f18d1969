"""The stand-in's scripts, read back from their bytes: no sockets, no clock.

The SSE reader below is written against the format, not against `wire.py`, so that the two can disagree.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.standin.demo import demo_reply
from claude_openai.standin.wire import AnswerIdentity, Head, Item, render
from claude_openai.testing import (
    API_ERROR,
    PROMPT_TOO_LONG,
    RATE_LIMIT_ERROR,
    Answer,
    Cut,
    Garbage,
    Hang,
    HttpError,
    Pause,
    RecordedRequest,
    Reply,
    Text,
    Thinking,
    ToolUse,
    UpstreamErrorEvent,
    Usage,
)

IDENTITY = AnswerIdentity("claude-sonnet-5", "msg_01", "req_01")


def rendered(answer: Answer, *, stream: bool = True) -> list[Item]:
    return list(render(answer, IDENTITY, stream=stream))


def body_of(items: Iterable[Item]) -> bytes:
    return b"".join(item for item in items if isinstance(item, bytes))


def head_of(items: Iterable[Item]) -> Head:
    (head,) = [item for item in items if isinstance(item, Head)]
    return head


def sse_events(body: bytes) -> list[dict[str, Any]]:
    """The data of every event, once its name was seen to agree."""
    assert body.endswith(b"\n\n")
    events = []
    for block in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        event: dict[str, Any] = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def read_back(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each content block with its deltas, once the events were seen to come in a permitted order."""
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    is_open = False
    for event in events[2:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            is_open = True
            blocks.append((event["content_block"], []))
        elif event["type"] == "content_block_delta":
            assert is_open
            blocks[-1][1].append(event["delta"])
        else:
            assert event["type"] == "content_block_stop"
            is_open = False
        assert event["index"] == len(blocks) - 1
    assert not is_open
    return blocks


# Every character, surrogates included: a script may send half a pair.
strings = st.text(st.characters(exclude_categories=()))
texts = st.lists(strings).map(lambda deltas: Text(*deltas))
thinkings = st.builds(lambda deltas, signature: Thinking(*deltas, signature=signature), st.lists(strings), strings)
tool_uses = st.builds(ToolUse, strings, st.dictionaries(strings, st.integers()), st.just("toolu_01"))


@given(st.lists(texts | thinkings | tool_uses))
def test_every_delta_is_one_event_and_every_block_reads_back(blocks: list[Text | Thinking | ToolUse]) -> None:
    seen = read_back(sse_events(body_of(rendered(Reply(*blocks)))))
    assert len(seen) == len(blocks)
    for block, (start, deltas) in zip(blocks, seen, strict=True):
        if isinstance(block, Text):
            assert start == {"type": "text", "text": ""}
            assert deltas == [{"type": "text_delta", "text": piece} for piece in block.pieces]
        elif isinstance(block, Thinking):
            assert start == {"type": "thinking", "thinking": "", "signature": ""}
            thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in block.pieces]
            signature = [{"type": "signature_delta", "signature": block.signature}] if block.signature else []
            assert deltas == thoughts + signature
        else:
            assert start == {"type": "tool_use", "id": "toolu_01", "name": block.name, "input": {}}
            (delta,) = deltas
            assert delta["type"] == "input_json_delta"
            assert json.loads(delta["partial_json"]) == block.input


def test_a_message_that_is_not_streamed_holds_the_same_content() -> None:
    usage = Usage(input_tokens=3, output_tokens=9, cache_read_input_tokens=2, thinking_tokens=4)
    reply = Reply(
        Thinking("h", "m", signature="s"), Text("a", Pause(0), "b"), ToolUse("f", {"x": 1}, "toolu_01"), usage=usage
    )
    items = rendered(reply, stream=False)
    body = body_of(items)
    assert items[:2] == [Pause(0), head_of(items)]
    assert head_of(items).headers["content-length"] == str(len(body))
    assert json.loads(body) == {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": "ab"},
            {"type": "tool_use", "id": "toolu_01", "name": "f", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 3,
            "output_tokens": 9,
            "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 0,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    }


def test_the_input_is_known_at_the_start_and_the_output_only_at_the_end() -> None:
    events = sse_events(body_of(rendered(Reply("x", usage=Usage(input_tokens=7, output_tokens=40, thinking_tokens=2)))))
    message = events[0]["message"]
    assert (message["id"], message["model"], message["stop_reason"]) == ("msg_01", "claude-sonnet-5", None)
    assert message["usage"]["input_tokens"] == 7
    assert message["usage"]["output_tokens"] == 1
    assert "output_tokens_details" not in message["usage"]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"]["output_tokens"] == 40
    assert events[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": 2}


def test_a_bare_string_is_a_text_of_one_delta() -> None:
    assert Reply("a", Text("b")) == Reply(Text("a"), Text("b"))


def test_the_stop_reason_follows_from_the_blocks_unless_it_is_given() -> None:
    call = ToolUse("f", id="toolu_01")
    assert Reply("a").stop_reason == "end_turn"
    assert Reply("a", call).stop_reason == "tool_use"
    assert Reply("a", call, stop_reason="max_tokens").stop_reason == "max_tokens"


def test_a_reply_may_claim_another_model_than_the_one_asked_for() -> None:
    events = sse_events(body_of(rendered(Reply("a", model="claude-haiku-5"))))
    assert events[0]["message"]["model"] == "claude-haiku-5"


def test_fragments_of_a_tool_input_are_sent_as_they_are() -> None:
    reply = Reply(ToolUse("f", {"ignored": 1}, "toolu_01", fragments=['{"a":', "", "oops"]))
    ((_, deltas),) = read_back(sse_events(body_of(rendered(reply))))
    assert [delta["partial_json"] for delta in deltas] == ['{"a":', "", "oops"]


def test_waits_stand_where_the_script_put_them() -> None:
    gate = Pause(trio.Event())
    items = rendered(Reply(Text("one", gate, "two"), Hang(), Text("three"), Cut()))
    at_gate, at_hang, at_cut = items.index(gate), items.index(Hang()), items.index(Cut())
    assert b'"one"' in body_of(items[:at_gate])
    assert b'"two"' not in body_of(items[:at_gate])
    assert items[at_hang - 1] == b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    assert b'"three"' in body_of(items[at_hang:at_cut])


@pytest.mark.parametrize("answer", [Reply("a", before_headers=[Hang()]), HttpError(500, "t", "m", {}, [Hang()])])
@pytest.mark.parametrize("stream", [True, False])
def test_a_wait_before_the_headers_comes_first(answer: Answer, stream: bool) -> None:
    first, second, *_ = rendered(answer, stream=stream)
    assert first == Hang()
    assert isinstance(second, Head)


def test_garbage_stands_in_the_stream_as_it_is() -> None:
    body = body_of(rendered(Reply(Text("a", Garbage(b"\xff: {\n\n"), "b"))))
    before, after = body.split(b"\xff: {\n\n")
    assert sse_events(before)[-1]["delta"]["text"] == "a"
    assert sse_events(after)[0]["delta"]["text"] == "b"


def test_garbage_spoils_a_whole_message_too_and_is_counted_in_its_length() -> None:
    items = rendered(Reply(Text("a"), Garbage(b"}{")), stream=False)
    assert body_of(items).startswith(b"}{{")
    assert head_of(items).headers["content-length"] == str(len(body_of(items)))


def test_nothing_follows_an_error_event() -> None:
    events = sse_events(body_of(rendered(Reply(Text("a", UpstreamErrorEvent("api_error", "no"), "b"), "c"))))
    assert [event["type"] for event in events[-2:]] == ["content_block_delta", "error"]
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "no"}, "request_id": "req_01"}


@pytest.mark.parametrize(
    ("error_type", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("new_error", 500)]
)
def test_an_error_in_a_message_that_is_not_streamed_is_a_status(error_type: str, status: int) -> None:
    items = rendered(Reply(Text("a"), UpstreamErrorEvent(error_type), "b"), stream=False)
    assert head_of(items).status == status
    assert json.loads(body_of(items))["error"] == {"type": error_type, "message": "Overloaded"}


def test_a_refusal_has_anthropics_error_form_and_its_own_headers() -> None:
    items = rendered(RATE_LIMIT_ERROR.with_headers(retry_after="7", x_should_retry="false"))
    head = head_of(items)
    assert head.status == 429
    assert {"retry-after": "7", "x-should-retry": "false", "request-id": "req_01"}.items() <= head.headers.items()
    assert json.loads(body_of(items)) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": RATE_LIMIT_ERROR.message},
        "request_id": "req_01",
    }
    assert RATE_LIMIT_ERROR.headers == {"retry-after": "1"}


def test_a_reply_carries_further_headers() -> None:
    head = head_of(rendered(Reply("a", headers={"anthropic-ratelimit-unified-status": "allowed"})))
    assert head.headers["anthropic-ratelimit-unified-status"] == "allowed"
    assert head.headers["content-type"].startswith("text/event-stream")


def test_the_prompt_that_is_too_long_has_the_words_claude_code_looks_for() -> None:
    assert PROMPT_TOO_LONG.status == 400
    assert PROMPT_TOO_LONG.message.startswith("prompt is too long: ")
    assert API_ERROR.status == 500


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_pause_without_a_sensible_length_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite seconds"):
        Pause(seconds)


def recorded(body: object) -> RecordedRequest:
    return RecordedRequest("POST", "/v1/messages", "beta=true", {}, json.dumps(body).encode())


def test_texts_are_found_as_strings_and_as_blocks() -> None:
    image = {"type": "image", "source": {}}
    blocks = [{"type": "text", "text": "one"}, image, {"type": "text", "text": "two"}]
    for content in ("one\ntwo", blocks):
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "no"}]
        request = recorded({"model": "m", "system": content, "messages": messages, "tools": [{"name": "f"}]})
        assert request.system_text == request.last_user_text == "one\ntwo"
        assert (request.model, request.tools, request.prompt_words) == ("m", ["f"], 5)
        assert request.messages == messages


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "text", "role", "content"]), inner),
)
odd_bodies = st.dictionaries(st.sampled_from(["model", "system", "messages", "tools", "stream"]), json_values)


@given(st.binary() | (odd_bodies | json_values).map(lambda body: json.dumps(body).encode()))
def test_a_request_that_makes_no_sense_is_recorded_all_the_same(raw: bytes) -> None:
    request = RecordedRequest("POST", "/v1/messages", "", {}, raw)
    told = [request.model, request.system_text, request.last_user_text, repr(request), *request.tools]
    assert all(isinstance(text, str) for text in told)
    assert request.prompt_words >= 0
    assert isinstance(demo_reply(request), Reply)


def demo_text(request: RecordedRequest) -> str:
    (block,) = demo_reply(request).steps
    assert isinstance(block, Text)
    return "".join(piece for piece in block.pieces if isinstance(piece, str))


def test_the_demo_says_that_it_is_one_and_what_it_was_sent() -> None:
    system = [{"type": "text", "text": "x-anthropic-billing-header: 1;"}, {"type": "text", "text": "Be brief."}]
    messages = [{"role": "user", "content": "Hi there"}, {"role": "system", "content": "# Environment"}]
    text = demo_text(recorded({"system": system, "messages": messages, "tools": [{"name": "f"}, {"name": "g"}]}))
    assert text.startswith("[demo] This is the demo of claude-openai: ")
    assert "no Claude account was used. You said: Hi there\n" in text
    assert text.endswith("The request had 1 message, the system prompt “Be brief.” and the tools f, g.")


def test_the_demo_streams_in_less_than_a_second_however_long_its_answer() -> None:
    for content in ("Hi", "w " * 10_000):
        reply = demo_reply(recorded({"system": content, "messages": [{"role": "user", "content": content}]}))
        (block,) = reply.steps
        assert isinstance(block, Text)
        pauses = [piece.until for piece in block.pieces if isinstance(piece, Pause)]
        assert len(pauses) > 20
        assert sum(pause for pause in pauses if isinstance(pause, int | float)) < 1
        assert reply.usage.input_tokens == 2 * len(content.split())
        assert reply.usage.output_tokens == len(pauses) + 1


def test_importing_the_stand_in_imports_nothing_heavy() -> None:
    heavy = ["pytest", "quart", "quart_trio", "hypercorn", "anyio", "mcp", "claude_agent_sdk", "jsonschema"]
    code = f"import sys, claude_openai.testing, claude_openai.standin.demo; print(*set({heavy}) & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
