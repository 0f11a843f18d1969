"""Counts: where a value falls, and which runs end twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_openai.errors import RunCancelled, UpstreamError
from claude_openai.protocol.turn.events import TextDelta, TurnStarted
from claude_openai.runs.metrics import BUCKETS_S, Histogram, Metrics, TurnMeter


@given(st.lists(st.floats(0, 1000)))
def test_a_value_is_counted_at_the_first_bound_that_it_does_not_exceed(values: list[float]) -> None:
    spread = Histogram()
    for value in values:
        spread.add(value)
    for index, bound in enumerate(BUCKETS_S):
        assert sum(spread.counts[: index + 1]) == sum(value <= bound for value in values)
    assert sum(spread.counts) == len(values)
    assert spread.total_s == pytest.approx(sum(values))


async def test_a_parked_run_that_is_cancelled_ends_once_and_is_one_cancellation() -> None:
    metrics = Metrics()
    meter = TurnMeter(metrics, "sdk", 0.0)
    meter.end("completed", None)
    meter.end("cancelled", RunCancelled("somebody did it"))
    assert [(key, sum(spread.counts)) for key, spread in metrics.turn_seconds.items()] == [(("sdk", "completed"), 1)]
    assert metrics.cancellations["run_cancelled",] == 1
    assert not metrics.failures


async def test_an_error_without_a_code_is_counted_by_its_type() -> None:
    metrics = Metrics()
    error = UpstreamError("x")
    error.code = None
    TurnMeter(metrics, "sdk", 0.0).end("failed", error)
    assert dict(metrics.failures) == {("upstream_error",): 1}


async def test_only_the_first_delta_is_timed() -> None:
    metrics = Metrics()
    meter = TurnMeter(metrics, "sdk", 0.0)
    for event in (TurnStarted("claude", "continued"), TextDelta("a"), TextDelta("b")):
        meter.note(event)
    ((key, spread),) = metrics.first_token_seconds.items()
    assert (key, sum(spread.counts)) == (("continued", "sdk"), 1)
