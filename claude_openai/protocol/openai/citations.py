"""Finds the citations in an answer: markdown links to results of its web searches, which Claude writes.

The text comes in pieces, and the citations do not depend on how it is split. Indices count Unicode characters (code
points) from the start of the text. The span of a citation is the whole link, as in OpenAI's answers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from claude_openai.protocol.turn.events import Source

__all__ = ["Citation", "Citations"]

# A bound on the work for each closing parenthesis.
MAX_LINK_CHARS: Final = 4096


@dataclass(frozen=True, slots=True)
class Citation:
    """A citation; `end` is the index after its last character."""

    start: int
    end: int
    source: Source

    def fields(self) -> dict[str, Any]:
        """Return the fields that both APIs have."""
        source = self.source
        return {"start_index": self.start, "end_index": self.end, "title": source.title, "url": source.url}


class Citations:
    """Finds the citations in a text while it is streamed.

    Attributes:
        has_sources: whether there are results to which the text may link.
    """

    def __init__(self) -> None:
        self._by_url: dict[str, Source] = {}
        self._tail = ""
        self._start = 0  # index of the tail
        self._cited = 0  # index after the last citation

    @property
    def has_sources(self) -> bool:
        return bool(self._by_url)

    def add(self, sources: Iterable[Source]) -> None:
        """Add results to which the text may link from now on."""
        for source in sources:
            self._by_url.setdefault(_key(source.url), source)

    def begin_text(self) -> None:
        """Begin another text, whose indices begin at 0."""
        self._tail, self._start, self._cited = "", 0, 0

    def feed(self, text: str) -> list[Citation]:
        """Return the citations that end in the next piece of the text."""
        if not self._by_url:
            self._start += len(text)
            return []
        scanned = len(self._tail)
        self._tail += text
        found = []
        at = self._tail.find(")", scanned)
        while at >= 0:
            citation = self._ending(at)
            if citation is not None:
                found.append(citation)
                self._cited = citation.end
            at = self._tail.find(")", at + 1)
        kept = self._tail[-MAX_LINK_CHARS:]
        self._start += len(self._tail) - len(kept)
        self._tail = kept
        return found

    def _ending(self, at: int) -> Citation | None:
        """Return the citation that ends with the parenthesis at index `at` of the tail."""
        least = max(0, at + 1 - MAX_LINK_CHARS, self._cited - self._start)
        middle = self._tail.rfind("](", least, at)
        source = None if middle < 0 else self._by_url.get(_key(_url(self._tail[middle + 2 : at])))
        if source is None:
            return None
        begin = self._opening(middle, least)
        return None if begin is None else Citation(self._start + begin, self._start + at + 1, source)

    def _opening(self, closing: int, least: int) -> int | None:
        """Return the index of the bracket that matches the closing bracket at index `closing`."""
        depth = 0
        for place in range(closing, least - 1, -1):
            if self._tail[place] in "[]" and self._tail[max(least, place - 1)] != "\\":
                depth += 1 if self._tail[place] == "]" else -1
                if depth == 0:
                    return place
        return None


def _url(target: str) -> str:
    """Return the URL from the text in the parentheses of a link, without the title."""
    url = target.split(maxsplit=1)[0] if target.strip() else ""
    return url[1:-1] if url.startswith("<") and url.endswith(">") else url


def _key(url: str) -> str:
    """Return the URL without fragment and last slash, in which the links of models differ from the results."""
    return url.partition("#")[0].rstrip("/")
