"""The recorded answer of a turn's events, and the script that plays it."""

from typing import Any

import pytest

from claude_openai.cassettes.answers import answer_of_events, cleaned
from claude_openai.cassettes.entry import Answer, Call, Cancelled, Completed, Entry, Failed, Passage
from claude_openai.cassettes.ids import IdNames
from claude_openai.cassettes.masking import make_mask
from claude_openai.cassettes.playing import script_of
from claude_openai.errors import (
    ApiError,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    TurnTimeout,
    UpstreamAuth,
    UpstreamError,
)
from claude_openai.logs.redaction import MASK
from claude_openai.protocol.claude_code.failures import Failure, upstream_error
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
from claude_openai.standin.script import Answer as ScriptAnswer
from claude_openai.standin.script import Hang, HttpError, Pause, Reply, Text, Thinking, ToolUse, UpstreamErrorEvent
from claude_openai.standin.script import Usage as ScriptUsage
from tests.pure.cassettes.turns_of_cassettes import RESPONSES, chat, request_of

USAGE = Usage(1, 2, 3, 4, 5)
EVENTS: list[tuple[int, Event]] = [
    (100, TurnStarted("claude-sonnet-4-5")),
    (120, ReasoningDelta("Hm")),
    (130, ReasoningDelta("m")),
    (150, TextDelta("Hel")),
    (900, TextDelta("lo")),
    (950, ToolCall("toolu_01", "get", '{"q": 1}')),
    (950, ToolCall("toolu_02", "get", '{"q": 2}')),
    (1000, TurnCompleted("tool_calls", USAGE)),
]
DONE = Completed("tool_calls", USAGE)


def played(answer: Answer, **fields: Any) -> ScriptAnswer:
    return script_of(Entry(chat("Hi", **fields), answer))


def failed(error: ApiError, *content: Passage) -> Answer:
    return Answer(content, Failed.of(error))


def test_answer_without_times_joins_deltas() -> None:
    assert answer_of_events(EVENTS, 1000, keep_times=False) == Answer(
        (
            Passage("thinking", "Hmm"),
            Passage("text", "Hello"),
            Call("toolu_01", "get", {"q": 1}),
            Call("toolu_02", "get", {"q": 2}),
        ),
        DONE,
        "claude-sonnet-4-5",
    )


def test_answer_with_times_keeps_the_deltas() -> None:
    answer = answer_of_events(EVENTS, 1000, keep_times=True)
    assert answer.content[:3] == (
        Passage("thinking", "Hmm", ((120, 2), (130, 1))),
        Passage("text", "Hello", ((150, 3), (900, 2))),
        Call("toolu_01", "get", {"q": 1}, 950),
    )
    assert answer.ms == 1000


def test_answer_without_an_end_is_cancelled() -> None:
    assert answer_of_events(EVENTS[:4], 200, keep_times=False).end == Cancelled()
    assert answer_of_events([], 0, keep_times=False) == Answer((), Cancelled())


def test_answer_that_failed_keeps_what_came_before() -> None:
    error = RateLimited("Wait", hint="A while.", retry_after_s=7, may_retry=False)
    answer = answer_of_events([*EVENTS[:4], (200, TurnFailed(error))], 200, keep_times=False)
    assert answer.content == (Passage("thinking", "Hmm"), Passage("text", "Hel"))
    expected = Failed(429, "rate_limit_error", "rate_limit_exceeded", "Wait. A while.", None, 7, may_retry=False)
    assert answer.end == expected


def test_cleaned_answer_has_no_secrets_and_named_ids() -> None:
    answer = Answer(
        (
            Passage("text", "it is sk-ant-abcdef123456 now", ((10, 6), (20, 19), (30, 4))),
            Call("toolu_01", "login", {"password": "abc", "n": 1, "to": "sk-ant-abcdef123456"}),
        ),
        Failed(502, "upstream_error", None, "Bearer abcdef refused"),
    )
    result = cleaned(answer, make_mask(), IdNames())
    text = f"it is {MASK} now"
    assert result.content == (
        Passage("text", text, ((10, 6), (20, len(text) - 6), (30, 0))),
        Call("toolu_1", "login", {"password": MASK, "n": 1, "to": MASK}),
    )
    assert isinstance(result.end, Failed)
    assert "abcdef" not in result.end.message


def test_deltas_of_a_shorter_or_longer_text_cover_it() -> None:
    mask = make_mask()
    for text, sizes in (("token=x", (7,)), ("token=abcdefghijklmnopqrstuvw", (20, 9))):
        passage = Passage("text", text, tuple((1, size) for size in sizes))
        (block,) = cleaned(Answer((passage,), Cancelled()), mask, IdNames()).content
        assert isinstance(block, Passage)
        assert sum(size for _, size in block.deltas) == len(block.text)
        assert block.text == f"token={MASK}"


def test_script_of_an_answer_without_times_has_one_delta_a_block() -> None:
    answer = answer_of_events(EVENTS, 1000, keep_times=False)
    assert played(answer) == Reply(
        Thinking("Hmm"),
        Text("Hello"),
        ToolUse(id="toolu_01", name="get", input={"q": 1}),
        ToolUse(id="toolu_02", name="get", input={"q": 2}),
        stop_reason="tool_use",
        usage=ScriptUsage(1, 4, 2, 3, 5),
    )


def test_script_of_an_answer_with_times_pauses() -> None:
    answer = answer_of_events(EVENTS, 1000, keep_times=True)
    assert played(answer) == Reply(
        Thinking(Pause(0.12), "Hm", Pause(0.01), "m"),
        Text(Pause(0.02), "Hel", Pause(0.75), "lo"),
        Pause(0.05),
        ToolUse(id="toolu_01", name="get", input={"q": 1}),
        ToolUse(id="toolu_02", name="get", input={"q": 2}),
        Pause(0.05),
        stop_reason="tool_use",
        usage=ScriptUsage(1, 4, 2, 3, 5),
    )


def test_script_of_a_cancelled_answer_hangs_after_what_came() -> None:
    assert played(Answer((Passage("text", "Hel"),), Cancelled())) == Reply(Text("Hel"), Hang())


def test_script_of_a_timeout_hangs() -> None:
    assert played(failed(TurnTimeout("too long", code="turn_timeout"))) == Reply(Hang())


def test_script_of_an_answer_that_broke_off_has_an_error_event() -> None:
    answer = failed(UpstreamError("It broke off."), Passage("text", "Hel"))
    assert played(answer) == Reply(Text("Hel"), UpstreamErrorEvent("api_error", "It broke off."))


@pytest.mark.parametrize(
    "error",
    [
        ContextTooLong("prompt is too long: 1 > 0", param="messages"),
        UpstreamAuth("not logged in"),
        ModelNotFound("no such model", param="model"),
        RateLimited("wait", retry_after_s=7),
        QuotaExhausted("no more", retry_after_s=60),
        Overloaded("busy", retry_after_s=5),
        UpstreamError("failed"),
    ],
)
def test_script_of_an_error_causes_the_same_error_again(error: ApiError) -> None:
    answer = played(failed(error))
    assert isinstance(answer, HttpError)
    wait = answer.headers.get("retry-after")
    kind = {429: "rate_limit", 401: "authentication_failed", 404: "model_not_found"}.get(answer.status, "")
    failure = Failure(kind, answer.status, answer.message, retry_after_s=None if wait is None else int(wait))
    again = upstream_error(failure, login="claude login")
    assert (type(again), again.code, again.status) == (type(error), error.code, error.status)
    assert error.message in again.message
    assert answer.headers["x-should-retry"] == "false"
    if isinstance(error, RateLimited):
        assert again.retry_after_s == 7


JSON_ANSWER = Answer((Passage("thinking", "Hm"), Passage("text", '{"a": 1}')), Completed("stop", USAGE))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/chat/completions", {"response_format": {"type": "json_object"}}),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}}),
    ],
)
def test_script_of_structured_output_uses_the_step_of_the_caller(path: str, field: dict[str, Any]) -> None:
    def structured(value: Any) -> ToolUse:
        return ToolUse(id="o", name="StructuredOutput", input=value)

    entry = Entry(request_of(field, path), JSON_ANSWER)
    reply = script_of(entry, structured)
    assert isinstance(reply, Reply)
    assert reply.steps == (Thinking("Hm"), structured({"a": 1}))
    assert script_of(Entry(chat("Hi"), JSON_ANSWER), structured) == script_of(entry)
