"""The parts of a Redis URL; invalid URLs are in `test_config.py`."""

import pytest

from claude_openai.config.redis_url import RedisUrl, parse_redis_url

URLS = [
    ("redis://h", ("h", 6379, "", 0, None, False)),
    ("redis://h:1/", ("h", 1, "", 0, None, False)),
    ("rediss://u%40x@h:1/2", ("h", 1, "", 2, "u@x", True)),
    ("redis://[::1]:2/3", ("::1", 2, "", 3, None, False)),
    ("unix:///a%20b/c", ("", 6379, "/a b/c", 0, None, False)),
    ("unix://u@/c?db=4", ("", 6379, "/c", 4, "u", False)),
]


@pytest.mark.parametrize(("text", "parts"), URLS)
def test_redis_url_is_parsed_into_its_parts(text: str, parts: tuple[object, ...]) -> None:
    assert parse_redis_url(text) == RedisUrl(text, *parts)  # type: ignore[arg-type]
