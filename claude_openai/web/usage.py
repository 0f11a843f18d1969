"""`GET /v1/usage`: what the turns used, and the usage windows of the account."""

from dataclasses import dataclass

from quart import Quart, Response, request

from claude_openai.config import Config
from claude_openai.runs.usage.ledger import Ledger
from claude_openai.threads import run_in_thread
from claude_openai.web.access import CONTROL_PREFIX, has_control_routes
from claude_openai.web.http.exchange import exchange_of
from claude_openai.web.json_response import json_response

__all__ = ["LIMIT_HEADER", "add_usage_routes"]

# In the answer to a turn: the windows that are used by 80 % or more.
LIMIT_HEADER = "x-claude-openai-limits"


@dataclass(frozen=True, slots=True)
class UsageViews:
    """The view."""

    ledger: Ledger

    async def usage(self) -> Response:
        ledger = self.ledger
        rows, problem = await run_in_thread(ledger.read_rows) if ledger.has_file else ledger.read_rows()
        response = json_response(ledger.report(rows, problem, exchange_of(request.scope).key))
        response.headers["cache-control"] = "no-store"
        return response


def add_usage_routes(app: Quart, config: Config, ledger: Ledger) -> None:
    """Add the route for clients, and the same for the commands, which have only the control key."""
    views = UsageViews(ledger)
    app.add_url_rule("/v1/usage", "usage", views.usage, methods=["GET"])
    if has_control_routes(config):
        app.add_url_rule(f"{CONTROL_PREFIX}usage", "control_usage", views.usage, methods=["GET"])
