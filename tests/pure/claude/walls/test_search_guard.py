"""The limits of a request on Claude's web searches."""

import pytest

from claude_openai.claude.walls.file_guard import Denied
from claude_openai.claude.walls.search_guard import SearchGuard
from claude_openai.protocol.turn.claude_options import WebSearch


def test_a_search_without_limits_is_left_as_it_is() -> None:
    guard = SearchGuard(WebSearch())
    assert [guard.check({"query": "q", "blocked_domains": ["b.org"]}) for _ in range(20)] == [None] * 20


@pytest.mark.parametrize("more", [{}, {"allowed_domains": ["b.org"]}, {"blocked_domains": ["a.org"]}])
def test_the_domains_of_the_request_replace_those_of_claude(more: dict[str, list[str]]) -> None:
    changed = SearchGuard(WebSearch(("a.org", "c.org"))).check({"query": "q", **more})
    assert changed == {"query": "q", "allowed_domains": ["a.org", "c.org"]}


def test_number_of_searches_is_counted_for_each_turn() -> None:
    guard = SearchGuard(WebSearch(max_uses=2))
    for _ in range(2):
        guard.check({"query": "q"})
        guard.check({"query": "q"})
        with pytest.raises(Denied, match="No more web searches"):
            guard.check({"query": "q"})
        guard.begin_turn()
