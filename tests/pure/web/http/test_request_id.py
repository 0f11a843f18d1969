"""Ids of requests, which errors show."""

import re

from claude_openai.web.http.request_id import new_request_id


def test_request_ids_differ_and_none_contains_what_a_client_takes_for_a_status() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert not [each for each in ids if re.search("429|50[0234]", each)]
