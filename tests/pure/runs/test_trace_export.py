"""Where spans are sent, by the variables and the program around the server, and how long the end takes."""

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from claude_openai.errors import ConfigError, StartError
from claude_openai.logs.log import Level, Log
from claude_openai.logs.redaction import Redactor
from claude_openai.runs import trace_export
from claude_openai.runs.trace_export import open_tracing


@pytest.fixture
def records() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def log(records: list[dict[str, Any]]) -> Log:
    return Log(Level.TRACE, lambda line: records.append(json.loads(line)), Redactor())


@pytest.fixture(autouse=True)
def _without_global_provider() -> Iterator[None]:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    yield
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@pytest.mark.parametrize("module", ["opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter"])
async def test_missing_extra_is_an_error_that_names_the_command(
    module: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StartError, match="which are not installed: ") as raised:
        async with open_tracing(log):
            pass
    assert raised.value.hint.endswith("'claude-openai[otel]'")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER: invalid value 'zipkin'; with --otel expected 'otlp'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: invalid value 'grpc'; with --otel expected 'http/protobuf'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: invalid value 'http/json'; with --otel expected 'http/protobuf'",
        ),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "--otel: a variable of OpenTelemetry is invalid: "),
    ],
)
async def test_exporter_that_the_extra_does_not_have_is_refused(
    variables: dict[str, str], message: str, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as raised:
        async with open_tracing(log):
            pass
    assert message in str(raised.value)


async def test_protocol_for_traces_counts_before_the_general_one(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    async with open_tracing(log):
        pass


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "claude-openai"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other,a=b"}, "other"),
    ],
)
def test_name_of_the_service_is_that_of_the_variables(
    variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    provider = trace_export._provider()
    provider.shutdown()
    assert provider.resource.attributes["service.name"] == name


async def test_provider_of_the_program_around_the_server_gets_the_spans_and_stays_open(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Host(TracerProvider):
        asked_for = ""

        def get_tracer(self, instrumenting_module_name: str, *args: Any, **more: Any) -> trace.Tracer:
            self.asked_for = instrumenting_module_name
            return super().get_tracer(instrumenting_module_name, *args, **more)

        def shutdown(self) -> None:
            raise AssertionError("the provider is not the server's")

    host = Host(shutdown_on_exit=False)
    with monkeypatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: host)
        async with open_tracing(log):
            pass
    assert host.asked_for == "claude_openai"


async def test_end_does_not_wait_for_a_collector_that_hangs(
    log: Log, records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    class Hanging:
        def shutdown(self) -> None:
            over.wait()

    monkeypatch.setattr(trace_export, "CLOSE_S", 0.01)
    monkeypatch.setattr(trace_export, "_provider", lambda: cast("TracerProvider", Hanging()))
    monkeypatch.setattr("claude_openai.runs.tracing.Tracing", lambda _provider: None)
    try:
        async with open_tracing(log):
            pass
    finally:
        over.set()
    assert [(each["level"], each["event"]) for each in records] == [("warning", "otel.not_sent")]
    assert records[0]["reason"] == "the collector did not take them within 0.01 s"
