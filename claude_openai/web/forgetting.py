"""The route that deletes stored responses and kept answers, in memory and in the state store."""

from dataclasses import dataclass
from typing import cast

from quart import Quart, Response, request

from claude_openai.config import Config
from claude_openai.errors import Overloaded
from claude_openai.protocol.wire.json_body import load_object
from claude_openai.web.access import has_control_routes
from claude_openai.web.background import BackgroundResponses
from claude_openai.web.joining import Joined
from claude_openai.web.json_response import json_response
from claude_openai.web.stored_responses import StoredResponses

__all__ = ["Forgetting", "add_forget_route"]


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The view, and the stores that it empties."""

    stored: StoredResponses
    joined: Joined
    background: BackgroundResponses

    async def forget(self) -> Response:
        """Delete all responses and answers that have ended, of all callers; return the number of each kind.

        Raises:
            Overloaded: the state store cannot be reached; the memory was emptied.
        """
        load_object(cast("bytes", await request.get_data()) or b"{}")
        counts = {
            "responses": self.stored.responses.clear(),
            "items": self.stored.items.clear(),
            "answers": self.joined.forget() + self.background.forget(),
            "stored": 0,
        }
        if self.stored.shared is not None:
            stored = await self.stored.shared.access.clear()
            if stored is None:
                raise Overloaded(
                    "The memory was emptied, but the store of responses cannot be reached",
                    hint="Its values may still be there. Try again.",
                    code="store_not_reached",
                )
            counts["stored"] = stored
        return json_response({"object": "forgotten", **counts})


def add_forget_route(app: Quart, config: Config, forgetting: Forgetting) -> None:
    """Add the route, if there is a key for control routes."""
    if has_control_routes(config):
        app.add_url_rule("/control/forget", "control_forget", forgetting.forget, methods=["POST"])
