"""What Claude Code writes while it answers, record by record, and what is to be done about it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import ApiError, ContextTooLong, QuotaExhausted, RateLimited, UpstreamAuth, UpstreamError
from claude_openai.protocol.claude_code.effects import AnswerCall, AskClaude, Effect
from claude_openai.protocol.claude_code.tool_calls import MAX_CORRECTIONS
from claude_openai.protocol.claude_code.turn_reader import NOT_FOR_AGENTS, TurnReader
from claude_openai.protocol.claude_code.turn_states import State
from claude_openai.protocol.turn.events import (
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    Route,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
    Usage,
)
from tests.pure.records import (
    GOOD,
    LOGIN,
    STOP,
    abandoned_from,
    bad_result,
    failure_of,
    fits,
    follow,
    good_result,
    message_delta,
    message_start,
    said,
    stop,
    text,
    thinking,
    tool_reader,
    use,
)


def test_an_answer_in_pieces() -> None:
    reader = TurnReader(LOGIN)
    events = follow(
        reader,
        message_start(input_tokens=3, cache_read_input_tokens=4, cache_creation_input_tokens=5, output_tokens=1),
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        thinking("Hm"),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
        stop(),
        text("Hel", 1),
        {"type": "ping"},
        text("lo", 1),
        message_delta("end_turn", output_tokens=9, output_tokens_details={"thinking_tokens": 2}),
        {"type": "message_stop"},
    )
    thought = [ReasoningDelta("Hm"), ReasoningEnd("x")]
    assert events == [TurnStarted("claude-sonnet-4-5"), *thought, TextDelta("Hel"), TextDelta("lo")]
    assert not reader.ended
    reader.assistant(model="claude-sonnet-4-5", error=None, text="Hello")
    assert reader.result(**good_result("Hello")) == [TurnCompleted("stop", Usage(3, 4, 5, 9, 2))]
    assert reader.ended


def signature(signed: str, index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": signed}}


def redacted(data: str, index: int = 0) -> dict[str, Any]:
    block = {"type": "redacted_thinking", "data": data}
    return {"type": "content_block_start", "index": index, "content_block": block}


@pytest.mark.parametrize("live", [True, False])
def test_blocks_of_thinking_end_with_their_signatures(live: bool) -> None:
    reader = TurnReader(LOGIN, live=live)
    blocks = [thinking("Hm"), signature("x"), stop(), redacted("secret", 1), stop(1), signature("y", 2), stop(2)]
    events = follow(reader, message_start(), *blocks, text("Hi", 3), stop(3), message_delta("end_turn"))
    ends = [ReasoningEnd("x"), ReasoningEnd(redacted="secret"), ReasoningEnd("y")]
    assert events[1:] == [ReasoningDelta("Hm"), *ends, TextDelta("Hi")]


def test_thinking_after_a_text_that_is_buffered_comes_after_it_with_its_end() -> None:
    reader = TurnReader(LOGIN, live=False)
    later = [thinking("H", 1), thinking("m", 1), signature("x", 1), stop(1), redacted("secret", 2), stop(2)]
    events = follow(reader, message_start(), text("Hi"), stop(), *later, message_delta("end_turn"))
    thought = [ReasoningDelta("Hm"), ReasoningEnd("x"), ReasoningEnd(redacted="secret")]
    assert events[1:] == [TextDelta("Hi"), *thought]


def test_thinking_that_breaks_off_ends_without_a_signature() -> None:
    again = [message_start(), thinking("Then"), signature("x"), stop(), text("Hi", 1), message_delta("end_turn")]
    events = follow(TurnReader(LOGIN), message_start(), thinking("Hm"), STOP, *again)
    broken, whole = [ReasoningDelta("Hm"), ReasoningEnd()], [ReasoningDelta("Then"), ReasoningEnd("x")]
    assert events[1:] == [*broken, *whole, TextDelta("Hi")]


def test_the_counts_of_the_result_are_taken_only_when_no_pieces_came() -> None:
    # The pieces have counted their turn to its end; what a result counts is Claude Code's own affair.
    streamed = follow(TurnReader(LOGIN), message_start(input_tokens=3, output_tokens=1), good_result(output_tokens=9))
    assert streamed[-1] == TurnCompleted("stop", Usage(input_tokens=3, output_tokens=1))
    whole = follow(TurnReader(LOGIN), good_result("Hi", input_tokens=3, output_tokens=9))
    assert whole[-1] == TurnCompleted("stop", Usage(input_tokens=3, output_tokens=9))


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [("max_tokens", "length"), ("model_context_window_exceeded", "length"), ("refusal", "content_filter")],
)
def test_stop_reason_that_claude_code_would_continue_ends_the_turn(reason: str, finish_reason: FinishReason) -> None:
    reader = TurnReader(LOGIN)
    events = follow(reader, message_start(output_tokens=1), text("Hel"), message_delta(reason, output_tokens=9))
    assert events[-1] == TurnCompleted(finish_reason, Usage(output_tokens=9))
    assert reader.ended


@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence", None])
def test_other_reasons_leave_the_end_to_the_result(reason: str | None) -> None:
    reader = TurnReader(LOGIN)
    events = follow(reader, message_start(), text("Hi"), message_delta(reason))
    assert events == [TurnStarted("claude-sonnet-4-5"), TextDelta("Hi")]
    assert not reader.ended


@pytest.mark.parametrize("thought", [[], [thinking("Hm")]])
def test_an_answer_without_a_text_ends_before_claude_code_asks_for_one(thought: list[dict[str, Any]]) -> None:
    reader = TurnReader(LOGIN)
    events = follow(reader, message_start(), *thought, message_delta("end_turn", output_tokens=9))
    assert events[-1] == TurnCompleted("stop", Usage(output_tokens=9))
    assert reader.ended


@pytest.mark.parametrize("status", [None, 429, 500])
@pytest.mark.parametrize("said", ["API Error: 500", "Internal server error", "try again later", "rate limit"])
def test_a_failure_in_the_middle_of_an_answer_is_none_that_clients_repeat_by_themselves(
    status: int | None, said: str
) -> None:
    events = follow(TurnReader(LOGIN), message_start(), text("Hel"), bad_result(status, said))
    error = failure_of(events[-1:])
    assert type(error) is UpstreamError
    # OpenCode reads the text of an error, so the message is for the log alone.
    assert error.message == "Claude broke off its answer; this server's log says why."
    assert [said in note for note in error.__notes__] == [True]
    assert not error.may_retry


@pytest.mark.parametrize(("status", "said"), [(529, "API Error: Overloaded"), (None, "Overloaded"), (529, "")])
def test_overload_within_an_answer_is_reported_without_retry(status: int | None, said: str) -> None:
    events = follow(TurnReader(LOGIN), message_start(), text("Hel"), bad_result(status, said))
    error = failure_of(events[-1:])
    assert (type(error), error.code, error.may_retry) == (UpstreamError, "upstream_error", False)
    assert error.message == "Claude broke off its answer: it is too busy."


@pytest.mark.parametrize(
    "said",
    [
        "API Error: Connection to the API was lost (ECONNRESET). This is usually temporary — try again.",
        "API Error: Connection closed mid-response. The response above may be incomplete.",
        "API Error: Stream ended without receiving any events",
    ],
)
def test_lost_connection_within_an_answer_is_reported_as_such(said: str) -> None:
    events = follow(TurnReader(LOGIN), message_start(), text("Hel"), bad_result(None, said))
    error = failure_of(events[-1:])
    assert (type(error), error.may_retry) == (UpstreamError, False)
    assert error.message == "Claude broke off its answer: the connection to its API was lost."


def test_failure_within_an_answer_has_its_cause_where_no_client_retries() -> None:
    events = follow(TurnReader(LOGIN), message_start(), text("Hel"), bad_result(None, "a strange thing"))
    assert "a strange thing" in failure_of(events[-1:]).message


def test_answer_that_came_whole_is_sent_once() -> None:
    events = follow(TurnReader(LOGIN), good_result("Hello", output_tokens=2))
    assert events[1:] == [TextDelta("Hello"), TurnCompleted("stop", Usage(output_tokens=2))]
    assert isinstance(events[0], TurnStarted)
    streamed = follow(TurnReader(LOGIN), message_start(), text("Hello"), good_result("Hello"))
    assert [event for event in streamed if isinstance(event, TextDelta)] == [TextDelta("Hello")]


def test_a_second_answer_within_one_turn_is_a_failure() -> None:
    reader = TurnReader(LOGIN)
    events = follow(reader, message_start(), text("Hel"), message_delta("end_turn"), STOP, message_start())
    assert "second answer" in failure_of(events[-1:]).message
    assert reader.state is State.STOPPED


def test_a_retry_with_a_login_that_was_refused_ends_the_turn() -> None:
    reader = TurnReader(LOGIN)
    effects = reader.retry(status=401, delay_ms=500, kind="authentication_failed")
    assert isinstance(failure_of(effects), UpstreamAuth)
    assert reader.state is State.STOPPED


@pytest.mark.parametrize("status", [None, 500, 502, 529])
def test_a_retry_that_may_help_is_let_happen_before_the_answer(status: int | None) -> None:
    reader = TurnReader(LOGIN)
    assert reader.retry(status=status, delay_ms=500, kind="server_error") == ()
    assert not reader.ended
    assert follow(reader, message_start(), text("Hi"), good_result("Hi"))[-1] == TurnCompleted("stop", Usage())


@pytest.mark.parametrize("status", [None, 401, 429, 500, 529])
def test_a_retry_of_a_later_call_of_the_turn_is_let_happen(status: int | None) -> None:
    reader = TurnReader(LOGIN, check=fits)
    refused = [message_start(), text("So:"), *use("a", "read", "{}", index=1), message_delta("tool_use"), STOP]
    assert len(follow(reader, *refused)) == 3
    assert reader.retry(status=status, delay_ms=500, kind="overloaded") == ()
    events = follow(reader, message_start(), text("Done."), message_delta("end_turn"), STOP, good_result("Done."))
    assert events == [TextDelta("\n\nDone."), TurnCompleted("stop", Usage())]


@pytest.mark.parametrize("status", [None, 401, 429, 529])
def test_a_retry_after_words_that_would_come_twice_ends_the_turn(status: int | None) -> None:
    reader = TurnReader(LOGIN)
    follow(reader, message_start(), text("Hel"))
    assert isinstance(failure_of(reader.retry(status=status, delay_ms=500, kind="overloaded")), UpstreamError)
    assert reader.state is State.STOPPED


@pytest.mark.parametrize(
    ("delay_ms", "error", "wait_s"),
    [(0, RateLimited, 1), (999, RateLimited, 1), (7_900, RateLimited, 7), (120_000, RateLimited, 120),
     (121_000, QuotaExhausted, 121), (3_600_000, QuotaExhausted, 3600)],
)  # fmt: skip
def test_rate_limit_says_how_long_to_wait(delay_ms: float, error: type[ApiError], wait_s: int) -> None:
    failure = failure_of(TurnReader(LOGIN).retry(status=429, delay_ms=delay_ms, kind="rate_limit"))
    assert type(failure) is error
    assert failure.retry_after_s == wait_s
    assert failure.may_retry == (error is RateLimited)


@pytest.mark.parametrize(("resets_in_s", "error"), [(30.0, RateLimited), (121.0, QuotaExhausted), (-4.0, RateLimited)])
@pytest.mark.parametrize("told_by", ["retry", "result"])
def test_a_used_up_limit_with_its_reset_wins_over_the_next_retry(
    resets_in_s: float, error: type[ApiError], told_by: str
) -> None:
    reader = TurnReader(LOGIN)
    reader.rate_limit(rejected=True, resets_in_s=resets_in_s)
    if told_by == "retry":
        failure = failure_of(reader.retry(status=429, delay_ms=900, kind="rate_limit"))
    else:
        failure = failure_of(reader.result(**bad_result(429, "limit reached")))
    assert type(failure) is error
    assert failure.retry_after_s == max(1, int(resets_in_s))


@pytest.mark.parametrize(("rejected", "resets_in_s"), [(False, 900.0), (True, None)])
def test_a_limit_that_is_only_near_or_has_no_reset_changes_nothing(rejected: bool, resets_in_s: float | None) -> None:
    reader = TurnReader(LOGIN)
    reader.rate_limit(rejected=rejected, resets_in_s=resets_in_s)
    assert failure_of(reader.retry(status=429, delay_ms=3_000, kind="rate_limit")).retry_after_s == 3


def test_a_failure_that_is_dressed_as_an_answer_is_no_answer() -> None:
    reader = TurnReader(LOGIN)
    reader.assistant(model="<synthetic>", error="authentication_failed", text="Invalid API key · Please run /login")
    failure = failure_of(reader.result(**good_result("Invalid API key · Please run /login")))
    assert isinstance(failure, UpstreamAuth)
    assert LOGIN in failure.message


def test_error_result_fails_with_the_text_of_the_message_before() -> None:
    reader = TurnReader(LOGIN)
    reader.assistant(model="<synthetic>", error="invalid_request", text="prompt is too long: 210000 tokens")
    assert isinstance(failure_of(reader.result(**bad_result(400))), ContextTooLong)


def test_ended_process_is_a_failure_with_its_reason() -> None:
    reader = TurnReader(LOGIN)
    error = reader.gone("exit status 137").error
    assert isinstance(error, UpstreamError)
    assert "exit status 137" in error.message
    assert reader.ended


def test_calls_are_sent_whole_when_the_message_ends_and_the_turn_waits() -> None:
    reader = tool_reader()
    spelled = '{"path": "/a b",  "x":[1.50, "\\u00e9"]}'
    written = [
        message_start(input_tokens=3, output_tokens=1),
        text("Let me look."),
        *use("toolu_1", "mcp__x__read", *spelled, index=1),
        *use("toolu_2", "mcp__x__read", "", GOOD[:5], GOOD[5:], index=2),
    ]
    assert follow(reader, *written) == [TurnStarted("claude-sonnet-4-5"), TextDelta("Let me look.")]
    assert follow(reader, message_delta("tool_use", output_tokens=9), STOP) == [
        ToolCall("toolu_1", "read", spelled),
        ToolCall("toolu_2", "read", GOOD),
        TurnCompleted("tool_calls", Usage(input_tokens=3, output_tokens=9)),
    ]
    assert reader.state is State.PARKED
    assert reader.exact


@pytest.mark.parametrize("fragments", [(), ("",)])
def test_a_call_without_arguments_has_an_empty_object(fragments: tuple[str, ...]) -> None:
    reader = TurnReader(LOGIN, check=lambda _name, arguments: None if arguments == "{}" else "no")
    events = follow(reader, message_start(), *use("a", "now", *fragments), message_delta("tool_use"))
    assert events[1] == ToolCall("a", "now", "{}")


BAD_CALLS = [("read", "{}"), ("write", GOOD), ("Bash", GOOD), ("read", "[]"), ("read", '{"path":'), ("read", "null")]


@pytest.mark.parametrize(("name", "arguments"), BAD_CALLS)
def test_a_call_that_does_not_fit_is_answered_for_the_client_and_claude_corrects_it_within_the_turn(
    name: str, arguments: str
) -> None:
    reader = tool_reader()
    first = follow(
        reader,
        message_start(input_tokens=3, output_tokens=1),
        *use("a", f"mcp__x__{name}", arguments),
        message_delta("tool_use", output_tokens=5),
        STOP,
    )
    assert first == [TurnStarted("claude-sonnet-4-5"), AnswerCall("a", "no")]
    assert reader.state is State.BETWEEN
    assert not reader.exact
    corrected = follow(
        reader,
        message_start(input_tokens=4, cache_read_input_tokens=3, output_tokens=1),
        *use("b", "mcp__x__read", GOOD),
        message_delta("tool_use", output_tokens=7),
    )
    # Both calls of Claude's API were paid for.
    usage = Usage(input_tokens=7, cache_read_tokens=3, output_tokens=12)
    assert corrected == [ToolCall("b", "read", GOOD), TurnCompleted("tool_calls", usage)]


def test_after_a_call_that_does_not_fit_claude_may_answer_in_text() -> None:
    reader = tool_reader()
    events = follow(
        reader, message_start(), *use("a", "write", GOOD), message_delta("tool_use"),
        message_start(), text("I cannot."), message_delta("end_turn"), good_result("I cannot."),
    )  # fmt: skip
    assert events[2:] == [TextDelta("I cannot."), TurnCompleted("stop", Usage())]
    assert reader.state is State.IDLE


@pytest.mark.parametrize("silent", [[], [thinking("Hm")]])
def test_text_and_a_refused_call_and_then_an_empty_end_is_an_answer(silent: list[dict[str, Any]]) -> None:
    reader = tool_reader()
    refused = [message_start(), text("Known already."), *use("a", "write", GOOD, index=1), message_delta("tool_use")]
    events = follow(reader, *refused, STOP, message_start(), *silent, message_delta("end_turn"))
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("Known already.")]
    assert events[-1] == TurnCompleted("stop", Usage())
    assert reader.state is State.STOPPED  # Claude Code would ask for a text


def test_valid_calls_among_several_are_sent() -> None:
    written = [
        *use("a", "read", GOOD),
        *use("b", "read", "{}", index=1),
        *use("c", "read", GOOD, index=2),
    ]
    events = follow(tool_reader(), message_start(), *written, message_delta("tool_use"))
    assert events[1:] == [
        AnswerCall("b", "no"),
        ToolCall("a", "read", GOOD),
        ToolCall("c", "read", GOOD),
        TurnCompleted("tool_calls", Usage()),
    ]


def test_calls_that_never_fit_are_a_failure_in_the_end() -> None:
    reader = tool_reader()
    attempt = [message_start(output_tokens=1), *use("a", "read", "{}"), message_delta("tool_use")]
    assert follow(reader, *attempt * MAX_CORRECTIONS)[1:] == [AnswerCall("a", "no")] * MAX_CORRECTIONS
    assert not reader.ended
    assert isinstance(failure_of(follow(reader, *attempt)), UpstreamError)
    assert reader.state is State.STOPPED


def test_call_cut_by_the_output_limit_is_not_sent() -> None:
    reader = tool_reader()
    cut = use("a", "read", GOOD[:6], index=1)[:-1]
    events = follow(reader, message_start(), text("So:"), *cut, message_delta("max_tokens"))
    assert events[1:] == [TextDelta("So:"), TurnCompleted("length", Usage())]
    assert reader.state is State.STOPPED


def test_without_tools_no_call_is_sent() -> None:
    events = follow(TurnReader(LOGIN), message_start(), *use("a", "Bash", GOOD), message_delta("tool_use"))
    assert events == [TurnStarted("claude-sonnet-4-5"), AnswerCall("a", "No tools are available.")]


def test_arguments_outside_of_a_call_are_ignored() -> None:
    stray = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": GOOD}}
    block = {"type": "server_tool_use", "id": "s", "name": "w"}
    server_tool = {"type": "content_block_start", "index": 0, "content_block": block}
    written = [stray, server_tool, stray, stop(), *use("a", "read", GOOD, index=1)]
    events = follow(tool_reader(), message_start(), *written, message_delta("tool_use"))
    assert events[1:] == [ToolCall("a", "read", GOOD), TurnCompleted("tool_calls", Usage())]


def test_a_turn_that_is_asked_again_goes_on_and_counts_both_answers() -> None:
    reader = tool_reader()
    first = follow(reader, message_start(output_tokens=1), text("No."), message_delta("end_turn", output_tokens=2))
    first += reader.result(**good_result("No.", output_tokens=2))
    assert first[-1] == TurnCompleted("stop", Usage(output_tokens=2))
    reader.ask_again()
    assert reader.state is State.BETWEEN
    again = [message_start(output_tokens=1), *use("a", "read", GOOD), message_delta("tool_use", output_tokens=5)]
    assert follow(reader, *again) == [
        ToolCall("a", "read", GOOD),
        TurnCompleted("tool_calls", Usage(output_tokens=7)),
    ]
    assert not reader.exact


def test_an_answer_that_does_not_have_its_form_is_asked_for_again() -> None:
    reader = TurnReader(LOGIN, output=lambda given: None if given == {"a": 1} else "a is not 1")
    given = use("o", "StructuredOutput", '{"a": 2}', index=1)
    first = [message_start(), text("So:"), *given, message_delta("tool_use"), STOP]
    effects = follow(reader, *first, {**good_result(), "structured": {"a": 2}})
    (asked,) = effects[1:]
    assert isinstance(asked, AskClaude)
    assert "a is not 1" in asked.text
    reader.ask_again()
    right = [message_start(), *use("p", "StructuredOutput", '{"a": 1}'), message_delta("tool_use"), STOP]
    effects = follow(reader, *right, {**good_result(), "structured": {"a": 1}})
    assert effects == [TextDelta('{"a": 1}'), TurnCompleted("stop", Usage())]


@pytest.mark.parametrize("way", ["new", "replayed", "continued", "parked"])
def test_start_names_the_route_of_the_turn(way: Route) -> None:
    assert follow(TurnReader(LOGIN, conversation=way), message_start("m")) == [TurnStarted("m", way)]


def test_a_message_of_claude_codes_own_makes_the_turn_inexact() -> None:
    reader = TurnReader(LOGIN)
    follow(reader, message_start(), text("Hel"))
    assert reader.exact
    reader.note_injected_message()
    assert not reader.exact


def test_what_agents_spend_is_counted_from_the_result() -> None:
    models = {
        "claude-opus-5-5": {"inputTokens": 7, "outputTokens": 5, "cacheReadInputTokens": 2, "thinkingTokens": 1},
        "claude-haiku-4-5": {"inputTokens": 100, "outputTokens": 50, "cacheCreationInputTokens": 3},
    }
    told = Usage(input_tokens=4, output_tokens=2)
    written = [message_start(input_tokens=3), text("Hi"), message_delta("end_turn", output_tokens=3), STOP]
    alone, with_agents = TurnReader(LOGIN, counted=told), TurnReader(LOGIN, counted=told)
    with_agents.note_subagent()
    end = {**good_result("Hi"), "models": models}
    assert follow(alone, *written, end)[-1] == TurnCompleted("stop", Usage(input_tokens=3, output_tokens=3))
    everything = Usage(
        input_tokens=103, cache_read_tokens=2, cache_write_tokens=3, output_tokens=53, reasoning_tokens=1
    )
    assert follow(with_agents, *written, end)[-1] == TurnCompleted("stop", everything)


def test_sub_agent_that_calls_a_client_tool_gets_an_error() -> None:
    reader = TurnReader(LOGIN, own_name=lambda name: name if name == "read" else None)
    assert reader.note_subagent([("a", "read"), ("b", "Grep")]) == [AnswerCall("a", NOT_FOR_AGENTS)]


def test_halves_of_a_surrogate_pair_in_two_deltas_are_one_character() -> None:
    high, low = "\ud83d", "\ude00"
    written = [message_start(), thinking("a" + high), thinking(low), stop(), text(high, 1), text(low + "b" + high, 1)]
    call = use("a", "now", '{"at":"' + high, low + '"}', index=2)
    reader = TurnReader(LOGIN, check=lambda _name, _arguments: None)
    events = follow(reader, *written, stop(1), *call, message_delta("tool_use"))
    assert events[1:-1] == [
        *(ReasoningDelta("a"), ReasoningDelta("\U0001f600"), ReasoningEnd()),
        *(TextDelta("\U0001f600b"), TextDelta("\ufffd")),
        ToolCall("a", "now", '{"at":"\U0001f600"}'),
    ]


stream_records = st.one_of(
    st.builds(text, said, st.integers(0, 2)),
    st.builds(thinking, said),
    st.builds(
        message_delta, st.sampled_from(["end_turn", "max_tokens", "refusal", None]), output_tokens=st.integers(0)
    ),
    st.sampled_from([message_start(), {"type": "ping"}, {"type": "new_in_2027"}, stop(), STOP]),
    st.builds(abandoned_from, st.integers(0, 3)),
    st.sampled_from([*use("a", "read", GOOD), *use("b", "write", "{", "}", index=1), message_delta("tool_use")]),
)
results = st.builds(good_result, said) | st.builds(bad_result, st.sampled_from([None, 400, 401, 429, 500, 529]), said)


@given(st.lists(stream_records, max_size=16), results, st.booleans())
def test_any_turn_ends_exactly_once_and_last(records: list[dict[str, Any]], end: dict[str, Any], live: bool) -> None:
    reader = tool_reader(live=live)
    effects: list[Effect] = []
    # Nothing that comes after the end has an effect.
    for record in [*records, end, *records, end]:
        effects += follow(reader, record)
    assert reader.ended
    ends = [effect for effect in effects if isinstance(effect, TurnCompleted | TurnFailed)]
    assert ends == effects[-1:]
    assert sum(isinstance(effect, TurnStarted) for effect in effects) <= 1
    calls = [effect for effect in effects if isinstance(effect, ToolCall)]
    assert all(fits(call.name, call.arguments) is None for call in calls)
    called = isinstance(ends[0], TurnCompleted) and ends[0].finish_reason == "tool_calls"
    assert (reader.state is State.PARKED) == called == bool(calls)
