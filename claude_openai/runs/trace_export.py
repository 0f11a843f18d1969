"""Where the spans go: to a collector, or to the program around the server.

The exporter is the extra `otel`, imported only here and only if asked for. Its thread sends the spans. The global
provider of OpenTelemetry is never set; if the program around the server has set it, that one gets the spans.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from claude_openai._version import __version__
from claude_openai.errors import ConfigError, StartError
from claude_openai.extras import install_command
from claude_openai.logs.log import Log
from claude_openai.shortages import described, shortage_hint
from claude_openai.threads import NoThreadError, run_in_thread

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from claude_openai.runs.tracing import Tracing

__all__ = ["open_tracing"]

CLOSE_S: Final = 3.0


@asynccontextmanager
async def open_tracing(log: Log) -> "AsyncIterator[Tracing]":
    """Yield what makes the spans; at the end of the block send the last ones, within `CLOSE_S`.

    Args:
        log: for spans that cannot be sent at the end.

    Raises:
        StartError: the extra is not installed, or the system lacks threads.
        ConfigError: a variable is invalid.
    """
    try:
        tracing, own = await run_in_thread(_opened)
    except ImportError as error:
        raise StartError(
            f"--otel needs the OpenTelemetry SDK and its exporter, which are not installed: {error}",
            hint=f"install them with: {install_command('otel')}",
        ) from error
    except ValueError as error:
        raise ConfigError(f"--otel: a variable of OpenTelemetry is invalid: {error}") from error
    except OSError as error:
        raise StartError(f"cannot start: {described(error)}", hint=shortage_hint(error)) from error
    try:
        yield tracing
    finally:
        if own is not None:
            await _close(own, log)


def _opened() -> "tuple[Tracing, TracerProvider | None]":
    """Return the tracing, and its provider if that has to be closed."""
    from opentelemetry import trace

    from claude_openai.runs.tracing import Tracing

    host = trace.get_tracer_provider()
    if not isinstance(host, trace.ProxyTracerProvider):
        return Tracing(host), None
    own = _provider()
    return Tracing(own), own


def _provider() -> "TracerProvider":
    _check_variables()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource.create({"service.name": "claude-openai", "service.version": __version__})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _check_variables() -> None:
    """Check the variables that the SDK's own set-up would read.

    Raises:
        ConfigError: one names another exporter than that of the extra.
    """
    protocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    if not os.environ.get(protocol):
        protocol = "OTEL_EXPORTER_OTLP_PROTOCOL"
    for name, expected in (("OTEL_TRACES_EXPORTER", "otlp"), (protocol, "http/protobuf")):
        value = os.environ.get(name) or expected
        if value != expected:
            raise ConfigError(
                f"{name}: invalid value {value!r}; with --otel expected {expected!r}",
                hint=f"set {name}={expected}; collectors take it on port 4318",
            )


async def _close(provider: "TracerProvider", log: Log) -> None:
    reason = f"the collector did not take them within {CLOSE_S:g} s"
    with trio.move_on_after(CLOSE_S, shield=True):
        try:
            await run_in_thread(provider.shutdown, abandon_on_cancel=True)
        except NoThreadError as error:
            reason = described(error)
        else:
            return
    log.warning("otel.not_sent", reason=reason)
