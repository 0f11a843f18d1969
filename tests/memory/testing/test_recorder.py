"""The record of an exchange: its outcome is known before the client can have the end of the answer."""

import pytest

from claude_openai.testing.recorder import Exchange
from claude_openai.testing.requests import FakeRequest


@pytest.mark.parametrize(("status", "outcome"), [(200, "completed"), (401, "refused")])
def test_outcome_is_known_when_the_body_has_its_length(status: int, outcome: str) -> None:
    exchange = Exchange(FakeRequest(1, "GET", "/v1/models", {}))
    exchange.note_sent({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"5")]})
    assert exchange.request.outcome == "running"
    exchange.note_sent({"type": "http.response.body", "body": b"Hello", "more_body": True})
    assert exchange.request.outcome == outcome
