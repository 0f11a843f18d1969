"""A collector of OpenTelemetry: takes the spans that are sent to it over OTLP/HTTP, and keeps them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Collector"]


@dataclass
class Collector:
    """See the module.

    Attributes:
        url: for OTEL_EXPORTER_OTLP_ENDPOINT.
        spans: name of the service and span, in order of arrival.
        paths: of all requests.
    """

    url: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def listening(cls) -> "Iterator[Collector]":
        """Listen on a free port of loopback, in threads, while the block runs."""
        collector = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._take(self.path, body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Print nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            collector.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield collector
            finally:
                server.shutdown()
                thread.join()

    def of(self, service: str) -> list[Span]:
        return [span for name, span in self.spans if name == service]

    def _take(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        if path != "/v1/traces":
            return
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {attribute.key: attribute.value.string_value for attribute in each.resource.attributes}
            self.spans += [(named["service.name"], span) for scope in each.scope_spans for span in scope.spans]
