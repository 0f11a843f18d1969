"""Reads Claude's web searches from Claude Code's records.

Claude calls Claude Code's tool WebSearch, which asks Claude's API to search, with a request of its own. The results are
in the record of the tool's result: `tool_use_result` has their titles and URLs, and errors as texts (2.1.332).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from claude_openai.protocol.claude_code.streamed_message import CallBlock
from claude_openai.protocol.turn.events import SearchEnded, SearchStarted, Source

__all__ = ["WEB_SEARCH", "WebSearches"]

WEB_SEARCH: Final = "WebSearch"


class WebSearches:
    """Follows the searches of one turn."""

    def __init__(self) -> None:
        self._running: set[str] = set()

    def started(self, call: CallBlock) -> SearchStarted:
        self._running.add(call.id)
        return SearchStarted(call.id, _query(call.arguments))

    def ended(self, record: Mapping[str, Any]) -> list[SearchEnded]:
        """Return the searches whose results are in a `user` record; an earlier turn may have started them."""
        found = record.get("tool_use_result")
        results = found.get("results") if isinstance(found, Mapping) and "query" in found else None
        return [
            self._ended(str(block.get("tool_use_id")), results if isinstance(results, list) else [])
            for block in _results(record)
            if block.get("tool_use_id") in self._running or isinstance(results, list)
        ]

    def _ended(self, call_id: str, results: list[Any]) -> SearchEnded:
        self._running.discard(call_id)
        lists = [result["content"] for result in results if isinstance(result, Mapping) and "content" in result]
        sources = (Source(str(each["url"]), str(each.get("title") or each["url"])) for found in lists for each in found)
        return SearchEnded(call_id, tuple(dict.fromkeys(sources)), failed=not lists)


def _results(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = record["message"].get("content")
    for block in content if isinstance(content, list) else ():
        if block.get("type") == "tool_result":
            yield block


def _query(arguments: str) -> str:
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return ""
    query = values.get("query") if isinstance(values, dict) else None
    return query if isinstance(query, str) else ""
