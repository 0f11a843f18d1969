"""The stored responses of the Responses API: what a request continues, and the routes that read and delete them.

The routes of responses that may be in the background are in `background`.
"""

from dataclasses import dataclass, field

import trio
from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai.offload import Offload
from claude_openai.protocol.openai.responses.input_items import input_item_list
from claude_openai.protocol.openai.responses.item_store import ItemStore
from claude_openai.protocol.openai.responses.response_store import Earlier, ResponseStore
from claude_openai.protocol.wire.sse import encode_json
from claude_openai.web.http.exchange import exchange_of

__all__ = ["StoredResponses", "add_stored_routes"]


@dataclass(frozen=True, slots=True)
class StoredResponses:
    """The stores, and the views of stored responses."""

    offload: Offload
    items: ItemStore = field(default_factory=ItemStore)
    responses: ResponseStore = field(default_factory=ResponseStore)

    def earlier(self) -> Earlier:
        """Return the lookup of the current request's previous response. It may be called in a thread."""
        caller, now = exchange_of(request.scope).caller, trio.current_time()
        return lambda response_id: self.responses.conversation(response_id, caller, now)

    def retrieve(self, response_id: str) -> Response:
        return _json(self.responses.response(response_id, exchange_of(request.scope).caller, trio.current_time()))

    async def input_items(self, response_id: str) -> Response:
        caller, now, query = exchange_of(request.scope).caller, trio.current_time(), request.args.to_dict()

        def listed() -> bytes:
            items = self.responses.input_items(response_id, caller, now)
            return encode_json(input_item_list(response_id, items, query))

        return _json(await self.offload(listed))

    def delete(self, response_id: str) -> Response:
        """Delete a response, and its items, to which requests could still refer."""
        for item_id in self.responses.delete(response_id, exchange_of(request.scope).caller, trio.current_time()):
            self.items.forget(item_id)
        return _json(encode_json({"id": response_id, "object": "response", "deleted": True}))


def _json(body: bytes) -> Response:
    return TrioResponse(body, headers={"content-type": "application/json"})


def add_stored_routes(app: Quart, stored: StoredResponses) -> None:
    """Add the routes of responses that have ended."""
    path = "/v1/responses/<response_id>/input_items"
    app.add_url_rule(path, "input_items", stored.input_items, methods=["GET"])
