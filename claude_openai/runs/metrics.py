"""The counters of one server.

Plain numbers, which `web/prometheus.py` formats. Values that can be read elsewhere at any time, such as the length of
the queue, are not counted here. Labels are bounded: no name from a client becomes one; the names
of keys are the operator's.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import trio

from claude_openai.errors import ApiError
from claude_openai.protocol.turn.events import (
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    TurnCompleted,
    TurnStarted,
    Usage,
)
from claude_openai.protocol.turn.reports import ModelSpent

__all__ = ["BUCKETS_S", "Histogram", "Labels", "Metrics", "TurnMeter"]

Labels: TypeAlias = tuple[str, ...]

BUCKETS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
WAYS: Final = ("new", "replayed", "continued", "rewound", "parked")
# The client left, or did not read; an operator cancelled the run; the server stopped.
CANCELLATIONS: Final = ("client_left", "client_stalled", "run_cancelled", "shutting_down")
TOKENS: Final = ("input", "cache_read", "cache_write", "output")


@dataclass(slots=True)
class Histogram:
    """A histogram.

    `counts[i]` counts the values above the bound before, up to and including `BOUNDS_S[i]`; the last has no bound.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


class Metrics:
    """The counts of one server. The keys are the values of labels, in the order that `web/prometheus.py` names."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.http_requests: Counter[Labels] = Counter()
        self.http_seconds: defaultdict[Labels, Histogram] = defaultdict(Histogram)
        self.first_token_seconds: defaultdict[Labels, Histogram] = defaultdict(Histogram)
        self.turn_seconds: defaultdict[Labels, Histogram] = defaultdict(Histogram)
        self.failures: Counter[Labels] = Counter()
        # They start at 0, so that Prometheus' rate() sees the first increment.
        self.conversations: Counter[Labels] = Counter({(way,): 0 for way in WAYS})
        self.cancellations: Counter[Labels] = Counter({(reason,): 0 for reason in CANCELLATIONS})
        self.tokens: Counter[Labels] = Counter({(kind,): 0 for kind in TOKENS})
        self.reasoning_tokens = 0
        self.model_tokens: Counter[Labels] = Counter()
        self.cost_usd: defaultdict[Labels, float] = defaultdict(float)
        self.estimated_usd = 0.0
        self.key_runs: Counter[Labels] = Counter()
        self.key_cost_usd: defaultdict[Labels, float] = defaultdict(float)

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            route: its template, never its path.
            status: 499 if the client left.
            seconds: from its arrival to the last byte.
        """
        self.http_requests[route, str(status)] += 1
        self.http_seconds[route,].add(seconds)

    def note_usage(self, usage: Usage) -> None:
        self.tokens["input",] += usage.input_tokens
        self.tokens["cache_read",] += usage.cache_read_tokens
        self.tokens["cache_write",] += usage.cache_write_tokens
        self.tokens["output",] += usage.output_tokens
        self.reasoning_tokens += usage.reasoning_tokens

    def note_run(self, key: str | None, status: str) -> None:
        """Count a run that has ended, if the key of its client has a name."""
        if key is not None:
            self.key_runs[key, status] += 1

    def note_spent(self, spent: Iterable[tuple[str, ModelSpent]], key: str | None = None) -> None:
        """Count what was used, by model and by named key. Counters cannot go back, so they leave out estimates."""
        for model, each in spent:
            if key is not None:
                self.key_cost_usd[key,] += each.cost_usd
            for kind in TOKENS:
                self.model_tokens[model, kind] += getattr(each.usage, f"{kind}_tokens")
            self.cost_usd[model,] += each.cost_usd
            self.estimated_usd += each.estimated_usd


@dataclass(slots=True)
class TurnMeter:
    """Measures one run.

    Args:
        metrics: where it counts.
        backend: name of the backend.
        arrived: time of the request, on trio's clock.

    Attributes:
        first_token_s: seconds from the request to the first token; None before it.
    """

    metrics: Metrics
    backend: str
    arrived: float
    first_token_s: float | None = None
    _way: str = "unknown"
    _ended: bool = False

    def note(self, event: Event) -> None:
        """Measure the next event of the turn."""
        match event:
            case TextDelta() | ReasoningDelta() | ToolCall():
                if self.first_token_s is None:
                    self.first_token_s = trio.current_time() - self.arrived
                    self.metrics.first_token_seconds[self._way, self.backend].add(self.first_token_s)
            case TurnStarted():
                self._way = event.conversation
                self.metrics.conversations[self._way,] += 1
            case TurnCompleted():
                self.metrics.note_usage(event.usage)

    def end(self, outcome: str, error: ApiError | None) -> None:
        """Count the end of the run. A parked run may end a second time, when it is cancelled."""
        if not self._ended:
            self._ended = True
            self.metrics.turn_seconds[self.backend, outcome].add(trio.current_time() - self.arrived)
        if outcome == "cancelled":
            self.metrics.cancellations["client_left" if error is None else error.code or error.type,] += 1
        elif error is not None:
            self.metrics.failures[error.code or error.type,] += 1
