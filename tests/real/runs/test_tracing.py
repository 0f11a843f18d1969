"""Spans arrive at a collector: those of the server, and those of Claude Code if its variables are passed on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from claude_openai.testing import RecordedRequest, Reply, ToolUse
from tests.real.call import Call, chat
from tests.real.collector import Collector
from tests.real.harness import Served, needs_claude, serving, until
from tests.real.own_tools import is_judge
from tests.real.tool_turns import READ, results

pytestmark = needs_claude

TRACE = "0af7651916cd43dd8448eb211c80319"
PARENT = "b7ad6b7169203331"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# All that Claude Code needs for its own traces, metrics and logs.
VARIABLES = {
    "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
    "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_TRACES_EXPORT_INTERVAL": "100",
}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the server's environment names."""
    with Collector.listening() as collector:
        for name, value in {**VARIABLES, ENDPOINT: collector.url}.items():
            monkeypatch.setenv(name, value)
        yield collector


async def ask(served: Served, number: int, **body: Any) -> dict[str, Any]:
    """Ask within a trace whose id ends with the number."""
    async with Call.open(served.url, body, traceparent=f"00-{TRACE}{number}-{PARENT}-01") as call:
        status, answer = await call.answer()
        assert status == 200, answer
        return answer


# A turn with Claude's own tools gets most variables of the server, because a build may need them.
OWN_TOOLS = pytest.param({"claude": {"toolMode": "readonly"}}, marks=pytest.mark.long)


@pytest.mark.parametrize("more", [{}, OWN_TOOLS], ids=["no tools of its own", "tools of its own"])
async def test_span_arrives_at_the_collector_and_claude_code_sends_nothing(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(tmp_path, otel=True) as served:
        await ask(served, 1, **chat("Hi", **more))
    assert set(collector.paths) == {"/v1/traces"}
    ((service, span),) = collector.spans
    assert (service, span.name) == ("claude-openai", "chat claude-sonnet")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (f"{TRACE}1", PARENT)
    assert [event.name for event in span.events] == ["claude_openai.slot", "claude_openai.first_token"]


@pytest.mark.long
@pytest.mark.parametrize(
    "kept",
    [{}, {"spares": 1}, {"max_idle_sessions": 1}, {"backend": "cli"}],
    ids=["started", "spare", "kept process", "CLI backend"],
)
async def test_claude_codes_own_spans_are_below_those_of_their_runs(
    tmp_path: Path, collector: Collector, kept: dict[str, Any]
) -> None:
    async with serving(tmp_path, otel=True, pass_env=(*VARIABLES, ENDPOINT), **kept) as served:
        if "spares" in kept:
            await until(lambda: bool(served.processes.of_turns(served.api)), "a spare runs")
        answer = await ask(served, 1, **chat("Hi"))
        more = [*chat("Hi")["messages"], answer["choices"][0]["message"], {"role": "user", "content": "More"}]
        await ask(served, 2, **chat(more))
        await until(lambda: len(claude_codes_turns(collector)) == 2, "Claude Code has sent its spans")
    own = {span.trace_id.hex(): span.span_id.hex() for span in collector.of("claude-openai")}
    assert claude_codes_turns(collector) == own
    assert own.keys() == {f"{TRACE}1", f"{TRACE}2"}


def claude_codes_turns(collector: Collector) -> dict[str, str]:
    """The trace and the parent of each turn of Claude Code; the turn that learns its notes has no parent."""
    found = [span for span in collector.of("claude-code") if span.name == "claude_code.interaction"]
    return {span.trace_id.hex(): span.parent_span_id.hex() for span in found if span.parent_span_id}


def echoes(request: RecordedRequest) -> Reply:
    if is_judge(request):
        return Reply("<block>no</block>")
    if "tool_result" in str(request.messages[-1]):
        return Reply("Done.")
    return Reply(ToolUse("Bash", {"command": "echo =$TRACEPARENT="}, f"toolu_{len(request.messages)}"))


@pytest.mark.long
async def test_commands_of_claudes_bash_get_the_traceparent_of_their_run(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    claude = {"toolMode": "all", "permissionMode": "auto"}
    async with serving(tmp_path, echoes, otel=True, confine="off", max_idle_sessions=1) as served:
        answer = await ask(served, 1, **chat("Hi", claude=claude))
        more = [*chat("Hi")["messages"], answer["choices"][0]["message"], {"role": "user", "content": "More"}]
        await ask(served, 2, **chat(more, claude=claude))
        echoed = re.findall(r"=(00-[0-9a-f-]+)=", str(served.api.requests[-1].messages))
    assert echoed == [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for _, span in collector.spans]
    assert len(echoed) == 2


def calls_once(request: RecordedRequest) -> Reply:
    if "tool_result" in str(request.messages):
        return Reply("Done.")
    return Reply(ToolUse("mcp__openai__read", {"path": "/a"}, "toolu_1"))


@pytest.mark.long
async def test_results_of_a_parked_conversation_continue_it_within_another_trace(
    tmp_path: Path, collector: Collector
) -> None:
    async with serving(tmp_path, calls_once, otel=True, max_idle_sessions=1) as served:
        asked = [{"role": "user", "content": "Read it."}]
        answer = await ask(served, 1, **chat(asked, tools=[READ]))
        await ask(served, 2, **chat([*asked, *results(answer, "seen")], tools=[READ]))
    attributes = [attribute for _, span in collector.spans for attribute in span.attributes]
    routes = [each.value.string_value for each in attributes if each.key == "claude_openai.route"]
    assert routes == ["new", "parked"]
