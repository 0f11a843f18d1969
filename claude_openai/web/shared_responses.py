"""Keeps stored responses and items in a state store too, from which each request updates those in memory.

The store is read first, since another server may have deleted or changed a response. Memory alone is used while the
store cannot be reached, and for responses that could not be written to it.

A response that has not ended is stored with the id of its server. While a server has such responses, it writes a sign
of life into the store. If that is older than `ALIVE_S`, its responses count as failed.
"""

import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any, Final, TypeVar

import trio

from claude_openai.protocol.openai.responses.item_store import MAX_ITEMS, ItemStore
from claude_openai.protocol.openai.responses.response_store import MAX_RESPONSES, ResponseStore
from claude_openai.protocol.openai.responses.stored_form import (
    StoredForm,
    decode_item,
    encode_item,
    item_name,
    response_name,
)
from claude_openai.state.access import StateAccess

__all__ = ["ALIVE_S", "BEAT_S", "Collected", "SharedResponses"]

# How often a server writes its sign of life, and how long a server counts as alive after the last one.
BEAT_S: Final = 15.0
ALIVE_S: Final = 60.0

# Number of responses that could not be stored and are tried again together.
MAX_AGAIN: Final = 8

T = TypeVar("T")


@dataclass(slots=True)
class Collected:
    """What a request refers to. The stores in memory may drop it for others before the request has used it.

    Attributes:
        responses: the response that is continued, and those before it.
        items: the items by their ids.
        reached: whether the store has answered in time.
    """

    responses: ResponseStore
    items: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    reached: bool = True


@dataclass(frozen=True, slots=True)
class SharedResponses:
    """See the module.

    Attributes:
        access: the state store.
        items: the items in memory.
        responses: the responses in memory.
        owner: an id of this server.
        now: returns the Unix time.
    """

    access: StateAccess
    items: ItemStore
    responses: ResponseStore
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    now: Callable[[], float] = time.time

    async def refresh(self, caller: str, response_id: str) -> bool:
        """Read a response into memory, or forget it if it is not stored any more.

        Args:
            caller: as in `Exchange`.
            response_id: its id.

        Returns:
            Whether the store could be read in time.
        """
        in_memory = response_id in self.responses
        return await self.access.read(lambda: self._read(caller, [response_id], []), in_memory=in_memory)

    async def collect(self, caller: str, response_id: str | None, item_ids: Sequence[str] = ()) -> Collected:
        """Do the same with all responses of a conversation, and with items.

        Args:
            caller: as in `Exchange`.
            response_id: the last response; None for none.
            item_ids: the items.
        """
        ids = [] if response_id is None else self.responses.known_chain(response_id)
        items = list(item_ids)[:MAX_ITEMS]
        collected = Collected(self.responses.excerpt(ids))
        self._add_items(collected, caller, items)
        if not ids and not items:
            return collected

        async def read() -> None:
            asked: dict[str, None] = {}
            new, new_items = ids, items
            while new or new_items:
                forms = await self._read(caller, new, new_items, collected)
                asked |= dict.fromkeys(new)
                # The nearest responses have the ids of those further away, as far as one value has room for them.
                known = dict.fromkeys(each for form in forms for each in (form.previous, *form.earlier) if each)
                new = [each for each in known if each not in asked] if len(asked) < MAX_RESPONSES else []
                new_items = []

        in_memory = all(each in collected.responses for each in ids) and len(collected.items) == len(set(items))
        collected.reached = await self.access.read(read, in_memory=in_memory)
        return collected

    def note_item(self, caller: str, item_id: str) -> None:
        """Note that an item is in memory only, until its response is written."""
        self.access.note_unwritten([item_name(caller, item_id)])

    def write(self, caller: str, response_id: str) -> trio.Event | None:
        """Begin to store a response and its items; return an event that is set at the end, None if not in memory."""
        form = self.responses.form(response_id, self.owner)
        if form is None:
            return None
        items = {item_name(caller, item["id"]): item for item in form.output if item["type"] != "reasoning"}
        name = response_name(caller, response_id)

        signs = self._sign_of_life() if form.owner else {}

        def encoded() -> dict[str, bytes]:
            return {name: form.encode(), **{each: encode_item(item) for each, item in items.items()}, **signs}

        return self.access.put([name, *items, *signs], encoded, 2 * len(form.json) + len(form.input.json))

    async def show_life(self, is_needed: Callable[[], bool], wait: Callable[[], Awaitable[object]]) -> None:
        """Write the sign of life while it is needed; `wait` returns when that may have changed."""
        while is_needed():
            with trio.move_on_after(BEAT_S):
                await wait()
            self.access.put([_server_name(self.owner)], self._sign_of_life, 0)

    def write_again(self, caller: str, response_id: str) -> None:
        """Begin to store earlier responses of a conversation that could not be stored when they ended."""
        before = self.responses.known_chain(response_id)[1:]
        unwritten = [each for each in before if not self.access.is_written(response_name(caller, each))]
        for each in unwritten[:MAX_AGAIN]:
            self.write(caller, each)

    async def delete(self, caller: str, response_id: str, item_ids: Sequence[str]) -> bool:
        """Delete a response and its items. Return whether that succeeded."""
        names = [response_name(caller, response_id), *(item_name(caller, each) for each in item_ids)]
        return await self.access.delete(names)

    async def _read(
        self, caller: str, ids: Sequence[str], item_ids: Sequence[str], collected: Collected | None = None
    ) -> list[StoredForm]:
        responses = {response_name(caller, each): each for each in ids}
        items = {item_name(caller, each): each for each in item_ids}
        # What is written during the read, wholly or in part, is newer in memory.
        newer = set(filterfalse(self.access.is_written, [*responses, *items]))
        values = await self.access.get([*responses, *items])
        forms, found = await self.access.offload(
            lambda: (_decoded(values, responses, StoredForm.decode), _decoded(values, items, decode_item))
        )
        await self._fail_lost(forms)
        newer |= set(filterfalse(self.access.is_written, [*responses, *items]))
        for name, response_id in reversed(responses.items()):
            if name not in newer and name in forms:
                self.responses.restore(forms[name], caller, trio.current_time())
            elif name not in newer and values[name] is None:
                self.responses.forget(response_id, caller)
            if collected is not None:
                collected.responses.copy(response_id, self.responses)
        for name, item_id in items.items():
            if name not in newer and name in found:
                self.items.remember(found[name], caller)
            elif name not in newer and values[name] is None:
                self.items.forget(item_id, caller)
            if collected is not None:
                self._add_items(collected, caller, [item_id])
        return list(forms.values())

    def _add_items(self, collected: Collected, caller: str, item_ids: Sequence[str]) -> None:
        """Take items of the memory, or leave out what it does not have."""
        for each in item_ids:
            item = self.items.recall(each, caller)
            if item is None:
                collected.items.pop(each, None)
            else:
                collected.items[each] = item

    async def _fail_lost(self, forms: dict[str, StoredForm]) -> None:
        """Replace the responses whose server does not live any more by failed ones."""
        others = {_server_name(form.owner) for form in forms.values()} - {_server_name(""), _server_name(self.owner)}
        signs = await self.access.get(sorted(others)) if others else {}
        for name, form in forms.items():
            if form.owner == self.owner:
                lives = self.responses.form(form.id) is not None
            else:
                lives = not form.owner or self.now() - _shown_at(signs[_server_name(form.owner)]) < ALIVE_S
            if not lives:
                forms[name] = form.failed()

    def _sign_of_life(self) -> dict[str, bytes]:
        return {_server_name(self.owner): str(self.now()).encode()}


def _server_name(owner: str) -> str:
    return f"server:{owner}"


def _shown_at(value: bytes | None) -> float:
    try:
        return float(value or b"-inf")
    except ValueError:
        return -math.inf


def _decoded(
    values: Mapping[str, bytes | None], ids: Mapping[str, str], decode: Callable[[bytes, str], T]
) -> dict[str, T]:
    """Decode values; leave out damaged ones and values of another version."""
    found = {}
    for name, each in ids.items():
        value = values[name]
        if value is not None:
            with suppress(ValueError):
                found[name] = decode(value, each)
    return found
