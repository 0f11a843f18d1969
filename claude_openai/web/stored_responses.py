"""The stored responses of the Responses API: what a request continues, and the routes that read and delete them.

The routes of responses that may be in the background are in `background`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai.errors import BadRequest, NotFound, Overloaded
from claude_openai.offload import Offload
from claude_openai.protocol.openai.responses.input_items import input_item_list
from claude_openai.protocol.openai.responses.item_store import ItemStore
from claude_openai.protocol.openai.responses.request import (
    ResponsesRequest,
    parse_responses_request,
    read_responses_request,
    references,
)
from claude_openai.protocol.openai.responses.response_store import ResponseStore
from claude_openai.protocol.openai.responses.stored_form import KeptInput
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.protocol.wire.models import ModelCatalog
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.state.access import StateAccess
from claude_openai.web.http.exchange import exchange_of
from claude_openai.web.shared_responses import Collected, SharedResponses

__all__ = ["Keeping", "StoredResponses", "add_stored_routes", "stored_responses"]

_LOST: Final = frozenset({"previous_response_not_found", "response_not_found"})


@dataclass(frozen=True, slots=True)
class StoredResponses:
    """The stores, and the views of stored responses."""

    offload: Offload
    items: ItemStore = field(default_factory=ItemStore)
    responses: ResponseStore = field(default_factory=ResponseStore)
    shared: SharedResponses | None = None

    async def parse(self, body: bytes, catalog: ModelCatalog, *, may_store: bool, may_search: bool) -> ResponsesRequest:
        """Parse a body as `parse_responses_request` does, with the stored responses and items of the caller."""
        caller, now = exchange_of(request.scope).caller, trio.current_time()
        missing: list[str] = []

        if self.shared is None:
            parsed = await self.offload(
                lambda: parse_responses_request(
                    body,
                    catalog,
                    lambda item_id: self.items.recall(item_id, caller),
                    lambda name: self.responses.conversation(name, caller, now),
                    may_store=may_store,
                    may_search=may_search,
                )
            )
        else:
            fields = await self.offload(lambda: load_object(body))
            found = await self.shared.collect(caller, *references(fields))

            def recall(item_id: str) -> Mapping[str, Any] | None:
                item = found.items.get(item_id)
                if item is None:
                    missing.append(item_id)
                return item

            with _explaining(found.reached, missing):
                parsed = await self.offload(
                    lambda: read_responses_request(
                        fields,
                        len(body),
                        catalog,
                        recall,
                        lambda name: found.responses.conversation(name, caller, now),
                        may_store=may_store,
                        may_search=may_search,
                    )
                )
        if parsed.previous_id is not None:
            self.responses.renew(parsed.previous_id, trio.current_time())
        return parsed

    async def retrieve(self, response_id: str) -> Response:
        caller = exchange_of(request.scope).caller
        with _explaining(await self._refresh(caller, response_id)):
            return _json(self.responses.response(response_id, caller, trio.current_time()))

    async def input_items(self, response_id: str) -> Response:
        caller, query = exchange_of(request.scope).caller, request.args.to_dict()
        found = Collected(self.responses)
        if self.shared is not None:
            found = await self.shared.collect(caller, response_id)
        now = trio.current_time()

        def listed() -> bytes:
            items = found.responses.input_items(response_id, caller, now)
            return encode_json(input_item_list(response_id, items, query))

        with _explaining(found.reached):
            return _json(await self.offload(listed))

    async def delete(self, response_id: str) -> Response:
        """Delete a response, and its items, to which requests could still refer.

        Raises:
            NotFound: it is not stored.
            Overloaded: it may still be in the store, which cannot be reached.
        """
        caller = exchange_of(request.scope).caller
        with _explaining(await self._refresh(caller, response_id)):
            items = self.responses.delete(response_id, caller, trio.current_time())
        for item_id in items:
            self.items.forget(item_id, caller)
        if self.shared is not None and not await self.shared.delete(caller, response_id, items):
            raise Overloaded(
                "The response may still be stored, since the store cannot be reached",
                hint="Try again.",
                code="store_not_reached",
            )
        return _json(encode_json({"id": response_id, "object": "response", "deleted": True}))

    async def _refresh(self, caller: str, response_id: str) -> bool:
        return self.shared is None or await self.shared.refresh(caller, response_id)


@dataclass(slots=True)
class Keeping:
    """Stores the response to one request.

    Attributes:
        stored: the stores.
        input: the input of the request; None if nothing is to be stored.
        caller: as in `Exchange`.
    """

    stored: StoredResponses
    input: KeptInput | None
    caller: str
    _written: trio.Event | None = None

    def remember(self, item: Mapping[str, Any]) -> None:
        """Store a finished item."""
        if self.input is not None:
            self.stored.items.remember(item, self.caller)
            if self.stored.shared is not None:
                self.stored.shared.note_item(self.caller, item["id"])

    def keep(self, response: Mapping[str, Any]) -> None:
        """Store the response, or its next state."""
        if self.input is not None:
            self.stored.responses.keep(response, self.input, self.caller, trio.current_time())
            if self.stored.shared is not None:
                self.stored.shared.write_again(self.caller, response["id"])
                self._written = self.stored.shared.write(self.caller, response["id"])

    async def settle(self) -> None:
        """Wait for a bounded time until other servers find the response."""
        if self._written is not None and self.stored.shared is not None:
            with trio.move_on_after(self.stored.shared.access.store.refresh_s):
                await self._written.wait()


def stored_responses(offload: Offload, access: StateAccess | None) -> StoredResponses:
    """Return the stores in memory, with a state store behind them if there is one."""
    if access is None:
        return StoredResponses(offload)
    items, responses = ItemStore(), ResponseStore(kept=f"until {access.kept_s / 3600:g} hours")
    return StoredResponses(offload, items, responses, SharedResponses(access, items, responses))


@contextmanager
def _explaining(reached: bool, missing: Sequence[str] = ()) -> Iterator[None]:
    """Convert the errors for missing responses and items if the store, which may have them, was not reached.

    Raises:
        Overloaded: in their place. Client libraries and balancers send such a request again.
    """
    try:
        yield
    except (NotFound, BadRequest) as error:
        if reached or not (error.code in _LOST or missing):
            raise
        raise Overloaded(
            f"{error.problem}, and the store of responses cannot be reached now",
            hint="Try again, or send the whole conversation in 'input'.",
            code="store_not_reached",
            param=error.param,
        ) from None


def _json(body: bytes) -> Response:
    return TrioResponse(body, headers={"content-type": "application/json"})


def add_stored_routes(app: Quart, stored: StoredResponses) -> None:
    """Add the routes of responses that have ended."""
    path = "/v1/responses/<response_id>/input_items"
    app.add_url_rule(path, "input_items", stored.input_items, methods=["GET"])
