"""The span of a run: its parent, its times, what is in it for each way a run can end, and what is not."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from trio.testing import wait_all_tasks_blocked

from claude_openai.errors import RateLimited, RunCancelled
from claude_openai.protocol.turn.events import ReasoningDelta, TextDelta, ToolCall, TurnFailed, TurnStarted, Usage
from claude_openai.runs.tracing import Tracing
from claude_openai.testing import Hang, Pause
from tests.memory.harness import chat, serving
from tests.scripted_backend import MODEL, ScriptedBackend, full_turn

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SECRET = "xyzzy"
GET = {"type": "function", "function": {"name": "get", "parameters": {"type": "object"}}}


@dataclass
class Spans:
    """Spans in memory."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    @property
    def tracing(self) -> Tracing:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        return Tracing(provider)

    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def only(self) -> ReadableSpan:
        (span,) = self.all()
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> dict[str, float]:
    """When the events were, and the end, after the begin."""
    assert span.start_time is not None
    assert span.end_time is not None
    times = {event.name: event.timestamp for event in span.events} | {"end": span.end_time}
    return {name: (at - span.start_time) / 1e9 for name, at in times.items()}


def failure(span: ReadableSpan) -> tuple[Any, StatusCode]:
    assert span.status.description is None
    return attributes(span).get("error.type"), span.status.status_code


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/responses"])
async def test_run_has_one_span_with_the_attributes_of_the_conventions(spans: Spans, stream: bool, target: str) -> None:
    used = Usage(input_tokens=1, cache_read_tokens=20, cache_write_tokens=300, output_tokens=5, reasoning_tokens=2)
    body = {"input": "Hi", "max_output_tokens": 99} if target == "/v1/responses" else chat(max_tokens=99)
    async with serving(full_turn("ok", usage=used), tracing=spans.tracing) as server:
        answer = await server.post(
            {**body, "model": "claude-sonnet", "reasoning_effort": "low", "stream": stream}, target
        )
        (run,) = server.runs.all()
    span = spans.only()
    assert (span.name, span.kind, span.parent) == ("chat claude-sonnet", SpanKind.SERVER, None)
    assert failure(span) == (None, StatusCode.UNSET)
    found = attributes(span)
    assert found.pop("gen_ai.response.id") in answer.body.decode()
    reasoning = found.pop("gen_ai.request.reasoning.level", None)
    assert reasoning == (None if target == "/v1/responses" else "low")
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet",
        "gen_ai.request.stream": stream,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0,
        "gen_ai.usage.input_tokens": 321,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_write.input_tokens": 300,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": target,
        "claude_openai.run.id": run.id,
        "claude_openai.route": "new",
    }


async def test_times_of_queue_first_token_calls_and_end_are_those_of_the_run(spans: Spans) -> None:
    call = ToolCall("toolu_1", "get", "{}")
    turn = full_turn(Pause(2), "a", Pause(3), call, Pause(1), finish_reason="tool_calls")
    async with serving(turn, tracing=spans.tracing, max_concurrency=1) as server, trio.open_nursery() as nursery:
        nursery.start_soon(server.post, chat(tools=[GET]))
        await wait_all_tasks_blocked()
        nursery.start_soon(server.post, chat(tools=[GET]))
    first, second = spans.all()
    named = ("claude_openai.slot", "claude_openai.first_token", "claude_openai.tool_call", "end")
    assert seconds(first) == dict(zip(named, (0, 2, 5, 6), strict=True))
    assert seconds(second) == dict(zip(named, (6, 8, 11, 12), strict=True))
    (event,) = [event for event in first.events if event.name == "claude_openai.tool_call"]
    assert dict(event.attributes or {}) == {"gen_ai.tool.name": "get", "gen_ai.tool.call.id": "toolu_1"}
    assert attributes(second)["gen_ai.response.time_to_first_chunk"] == 8


async def test_use_of_a_tool_of_claude_is_an_event_with_its_name_only(spans: Spans) -> None:
    async with serving(full_turn(ReasoningDelta(f"Bash: {SECRET}\n", "Bash"), "ok"), tracing=spans.tracing) as server:
        await server.post(chat())
    (event,) = [event for event in spans.only().events if event.name == "claude_openai.tool_call"]
    assert dict(event.attributes or {}) == {"gen_ai.tool.name": "Bash"}


async def test_refused_request_has_a_span_without_a_run(spans: Spans) -> None:
    async with serving(full_turn(Pause(9)), tracing=spans.tracing, max_concurrency=1, max_queue_size=0) as server:
        await server.streaming()
        assert (await server.post(chat())).status == 429
        await wait_all_tasks_blocked()
        refused = spans.only()
    assert failure(refused) == ("queue_full", StatusCode.ERROR)
    assert attributes(refused)["http.response.status_code"] == 429
    assert not attributes(refused).keys() & {"claude_openai.run.id", "gen_ai.response.id"}


@pytest.mark.parametrize("begun", [(), (TurnStarted(MODEL), TextDelta("a"))], ids=["at once", "within the answer"])
@pytest.mark.parametrize("stream", [False, True])
async def test_failed_run_has_the_code_of_its_error(spans: Spans, stream: bool, begun: tuple[Any, ...]) -> None:
    failed = TurnFailed(RateLimited(f"no {SECRET}"))
    async with serving((*begun, failed), tracing=spans.tracing) as server:
        answer = await server.post(chat(stream=stream))
    assert failure(spans.only()) == ("rate_limit_exceeded", StatusCode.ERROR)
    assert attributes(spans.only())["http.response.status_code"] == answer.status


async def test_run_whose_client_leaves_is_cancelled(spans: Spans) -> None:
    backend = ScriptedBackend((TurnStarted(MODEL), TextDelta("a"), Pause(2), Hang()), cleanup_s=3)
    async with serving(backend, tracing=spans.tracing) as server:
        client = await server.streaming()
        await trio.sleep(1)
        client.leave()
    assert failure(spans.only()) == ("client_left", StatusCode.ERROR)
    assert "gen_ai.response.finish_reasons" not in attributes(spans.only())


async def test_run_that_an_operator_cancels_has_that_code(spans: Spans) -> None:
    async with serving((TurnStarted(MODEL), Hang()), tracing=spans.tracing) as server:
        client = await server.streaming()
        (run,) = server.runs.all()
        await server.runs.cancel(run, RunCancelled("cancelled"))
        await client.body()
    assert failure(spans.only()) == ("run_cancelled", StatusCode.ERROR)


async def test_span_continues_the_trace_of_the_request_and_is_the_parent_of_claude_codes(spans: Spans) -> None:
    async with serving(tracing=spans.tracing) as server:
        await server.post(chat(), traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
        (turn,) = server.backend.turns
    span = spans.only()
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    own = f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert turn.request.trace_context == {"traceparent": own, "tracestate": "vendor=1"}


async def test_trace_that_is_not_sampled_goes_on_without_a_span(spans: Spans) -> None:
    async with serving(tracing=spans.tracing) as server:
        assert (await server.post(chat(), traceparent=f"00-{TRACE}-{PARENT}-00")).status == 200
        (turn,) = server.backend.turns
    assert spans.all() == ()
    parent = turn.request.trace_context["traceparent"]
    assert (parent[:36], parent[-3:]) == (f"00-{TRACE}-", "-00")


INVALID = ["", "x", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01" * 90, "é"]


@pytest.mark.parametrize("parent", INVALID)
async def test_invalid_traceparent_is_ignored(spans: Spans, parent: str) -> None:
    async with serving(tracing=spans.tracing) as server:
        assert (await server.post(chat(), traceparent=parent, tracestate="===")).status == 200
    assert spans.only().parent is None


async def test_no_content_is_in_a_span(spans: Spans) -> None:
    tool = {"type": "function", "function": {"name": "get", "description": SECRET, "parameters": {"type": "object"}}}
    messages = [{"role": "system", "content": SECRET}, {"role": "user", "content": SECRET}]
    more = {"tools": [tool], "user": SECRET, "metadata": {"a": SECRET}, "prompt_cache_key": SECRET, "stop": [SECRET]}
    call = ToolCall("toolu_1", "get", f'{{"a": "{SECRET}"}}')
    said = full_turn(ReasoningDelta(SECRET), "no secret", call, finish_reason="tool_calls")
    for script in (said, (TurnStarted(MODEL), TurnFailed(RateLimited(SECRET, hint=SECRET)))):
        async with serving(script, tracing=spans.tracing) as server:
            await server.post({**chat(), "messages": messages, **more})
    assert [span.name for span in spans.all()] == ["chat claude-sonnet"] * 2
    assert SECRET not in "".join(span.to_json() for span in spans.all())


async def test_without_tracing_a_turn_has_no_trace_context() -> None:
    async with serving() as server:
        await server.post(chat(), traceparent=f"00-{TRACE}-{PARENT}-01")
        (turn,) = server.backend.turns
    assert turn.request.trace_context == {}
