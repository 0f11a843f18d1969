"""The metrics of a server in Prometheus' formats.

Imported after the server listens, because importing the library would delay the start. The registry is not the
library's global one. The values are counted in `runs.metrics`.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from claude_openai._version import __version__
from claude_openai.errors import BadRequest
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.runs.metrics import BUCKETS_S, Histogram, Labels
from claude_openai.runs.registry import Runs

__all__ = ["exposition"]

PREFIX: Final = "claude_openai_"
BOUNDS: Final = (*map(str, BUCKETS_S), "+Inf")


def exposition(runs: Runs, accept: str) -> tuple[bytes, str]:
    """Return the metrics of a server.

    Args:
        runs: the runs of the server.
        accept: the client's Accept header, which selects Prometheus' text format or OpenMetrics.

    Returns:
        The body and its content type.

    Raises:
        BadRequest: the header is invalid.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector(runs))
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the `version` parameter is not a version
        raise BadRequest(f"Invalid Accept header: {shorten(accept)}.", code="invalid_header") from None
    return encode(registry), content_type


class ServerCollector(Collector):
    """Reads the metrics of a server at the time of the scrape."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        metrics = self._runs.metrics
        yield _histogram(
            "http_request_duration_seconds",
            "Time from the arrival of a request to the last byte of its response.",
            ("route",),
            metrics.http_seconds,
        )
        yield _histogram(
            "time_to_first_token_seconds",
            "Time from the arrival of a request to its first text, reasoning or tool call.",
            ("conversation", "backend"),
            metrics.first_token_seconds,
        )
        yield _histogram(
            "turn_duration_seconds",
            "Time from the arrival of a request to the end of its turn.",
            ("backend", "outcome"),
            metrics.turn_seconds,
        )

    def _gauges(self) -> Iterator[Metric]:
        runs, backend = self._runs, self._runs.backend
        info = GaugeMetricFamily(f"{PREFIX}build_info", "Always 1.", labels=("version", "backend"))
        info.add_metric((__version__, backend.name), 1)
        yield info
        yield _gauge("http_requests_in_flight", "Requests in progress, this one included.", runs.metrics.in_flight)
        yield _gauge("turns_running", "Turns that have a slot.", runs.admission.running)
        yield _gauge("turns_queued", "Turns that wait for a slot.", runs.admission.queued)
        counts = backend.counts()
        yield _gauge("processes", "Live processes of Claude Code.", counts.get("processes", 0))
        yield _gauge("spares", "Live processes that were started ahead of need.", counts.get("spares", 0))
        kept = GaugeMetricFamily(
            f"{PREFIX}conversations_kept",
            "Conversations that are kept open: idle, or parked until the results of tool calls arrive.",
            labels=("state",),
        )
        for state in ("idle", "parked"):
            kept.add_metric((state,), counts.get(state, 0))
        yield kept
        yield from self._windows()

    def _windows(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            f"{PREFIX}limit_utilization", "Used share of a window of the plan, as last reported.", labels=("window",)
        )
        resets = GaugeMetricFamily(
            f"{PREFIX}limit_resets_at", "Unix time at which a window of the plan resets.", labels=("window",)
        )
        for name, window in self._runs.ledger.current_windows():
            if window.utilization is not None:
                used.add_metric((name,), window.utilization)
            if window.resets_at is not None:
                resets.add_metric((name,), window.resets_at)
        yield used
        yield resets

    def _counters(self) -> Iterator[Metric]:
        metrics, rejected = self._runs.metrics, self._runs.admission.rejected
        yield _counter(
            "http_requests",
            "Completed requests; status 499: the client disconnected.",
            ("route", "status"),
            metrics.http_requests,
        )
        yield _counter("requests_rejected", "Rejected requests.", ("reason",), {(k,): n for k, n in rejected.items()})
        yield _counter("conversations", "Started turns, by route.", ("conversation",), metrics.conversations)
        yield _counter("turn_failures", "Failed turns, by error code.", ("code",), metrics.failures)
        yield _counter("cancellations", "Cancelled turns, by reason.", ("reason",), metrics.cancellations)
        yield _counter("tokens", "Tokens of completed turns; the kinds do not overlap.", ("kind",), metrics.tokens)
        yield _counter(
            "model_tokens",
            "Tokens as reported by Claude Code with the results of turns, those of sub-agents included.",
            ("model", "kind"),
            metrics.model_tokens,
        )
        yield _counter("cost_usd", "Dollars as reported by Claude Code.", ("model",), metrics.cost_usd)
        yield _counter("key_runs", "Ended runs of named keys.", ("key", "status"), metrics.key_runs)
        yield _counter("key_cost_usd", "Dollars of named keys, as reported.", ("key",), metrics.key_cost_usd)
        yield _gauge(
            "estimated_cost_usd",
            "Dollars of turns for which Claude Code has reported none, yet or at all, estimated.",
            metrics.estimated_usd,
        )
        yield _counter(
            "reasoning_tokens", "Output tokens that were used for thinking.", (), {(): metrics.reasoning_tokens}
        )


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help_text, value=value)


def _counter(name: str, help_text: str, labels: Labels, counts: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, count in sorted(counts.items()):
        family.add_metric(values, count)
    return family


def _histogram(name: str, help_text: str, labels: Labels, histograms: Mapping[Labels, Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, help_text, labels=labels)
    for values, histogram in sorted(histograms.items()):
        family.add_metric(values, buckets=_buckets(histogram.counts), sum_value=histogram.total_s)
    return family


def _buckets(counts: Iterable[int]) -> list[tuple[str, float]]:
    return list(zip(BOUNDS, accumulate(counts), strict=True))
