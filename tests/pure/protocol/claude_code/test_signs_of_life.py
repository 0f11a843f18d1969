"""What each record of Claude Code shows to be at work, and how long it may be silent after it."""

from typing import Any

import pytest

from claude_openai.protocol.claude_code.signs_of_life import TOOL_S, Sign, Signs


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "stream_event", "event": {"type": kind, **fields}}


def delta(kind: str) -> dict[str, Any]:
    return event("content_block_delta", delta={"type": kind})


def calls(*tools: tuple[str, str], **fields: Any) -> dict[str, Any]:
    content = [{"type": "tool_use", "id": ident, "name": name, "input": {}} for ident, name in tools]
    return {"type": "assistant", "message": {"content": content}, **fields}


def results(*ids: str) -> dict[str, Any]:
    content = [{"type": "tool_result", "tool_use_id": ident, "content": "42"} for ident in ids]
    return {"type": "user", "message": {"role": "user", "content": content}}


RETRY = {"type": "system", "subtype": "api_retry", "retry_delay_ms": 7511, "error_status": 529}
HEARTBEAT = {"type": "tool_progress", "tool_use_id": "a-heartbeat-0", "elapsed_time_seconds": 30, "heartbeat": True}
PROGRESS = {"type": "tool_progress", "tool_use_id": "a", "elapsed_time_seconds": 30}


@pytest.mark.parametrize(
    ("record", "what"),
    [
        (delta("text_delta"), "text"),
        (delta("thinking_delta"), "thinking"),
        (delta("input_json_delta"), "the arguments of a tool call"),
        (delta("signature_delta"), "a piece of a message"),
        (event("message_start"), "the beginning of a message"),
        (event("ping"), "a piece of a message"),
        ({"type": "system", "subtype": "init"}, "the beginning of the turn"),
        ({"type": "system", "subtype": "of a later version"}, "a record of type 'system'"),
        ({"type": "assistant", "message": {"content": [{"type": "text", "text": "x"}]}}, "a message"),
        ({"type": "result", "subtype": "success"}, "the end of the turn"),
        ({"type": "control_request", "request": {}}, "a request of Claude Code to this server"),
        ({"type": "rate_limit_event"}, "a record of type 'rate_limit_event'"),
        ({}, "a record of type 'None'"),
    ],
)
def test_every_record_is_a_sign_with_a_name(record: dict[str, Any], what: str) -> None:
    assert Signs().read(record) == Sign(what)


@pytest.mark.parametrize("record", [HEARTBEAT, {"type": "keep_alive"}])
def test_what_a_timer_sends_is_none(record: dict[str, Any]) -> None:
    assert Signs().read(record) is None


def test_retry_is_alive_for_its_announced_delay() -> None:
    assert Signs().read(RETRY) == Sign("the announcement of a retry", 7.511)
    of_an_agent = {**PROGRESS, "subagent_retry": {"attempt": 1, "retry_delay_ms": 2000}}
    assert Signs().read(of_an_agent) == Sign("the progress of a tool", 2.0)


def test_a_tool_has_its_time_until_its_result_comes() -> None:
    signs = Signs()
    assert signs.read(calls(("a", "Bash"), ("b", "Read"))) == Sign("a message, with Bash, Read at work", TOOL_S)
    assert signs.read(event("message_stop")) == Sign("the end of a message, with Bash, Read at work", TOOL_S)
    assert signs.read(HEARTBEAT) is None
    assert signs.read(PROGRESS) == Sign("the progress of a tool, with Bash, Read at work", TOOL_S)
    assert signs.read(results("b")) == Sign("the result of a tool, with Bash at work", TOOL_S)
    assert signs.read(results("a")) == Sign("the result of a tool")
    assert signs.read(delta("text_delta")) == Sign("text")


def test_the_calls_of_an_agent_within_the_turn_count_too() -> None:
    signs = Signs()
    signs.read(calls(("a", "Agent")))
    signs.read(calls(("b", "Grep"), parent_tool_use_id="a"))
    assert signs.read(results("b")) == Sign("the result of a tool, with Agent at work", TOOL_S)


def test_the_longer_wait_counts() -> None:
    signs = Signs()
    signs.read(calls(("a", "Agent")))
    assert signs.read({**RETRY, "retry_delay_ms": 900_000}) == Sign(
        "the announcement of a retry, with Agent at work", 900.0
    )


@pytest.mark.parametrize(
    "record",
    [
        {"type": "assistant"},
        {"type": "assistant", "message": "x"},
        {"type": "assistant", "message": {"content": "x"}},
        {"type": "user", "message": {"content": [None, "x", {"type": "tool_result", "tool_use_id": []}]}},
        {"type": "stream_event", "event": None},
        {"type": "stream_event", "event": {"type": "content_block_delta", "delta": 7}},
        {"type": ["x"], "subtype": {}},
        {**RETRY, "retry_delay_ms": "soon"},
        {**RETRY, "retry_delay_ms": -1},
        {**PROGRESS, "subagent_retry": []},
    ],
)
def test_unknown_record_still_counts_as_a_sign_of_life(record: dict[str, Any]) -> None:
    sign = Signs().read(record)
    assert sign is not None
    assert sign.for_s == 0


def test_a_message_does_not_grow_with_the_tools_at_work() -> None:
    sign = Signs().read(calls(*((str(number), "a_tool_with_a_long_name") for number in range(100))))
    assert sign is not None
    assert len(sign.what) < 200
