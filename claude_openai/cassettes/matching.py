"""Finds the recorded answer to a request: pure, the entries that are left are a new `Cassette`.

A request matches the first entry that is left whose request is equal, apart from ids. So equal requests get their
answers in the order in which they were recorded, and others may come in any order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from claude_openai.cassettes.client_request import ClientRequest
from claude_openai.cassettes.difference import differences
from claude_openai.cassettes.entry import Entry

__all__ = ["Cassette", "CassetteMismatch", "next_answer", "unused_turns"]

MAX_DIFFERENCES: Final = 5
SHOWN_CHARS: Final = 60


class CassetteMismatch(AssertionError):
    """The program sent a request that was not recorded; the text shows what differs."""


@dataclass(frozen=True, slots=True)
class Cassette:
    """The entries of a file that are left to answer from.

    Attributes:
        name: name of the file, for errors.
    """

    name: str
    entries: tuple[Entry, ...]


def next_answer(cassette: Cassette, request: ClientRequest) -> tuple[Entry, Cassette]:
    """Return the entry that answers a request, and the cassette without it.

    Raises:
        CassetteMismatch: no entry that is left has this request.
    """
    for index, entry in enumerate(cassette.entries):
        if entry.request.key == request.key:
            return entry, replace(cassette, entries=cassette.entries[:index] + cassette.entries[index + 1 :])
    raise CassetteMismatch(_mismatch(cassette, request))


def unused_turns(cassette: Cassette) -> str:
    """Return a text that lists the turns that are left, "" if there are none."""
    if not cassette.entries:
        return ""
    lines = [f"  line {entry.line}: {_summary(entry.request)}" for entry in cassette.entries]
    return "\n".join([f"the program did not send these requests of {cassette.name}:", *lines])


def _mismatch(cassette: Cassette, request: ClientRequest) -> str:
    if not cassette.entries:
        return f"every turn of {cassette.name} was used, and the program sent one more request: {_summary(request)}"
    entry = cassette.entries[0]
    found = list(islice(differences(entry.request.comparable, request.comparable), MAX_DIFFERENCES + 1))
    lines = [f"  {difference}" for difference in found[:MAX_DIFFERENCES]]
    if len(found) > MAX_DIFFERENCES:
        lines.append("  and more")
    head = f"no turn of {cassette.name} has this request; it differs from the next one, line {entry.line}, in:"
    return "\n".join([head, *lines])


def _summary(request: ClientRequest) -> str:
    """Return the path and the beginning of the last text."""
    body = request.body
    text = _last_text(body.get("messages") or body.get("input") or body.get("prompt"))
    short = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"
    return f"{request.path} {short!r}" if short else request.path


def _last_text(value: Any) -> str:
    if isinstance(value, list):
        return next(filter(None, map(_last_text, reversed(value))), "")
    if isinstance(value, Mapping):
        return _last_text(next((value[key] for key in ("content", "text", "output") if key in value), ""))
    return value if isinstance(value, str) else ""
