"""OpenTelemetry: a span for each run, by the GenAI conventions, without prompts and answers.

A span continues the trace of the request's `traceparent`, and Claude Code gets the span as its own parent. Nothing is
done for a delta. Imported only with `--otel`, by `trace_export`.
"""

import time
from collections.abc import Mapping
from typing import Final

import trio
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from claude_openai._version import __version__
from claude_openai.errors import ApiError
from claude_openai.protocol.turn.events import ReasoningDelta, ToolCall, TurnCompleted, TurnStarted
from claude_openai.protocol.turn.request import TurnRequest
from claude_openai.runs.capture.records import RunRecord

__all__ = ["RunTrace", "Tracing"]

_NS: Final = 1_000_000_000
_propagator: Final = TraceContextTextMapPropagator()


class RunTrace:
    """The span of one run, or of a request that got none.

    Args:
        span: the span.
        began_ns: Unix time of the request.
        arrived: the same on trio's clock.
        response_id: the id of the answer.

    Attributes:
        context: its `traceparent` and `tracestate`.
    """

    def __init__(self, span: trace.Span, began_ns: int, arrived: float, response_id: str) -> None:
        self._span = span
        self._began_ns = began_ns
        self._arrived = arrived
        self._response_id = response_id
        self._ended_ns: int | None = None
        self.context: dict[str, str] = {}
        _propagator.inject(self.context, trace.set_span_in_context(span))

    def note_slot(self) -> None:
        """Note that the run has its slot."""
        self._span.add_event("claude_openai.slot", timestamp=self._now_ns())

    def note_end(self) -> None:
        """Note the end of the run; its process may end later."""
        self._ended_ns = self._now_ns()

    def note(self, event: TurnStarted | ToolCall | ReasoningDelta | TurnCompleted) -> None:
        """Note an event of the turn that is not a delta."""
        match event:
            case TurnStarted():
                self._set("gen_ai.response.model", event.model)
                self._set("gen_ai.response.id", self._response_id)
            case ToolCall():
                self._call(event.name, {"gen_ai.tool.call.id": event.id})
            case ReasoningDelta():
                self._call(event.tool, {})
            case TurnCompleted():
                self._complete(event)

    def end(self, run: RunRecord | None, first_token_s: float | None, error: ApiError | None, status: int) -> None:
        """End the span.

        Args:
            run: the run; None if the request was refused.
            first_token_s: seconds from the request to the first token; None if there was none.
            error: what the client got in place of an answer, or at its end.
            status: of the response; 0 if there was none.
        """
        if run is not None:
            self._set("claude_openai.run.id", run.id)
            if run.conversation is not None:
                self._set("claude_openai.route", run.conversation)
        if first_token_s is not None:
            self._set("gen_ai.response.time_to_first_chunk", first_token_s)
            self._span.add_event("claude_openai.first_token", timestamp=self._began_ns + round(first_token_s * _NS))
        if status:
            self._set("http.response.status_code", status)
        if error is not None or run is None or run.status != "completed":
            # The message may quote the request.
            self._set("error.type", "client_left" if error is None else error.code or error.type)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end(self._ended_ns or self._now_ns())

    def _call(self, name: str, more: dict[str, str]) -> None:
        self._span.add_event("claude_openai.tool_call", {"gen_ai.tool.name": name, **more}, self._now_ns())

    def _complete(self, event: TurnCompleted) -> None:
        usage = event.usage
        self._span.set_attributes(
            {
                "gen_ai.response.finish_reasons": [event.finish_reason],
                "gen_ai.usage.input_tokens": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
                "gen_ai.usage.output_tokens": usage.output_tokens,
                "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
                "gen_ai.usage.cache_write.input_tokens": usage.cache_write_tokens,
                "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
            }
        )
        if event.cost_usd is not None:
            self._set("claude_openai.cost_usd", event.cost_usd)

    def _set(self, name: str, value: str | float) -> None:
        self._span.set_attribute(name, value)

    def _now_ns(self) -> int:
        return self._began_ns + round((trio.current_time() - self._arrived) * _NS)


class Tracing:
    """Begins the spans.

    Args:
        provider: makes them.
    """

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("claude_openai", __version__)

    def begin(
        self, request: TurnRequest, parent: Mapping[str, str], *, route: str, response_id: str, arrived: float
    ) -> RunTrace:
        """Begin the span of a request.

        Args:
            request: the request.
            parent: its `traceparent` and `tracestate`; ignored if invalid.
            route: the template of its path.
            response_id: the id of its answer.
            arrived: its arrival, on trio's clock.
        """
        attributes: dict[str, str | bool | int] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.request.model": request.model,
            "gen_ai.request.stream": request.stream,
            "http.request.method": "POST",
            "http.route": route,
        }
        if request.max_tokens is not None:
            attributes["gen_ai.request.max_tokens"] = request.max_tokens
        if request.reasoning_effort is not None:
            attributes["gen_ai.request.reasoning.level"] = request.reasoning_effort
        began_ns = time.time_ns() - round((trio.current_time() - arrived) * _NS)
        span = self._tracer.start_span(
            f"chat {request.model}",
            _propagator.extract(parent),
            trace.SpanKind.SERVER,
            attributes,
            start_time=began_ns,
        )
        return RunTrace(span, began_ns, arrived, response_id)
