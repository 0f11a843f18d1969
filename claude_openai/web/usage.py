"""`GET /v1/usage`: what the turns used, and the usage windows of the account."""

from dataclasses import dataclass

from quart import Quart, Response

from claude_openai.config import Config
from claude_openai.errors import Overloaded
from claude_openai.runs.usage.ledger import Ledger
from claude_openai.threads import run_in_thread
from claude_openai.web.control import CONTROL_PREFIX, has_control_routes
from claude_openai.web.json_response import json_response

__all__ = ["LIMIT_HEADER", "add_usage_routes"]

# In the answer to a turn: the windows that are used by 80 % or more.
LIMIT_HEADER = "x-claude-openai-limits"


@dataclass(frozen=True, slots=True)
class UsageViews:
    """The view."""

    ledger: Ledger

    async def usage(self) -> Response:
        response = json_response(await run_in_thread(self.ledger.report))
        response.headers["cache-control"] = "no-store"
        return response

    async def forget(self) -> Response:
        try:
            await run_in_thread(self.ledger.forget)
        except Exception as error:
            raise Overloaded(f"The figures could not be deleted: {error}", code="usage_not_deleted") from error
        return json_response({"deleted": True})


def add_usage_routes(app: Quart, config: Config, ledger: Ledger) -> None:
    """Add the route for clients, and the same for the commands, which have only the control key."""
    views = UsageViews(ledger)
    app.add_url_rule("/v1/usage", "usage", views.usage, methods=["GET"])
    if has_control_routes(config):
        app.add_url_rule(f"{CONTROL_PREFIX}usage", "control_usage", views.usage, methods=["GET"])
        app.add_url_rule(f"{CONTROL_PREFIX}usage/forget", "control_forget", views.forget, methods=["POST"])
