"""Stores responses with their input, so that requests can continue, read and delete them.

A response is stored with its own input and the id of the response that it continues, so a chain contains each item
once. It is dropped an hour after its last use, or earlier if the bounds are exceeded, the least recently used first. A
response cannot be continued without all responses before it, so that deleting one removes its items from the
conversation.

`conversation` and `input_items` change nothing, so they may be called in a thread.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeAlias

from claude_openai.errors import NotFound
from claude_openai.protocol.limits.quoting import shorten
from claude_openai.protocol.openai.responses.stored_form import ENDED, KeptInput, StoredForm
from claude_openai.protocol.wire.bad_request import wrong_value
from claude_openai.protocol.wire.json_body import load_object

__all__ = ["MAX_RESPONSES", "NO_CONVERSATION", "Conversation", "Earlier", "ResponseStore", "nothing_earlier"]

MAX_RESPONSES: Final = 1000
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 3600.0
# Number of ids of earlier responses in a `StoredForm`, so that most conversations need few reads.
MAX_EARLIER: Final = 100
# What an entry takes besides its texts.
ENTRY_BYTES: Final = 1024

_PREVIOUS: Final = "previous_response_id"
_IN_MEMORY: Final = "in memory until an hour"


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
    raise _not_found(response_id, _hint(_IN_MEMORY))


@dataclass(slots=True)
class _Entry:
    caller: str
    form: StoredForm
    size: int
    until: float


class ResponseStore:
    """The stored responses of all callers; a caller finds only its own. Times are in seconds of any one clock.

    Args:
        max_responses: the largest number of responses.
        max_bytes: the largest size of all of them.
        kept_s: how long a response is kept after its last use.
        kept: where and how long responses are kept, for the hints of errors.
    """

    def __init__(
        self,
        max_responses: int = MAX_RESPONSES,
        max_bytes: int = MAX_BYTES,
        kept_s: float = KEPT_S,
        kept: str = _IN_MEMORY,
    ) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the least recently used first
        self._size = 0
        self._hint = _hint(kept)

    def excerpt(self, response_ids: Sequence[str]) -> "ResponseStore":
        """Return a store of those of these responses that are stored here."""
        found = ResponseStore(self._max_responses, self._max_bytes, self._kept_s)
        found._hint = self._hint
        for each in response_ids:
            found.copy(each, self)
        return found

    def copy(self, response_id: str, store: "ResponseStore") -> None:
        """Store a response of another store, or forget it if that has none."""
        if response_id in self._entries:
            self._drop(response_id)
        entry = store._entries.get(response_id)
        if entry is not None:
            self._entries[response_id] = entry
            self._size += entry.size

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._entries

    def keep(self, response: Mapping[str, Any], given: KeptInput, caller: str, now: float) -> None:
        """Store a response, or its next state, unless it is larger than all that may be stored."""
        self.restore(StoredForm.of(response, given), caller, now)

    def restore(self, form: StoredForm, caller: str, now: float) -> None:
        """Store a response that was read from a state store; otherwise as `keep`."""
        size = 2 * len(form.json) + len(form.input.json) + ENTRY_BYTES  # the output is in memory twice
        is_cycle = form.previous is not None and form.id in self.known_chain(form.previous)
        if size > self._max_bytes or is_cycle:
            return
        before = self._entries.get(form.id)
        if before is not None:
            if before.form.status in ENDED and form.status not in ENDED:  # the state store was read before it ended
                return
            self._drop(form.id)
        self._entries[form.id] = _Entry(caller, form, size, now + self._kept_s)
        self._size += size
        self._drop_excess(now)

    def form(self, response_id: str, owner: str = "") -> StoredForm | None:
        """Return a response in the form for a state store; None if it is not in memory.

        Args:
            response_id: its id.
            owner: the server that works on it, unless it has ended.
        """
        entry = self._entries.get(response_id)
        if entry is None:
            return None
        earlier = tuple(islice(self._known_before(entry), MAX_EARLIER))
        return replace(entry.form, earlier=earlier, owner="" if entry.form.status in ENDED else owner)

    def known_chain(self, response_id: str) -> list[str]:
        """Return the id, and the ids of the responses before it as far as they are known."""
        entry = self._entries.get(response_id)
        return [response_id, *(() if entry is None else self._known_before(entry))]

    def forget(self, response_id: str, caller: str) -> None:
        """Drop a response of this caller, if it is stored."""
        entry = self._entries.get(response_id)
        if entry is not None and entry.caller == caller:
            self._drop(response_id)

    def clear(self) -> int:
        """Drop all responses; return how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self._size = 0
        return count

    def conversation(self, response_id: str, caller: str, now: float) -> Conversation:
        """Return the conversation up to a response, its output included.

        Raises:
            NotFound: the response, or one before it, is not stored.
            BadRequest: it has failed or not ended, or the conversation has too many values.
        """
        chain = self._chain(response_id, caller, now)
        if chain[-1].form.status not in ("completed", "incomplete"):
            expected = f"the id of a response that has an answer; the status of this one is {chain[-1].form.status}"
            raise wrong_value(_PREVIOUS, expected, response_id)
        size = sum(len(entry.form.input.json) + len(entry.form.json) for entry in chain)
        return Conversation(tuple(_items(chain)), size)

    def input_items(self, response_id: str, caller: str, now: float) -> tuple[Mapping[str, Any], ...]:
        """Return the items from which a response was made: the conversation before it, and its own input.

        Raises:
            NotFound, BadRequest: as `conversation`.
        """
        self._found(response_id, caller, now)
        chain = self._chain(response_id, caller, now)
        items = tuple(_items(chain))
        return items[: len(items) - len(chain[-1].form.output)]

    def response(self, response_id: str, caller: str, now: float) -> bytes:
        """Return the response object as JSON.

        Raises:
            NotFound: it is not stored.
        """
        return self._found(response_id, caller, now).form.json

    def renew(self, response_id: str, now: float) -> None:
        """Note that a response is continued, which is a use of all responses before it too."""
        name: str | None = response_id
        while name is not None and name in self._entries:
            entry = self._entries[name]
            entry.until = now + self._kept_s
            self._entries.move_to_end(name)
            name = entry.form.previous
        self._drop_excess(now)

    def delete(self, response_id: str, caller: str, now: float) -> list[str]:
        """Drop a response. Return the ids of the items of its output.

        Raises:
            NotFound: it is not stored.
        """
        entry = self._found(response_id, caller, now)
        self._drop(response_id)
        return [item["id"] for item in entry.form.output]

    def _found(self, response_id: str, caller: str, now: float) -> _Entry:
        entry = self._get(response_id, caller, now)
        if entry is None:
            message = f"Response with id {shorten(response_id)} not found"
            raise NotFound(message, hint=self._hint, code="response_not_found", param="response_id")
        return entry

    def _get(self, response_id: str, caller: str, now: float) -> _Entry | None:
        entry = self._entries.get(response_id)
        return entry if entry is not None and entry.caller == caller and now < entry.until else None

    def _known_before(self, entry: _Entry) -> Iterator[str]:
        name = entry.form.previous
        while name is not None:
            yield name
            before = self._entries.get(name)
            name = None if before is None else before.form.previous

    def _chain(self, response_id: str, caller: str, now: float) -> list[_Entry]:
        """Return a response and those before it, the first one first."""
        chain: list[_Entry] = []
        name: str | None = response_id
        while name is not None:
            entry = self._get(name, caller, now)
            if entry is None:
                raise _not_found(response_id, self._hint, None if name == response_id else name)
            chain.append(entry)
            name = entry.form.previous
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
    inputs = b",".join(entry.form.input.json for entry in chain)
    parsed = iter(load_object(b'{"%s":[%s]}' % (_PREVIOUS.encode(), inputs))[_PREVIOUS])
    for entry in chain:
        yield from islice(parsed, entry.form.input.count)
        yield from entry.form.output


def _hint(kept: str) -> str:
    return (
        f"Responses are stored {kept} after their last use, unless the request has 'store': false or the server "
        "--no-store."
    )


def _not_found(response_id: str, hint: str, lost: str | None = None) -> NotFound:
    which = f"Previous response with id {shorten(response_id)} not found"
    if lost is not None:
        which = f"Previous response with id {shorten(response_id)} cannot be continued: {shorten(lost)}, which it "
        which += "continues, was deleted or dropped"
    return NotFound(
        which,
        hint=f"{hint} Send the whole conversation in 'input'.",
        code="previous_response_not_found",
        param=_PREVIOUS,
    )
