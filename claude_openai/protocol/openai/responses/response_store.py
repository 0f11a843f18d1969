"""Stores responses with their input, so that requests can continue, read and delete them.

A response is stored with its own input and the id of the response that it continues, so a chain contains each item
once. It is dropped an hour after its last use, or earlier if the bounds are exceeded, the least recently used first. A
response cannot be continued without all responses before it, so that deleting one removes its items from the
conversation.

`conversation` and `input_items` change nothing, so they may be called in a thread.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from claude_openai.errors import NotFound
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.sse import encode_json

__all__ = ["NO_CONVERSATION", "Conversation", "Earlier", "KeptInput", "ResponseStore", "nothing_earlier"]

MAX_RESPONSES: Final = 1000
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 3600.0
# What an entry takes besides its texts.
ENTRY_BYTES: Final = 1024

_PREVIOUS: Final = "previous_response_id"
_HINT: Final = (
    "Responses are stored in memory until an hour after their last use, unless the request has 'store': false or the "
    "server --no-store."
)


@dataclass(frozen=True, slots=True)
class KeptInput:
    """The items of an input as JSON, separated by commas. As objects, they could be many times as large."""

    json: bytes
    count: int

    @classmethod
    def of(cls, items: Sequence[Any]) -> "KeptInput":
        return cls(encode_json(items)[1:-1], len(items))


@dataclass(frozen=True, slots=True)
class Conversation:
    """All items of a conversation, and the size of its requests and responses as JSON, in bytes."""

    items: tuple[Mapping[str, Any], ...]
    size: int


NO_CONVERSATION: Final = Conversation((), 0)

# Returns the conversation of a stored response by its id; raises NotFound.
Earlier: TypeAlias = Callable[[str], Conversation]


def nothing_earlier(response_id: str) -> Conversation:
    """Raise the error for a response that is not stored."""
    raise _not_found(response_id)


@dataclass(slots=True)
class _Entry:
    caller: str
    json: bytes
    input: KeptInput
    output: tuple[Mapping[str, Any], ...]
    previous: str | None
    status: str
    size: int
    until: float


class ResponseStore:
    """The stored responses of all callers; a caller finds only its own. Times are in seconds of any one clock.

    Args:
        max_responses: the largest number of responses.
        max_bytes: the largest size of all of them.
        kept_s: how long a response is kept after its last use.
    """

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES, kept_s: float = KEPT_S) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._size = 0

    def keep(self, response: Mapping[str, Any], given: KeptInput, caller: str, now: float) -> None:
        """Store a response, or its next state, unless it is larger than all that may be stored."""
        encoded, output = encode_json(response), tuple(response["output"])
        size = 2 * len(encoded) + len(given.json) + ENTRY_BYTES  # the output is in memory twice
        if size > self._max_bytes:
            return
        name, status, until = response["id"], response["status"], now + self._kept_s
        if name in self._entries:
            self._drop(name)
        self._entries[name] = _Entry(caller, encoded, given, output, response[_PREVIOUS], status, size, until)
        self._size += size
        self._drop_excess(now)

    def conversation(self, response_id: str, caller: str, now: float) -> Conversation:
        """Return the conversation up to a response, its output included.

        Raises:
            NotFound: the response, or one before it, is not stored.
            BadRequest: it has failed or not ended, or the conversation has too many values.
        """
        chain = self._chain(response_id, caller, now)
        if chain[-1].status not in ("completed", "incomplete"):
            expected = f"the id of a response that has an answer; the status of this one is {chain[-1].status}"
            raise wrong_value(_PREVIOUS, expected, response_id)
        return Conversation(tuple(_items(chain)), sum(len(entry.input.json) + len(entry.json) for entry in chain))

    def input_items(self, response_id: str, caller: str, now: float) -> tuple[Mapping[str, Any], ...]:
        """Return the items from which a response was made: the conversation before it, and its own input.

        Raises:
            NotFound, BadRequest: as `conversation`.
        """
        self._found(response_id, caller, now)
        chain = self._chain(response_id, caller, now)
        items = tuple(_items(chain))
        return items[: len(items) - len(chain[-1].output)]

    def response(self, response_id: str, caller: str, now: float) -> bytes:
        """Return the response object as JSON.

        Raises:
            NotFound: it is not stored.
        """
        return self._found(response_id, caller, now).json

    def renew(self, response_id: str, now: float) -> None:
        """Note that a response is continued, which is a use of all responses before it too."""
        name: str | None = response_id
        while name is not None and name in self._entries:
            entry = self._entries[name]
            entry.until = now + self._kept_s
            self._entries.move_to_end(name)
            name = entry.previous
        self._drop_excess(now)

    def delete(self, response_id: str, caller: str, now: float) -> list[str]:
        """Drop a response. Return the ids of the items of its output.

        Raises:
            NotFound: it is not stored.
        """
        entry = self._found(response_id, caller, now)
        self._drop(response_id)
        return [item["id"] for item in entry.output]

    def _found(self, response_id: str, caller: str, now: float) -> _Entry:
        entry = self._get(response_id, caller, now)
        if entry is None:
            message = f"Response with id {shorten(response_id)} not found"
            raise NotFound(message, hint=_HINT, code="response_not_found", param="response_id")
        return entry

    def _get(self, response_id: str, caller: str, now: float) -> _Entry | None:
        entry = self._entries.get(response_id)
        return entry if entry is not None and entry.caller == caller and now < entry.until else None

    def _chain(self, response_id: str, caller: str, now: float) -> list[_Entry]:
        """Return a response and those before it, the first one first."""
        chain: list[_Entry] = []
        name: str | None = response_id
        while name is not None:
            entry = self._get(name, caller, now)
            if entry is None:
                raise _not_found(response_id, None if name == response_id else name)
            chain.append(entry)
            name = entry.previous
        return chain[::-1]

    def _drop_excess(self, now: float) -> None:
        while self._entries:
            oldest = next(iter(self._entries))
            fits = len(self._entries) <= self._max_responses and self._size <= self._max_bytes
            if fits and now < self._entries[oldest].until:
                return
            self._drop(oldest)

    def _drop(self, response_id: str) -> None:
        self._size -= self._entries.pop(response_id).size


def _items(chain: Sequence[_Entry]) -> Iterator[Mapping[str, Any]]:
    # Parsed at once, within the bounds of one request: the conversation counts as if the client had sent it.
    inputs = b",".join(entry.input.json for entry in chain)
    parsed = iter(load_object(b'{"%s":[%s]}' % (_PREVIOUS.encode(), inputs))[_PREVIOUS])
    for entry in chain:
        yield from islice(parsed, entry.input.count)
        yield from entry.output


def _not_found(response_id: str, lost: str | None = None) -> NotFound:
    which = f"Previous response with id {shorten(response_id)} not found"
    if lost is not None:
        which = f"Previous response with id {shorten(response_id)} cannot be continued: {shorten(lost)}, which it "
        which += "continues, was deleted or dropped"
    return NotFound(
        which,
        hint=f"{_HINT} Send the whole conversation in 'input'.",
        code="previous_response_not_found",
        param=_PREVIOUS,
    )
