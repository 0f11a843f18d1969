"""Raw records of Claude Code, as they stand in its output, and the events they mean."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.claude.control import records
from claude_openai.claude.control.records import RecordError, effects_of, effects_of_record, record_of
from claude_openai.errors import ApiError, QuotaExhausted, RateLimited, UpstreamAuth, UpstreamError
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.protocol.claude_code.effects import AnswerCall, Effect
from claude_openai.protocol.claude_code.turn_reader import TurnReader
from claude_openai.protocol.turn.events import TextDelta, TurnCompleted, TurnFailed, TurnStarted, Usage

LOGIN = "claude auth login"
USAGE = {"input_tokens": 3, "output_tokens": 5}
START = {"type": "message_start", "message": {"model": "claude-sonnet-5-5", "usage": {"input_tokens": 3}}}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one"}}


def stream(event: dict[str, Any], parent: str | None = None) -> dict[str, Any]:
    return {"type": "stream_event", "event": event, "parent_tool_use_id": parent}


def result(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": False, "result": "one", "usage": USAGE, **fields}


def synthetic(kind: str, text: str) -> dict[str, Any]:
    message = {"model": "<synthetic>", "content": [{"type": "text", "text": text}]}
    return {"type": "assistant", "message": message, "error": kind}


def read_effects(*records: dict[str, Any], reader: TurnReader | None = None) -> list[Effect]:
    reader = reader or TurnReader(LOGIN)
    return [effect for record in records for effect in effects_of_record(record, reader)]


def failure(*records: dict[str, Any]) -> ApiError:
    (event,) = read_effects(*records)
    assert isinstance(event, TurnFailed)
    return event.error


def test_a_turn_is_its_start_its_deltas_and_its_result() -> None:
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    assert read_effects(stream(START), stream(TEXT), stream(delta), result()) == [
        TurnStarted("claude-sonnet-5-5"),
        TextDelta("one"),
        TurnCompleted("stop", Usage(input_tokens=3, output_tokens=5)),
    ]


async def test_only_records_that_end_in_a_check_are_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads: list[Any] = []

    async def offload(work: Any) -> Any:
        in_threads.append(work.args[0])
        return work()

    monkeypatch.setattr(records, "in_thread", offload)
    calls = stream({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    formed = result(structured_output={"a": 1})
    others = [
        stream(START),
        stream(TEXT),
        stream({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}),
        stream({"type": "message_stop"}),
        result(),
        result(structured_output=None),
    ]
    for record in (*others, calls, formed):
        await effects_of(record, TurnReader(LOGIN))
    assert in_threads == [calls, formed]


def test_what_a_subagent_streams_is_not_the_answer() -> None:
    assert read_effects(stream(START, "toolu_1"), stream(TEXT, "toolu_1")) == []


def test_mark_of_a_broken_stream_names_its_first_void_block() -> None:
    broken = {**stream({"type": "message_stop"}), "abandoned_blocks": {"api_message_id": "m", "from_block_index": 1}}
    again = [stream(START), stream(TEXT), stream({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})]
    assert read_effects(stream(START), stream(TEXT), broken, *again, result())[1:-1] == [
        TextDelta("one"),
        TextDelta("one"),
    ]


def test_status_of_a_failed_call_comes_with_the_synthetic_message() -> None:
    overload = {**synthetic("unknown", "API Error: Overloaded"), "api_error_status": 529}
    broken = {**stream({"type": "message_stop"}), "abandoned_blocks": {"api_message_id": "m", "from_block_index": 0}}
    (*_, failed) = read_effects(stream(START), stream(TEXT), overload, broken)
    assert isinstance(failed, TurnFailed)
    assert "it is too busy" in failed.error.message


def test_a_message_to_claude_that_is_claude_codes_own_makes_the_turn_inexact() -> None:
    record = {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "Resume directly."}]}}
    for fields, exact in (({}, True), ({"isSynthetic": True}, False)):
        reader = TurnReader(LOGIN)
        assert read_effects(stream(START), {**record, **fields}, reader=reader) == [TurnStarted("claude-sonnet-5-5")]
        assert reader.exact == exact


def test_records_of_a_sub_agent_are_not_the_turns() -> None:
    call = {"type": "tool_use", "id": "toolu_2", "name": "read", "input": {}}
    message = {"model": "m", "content": [{"type": "text", "text": "Looking."}, call]}
    ofs = [{"type": "assistant", "message": message}, synthetic("server_error", "API Error"), {"type": "user"}]
    records = [{**record, "parent_tool_use_id": "toolu_1"} for record in ofs]
    end = result(model_usage_since_last_result={"m": {"inputTokens": 9}})
    effects = read_effects(stream(START), *records, stream(TEXT), end)
    assert [type(effect) for effect in effects] == [TurnStarted, AnswerCall, TextDelta, TurnCompleted]
    assert effects[-1] == TurnCompleted("stop", Usage(input_tokens=9))


@pytest.mark.parametrize(
    "record",
    [
        {"type": "system", "subtype": "init", "tools": []},
        {"type": "system", "subtype": "status", "status": "requesting"},
        {"type": "user", "message": {"role": "user", "content": []}},
        {"type": "of a later version"},
        {},
    ],
)
def test_other_records_mean_nothing(record: dict[str, Any]) -> None:
    assert read_effects(record) == []


def test_a_failure_that_looks_like_an_answer_is_a_failure() -> None:
    said = "Not logged in · Please run /login"
    error = failure(synthetic("authentication_failed", said), result(is_error=True, result=said))
    assert isinstance(error, UpstreamAuth)
    assert LOGIN in error.message


def test_errors_of_a_result_without_text_are_shown() -> None:
    error = failure(result(subtype="error_during_execution", is_error=True, result=None, errors=["this", "that"]))
    assert isinstance(error, UpstreamError)
    assert "this; that" in error.message


def test_usage_limit_error_has_the_wait() -> None:
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": time.time() + 100.5}}
    retry = {"type": "system", "subtype": "api_retry", "error_status": 429, "error": "rate_limit"}
    error = failure(limit, {**retry, "retry_delay_ms": 2000})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s in (99, 100)
    without = failure(retry)
    assert isinstance(without, RateLimited)
    assert without.retry_after_s == 1


@pytest.mark.parametrize(
    "record",
    [
        {"type": "stream_event"},
        {"type": "stream_event", "event": {"type": "message_start"}},
        {"type": "stream_event", "event": {"type": "message_stop"}, "abandoned_blocks": {}},
        {"type": "result"},
        {"type": "assistant", "message": {"model": "m"}},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": "soon"}},
    ],
)
def test_a_record_without_the_fields_of_its_kind_is_an_error_that_names_it(record: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match=record["type"]):
        read_effects(record)


KINDS = st.sampled_from(["stream_event", "result", "assistant", "system", "rate_limit_event", "text", "message_start"])
KEYS = st.sampled_from(
    ["type", "subtype", "event", "message", "content", "delta", "usage", "is_error", "rate_limit_info", "resetsAt"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | KINDS | st.just("api_retry"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, VALUES))
def test_any_record_is_handled_or_a_record_error(record: dict[str, Any]) -> None:
    with suppress(RecordError):
        read_effects(record)


def logged(line: bytes, level: Level) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    log = Log(level, lambda written: lines.append(json.loads(written)), Redactor())
    return record_of(line, log), lines


def test_a_record_is_no_notice() -> None:
    assert logged(b'{"type": "system", "n": 7}', Level.TRACE) == ({"type": "system", "n": 7}, [])


@pytest.mark.parametrize("line", [b"Warning: something", b"[1]", b"7", b"\xff\x00"])
def test_a_line_that_is_no_object_is_a_notice(line: bytes) -> None:
    record, lines = logged(line, Level.DEBUG)
    assert record is None
    assert [each["event"] for each in lines] == ["claude.notice"]


@pytest.mark.parametrize("line", [b'{"type": broken', b"{", b'  {"a": "\xff"}', b'{} {"a": 1}'])
def test_a_line_that_begins_like_an_object_and_is_none_is_an_error(line: bytes) -> None:
    with pytest.raises(RecordError, match="not valid JSON"):
        logged(line, Level.DEBUG)


@pytest.mark.parametrize(
    ("finer", "kind"),
    [("usage_limit_reached", QuotaExhausted), ("invalid_credential_header", RateLimited), (None, RateLimited)],
)
def test_a_finer_name_of_a_failure_counts_where_it_is_about_money(finer: str | None, kind: type[ApiError]) -> None:
    said = {**synthetic("rate_limit", "of unknown words"), "api_error": finer}
    assert type(failure(said, result(is_error=True, api_error_status=429, result=""))) is kind


def test_reset_is_read_from_the_windows_if_it_is_nowhere_else() -> None:
    window = {"status": "rejected", "resetsAt": time.time() + 7000}
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "unifiedWindows": {"x": window}}}
    error = failure(limit, result(is_error=True, api_error_status=429, result="You've hit your weekly limit"))
    assert isinstance(error, QuotaExhausted)
    assert 6900 < (error.retry_after_s or 0) <= 7000
