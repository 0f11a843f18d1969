"""The answers to malformed HTTP requests."""

import json

import pytest

from claude_openai.logs.log import NULL_LOG
from claude_openai.web.http.malformed import NO_WEBSOCKETS, NOT_STARTED, malformed_response


@pytest.mark.parametrize(
    ("hint", "status", "code"),
    [(400, 400, "invalid_http"), (431, 431, "headers_too_long"), (501, 400, "invalid_http")],
)
def test_the_answer_is_an_error_object_with_an_id_by_the_hint_of_h11(hint: int, status: int, code: str) -> None:
    answered, headers, body = malformed_response(hint, NULL_LOG)
    assert (answered, json.loads(body)["error"]["code"]) == (status, code)
    named = {name.decode(): value.decode() for name, value in headers}
    assert (
        named.items() >= {**NOT_STARTED, "content-type": "application/json", "content-length": str(len(body))}.items()
    )
    assert named["x-request-id"].startswith("req_")


def test_api_error_is_answered_unchanged() -> None:
    status, _, body = malformed_response(400, NULL_LOG, NO_WEBSOCKETS)
    assert (status, json.loads(body)["error"]["message"]) == (403, NO_WEBSOCKETS.message)
