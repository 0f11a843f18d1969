"""The routes for operators: liveness, readiness, metrics, versions, and the OpenAPI document.

None of them uses Claude. All but the metrics need no key, because probes have none, and contain nothing secret.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Final, TypeAlias

from quart import Quart, Response, request
from quart_trio.wrappers import TrioResponse

from claude_openai._version import __version__
from claude_openai.config import Config
from claude_openai.logs.log import NULL_LOG, Log
from claude_openai.runs.registry import LOGIN_DOUBT_S, Runs
from claude_openai.web.control import has_control_routes
from claude_openai.web.json_response import json_response
from claude_openai.web.openapi import openapi_document

__all__ = ["OPEN_PATHS", "BackendStatus", "add_operator_routes"]

# Reachable without a key: they contain nothing secret.
OPEN_PATHS: Final = frozenset({"/health", "/ready", "/version", "/openapi.json"})

BackendStatus: TypeAlias = Callable[[], Mapping[str, Any]]

# `/ready` ignores a used-up plan after this time, for the reason of `LOGIN_DOUBT_S`: extra usage may be turned on.
PLAN_DOUBT_S: Final = 300.0

_MESSAGES: Final = {
    "draining": "The server is stopping: running turns may end, new requests are rejected. Use another server, or "
    "start this one again.",
    "no_cli": "Claude Code was not found. Run `npm install -g @anthropic-ai/claude-code` on the machine of this "
    "server, which needs no restart then, or start the server with --claude-command PATH.",
    "not_logged_in": "At the last turn Claude Code was not logged in, or Claude rejected its login. The error of that "
    "turn has the command that logs in; or start the server with ANTHROPIC_API_KEY. The next successful turn clears "
    f"this; without a turn the server reports ready again after {LOGIN_DOUBT_S / 60:g} minutes, as the login may have "
    "been renewed.",
    "login_missing": "Claude Code is not logged in. Run `claude auth login` as the user of this server, which needs no "
    "restart then, or start the server with ANTHROPIC_API_KEY.",
    "queue_full": "All slots and the queue are full. Wait, or start the server with a larger --max-concurrency or "
    "--max-queue-size.",
    "cli_too_old": "Claude Code is too old. Update it with `npm install -g @anthropic-ai/claude-code`, which needs no "
    "restart, or start the server without --claude-command.",
    "usage_limit": "A limit of the operator is reached (--max-cost-per-day or --stop-at-utilization). `claude-openai "
    "usage` shows which, and when it ends.",
    "plan_used_up": "Claude refused a turn because a window of the plan is used up. `claude-openai usage` shows when "
    f"it resets. Without a turn the server reports ready again after {PLAN_DOUBT_S / 60:g} minutes, as extra usage may "
    "have been turned on.",
}
_WARNINGS: Final = {
    "limit_high": "A window of the plan is used by 80 % or more. `claude-openai usage` shows it.",
    "log_not_written": "The log cannot be written: {}. Make room, or start the server with another --log-file.",
    "usage_not_saved": "The figures of usage cannot be saved, and are kept in memory: {}. Make room, or start the "
    "server with another --usage-file.",
}


def add_operator_routes(app: Quart, config: Config, runs: Runs, status: BackendStatus, log: Log = NULL_LOG) -> None:
    """Add the routes.

    Args:
        app: the app.
        config: the settings.
        runs: the runs of the server.
        status: returns further fields of `/health`.
        log: the log of the server.
    """
    views = OperatorViews(config, runs, status, _sdk_version(), log)
    app.add_url_rule("/health", "health", views.health, methods=["GET"])
    app.add_url_rule("/ready", "ready", views.ready, methods=["GET"])
    app.add_url_rule("/version", "version", views.version, methods=["GET"])
    app.add_url_rule("/metrics", "metrics", views.metrics, methods=["GET"])
    app.add_url_rule("/openapi.json", "openapi", views.openapi, methods=["GET"])


@cache
def _sdk_version() -> str:
    return metadata.version("claude-agent-sdk")


@dataclass(frozen=True, slots=True)
class OperatorViews:
    """The views."""

    config: Config
    runs: Runs
    status: BackendStatus
    # Read at the start: another version may be installed while the server runs.
    sdk_version: str
    log: Log

    async def health(self) -> Response:
        """Report liveness: the process responds; the state of Claude does not matter."""
        return _fresh({"status": "ok", **self.status()})

    async def ready(self) -> Response:
        """Report readiness: whether the server would accept a turn now, as far as it knows without using Claude."""
        reasons = [{"reason": reason, "message": _MESSAGES[reason]} for reason in self._reasons()]
        warnings = [{"reason": reason, "message": message} for reason, message in self._warnings()]
        return _fresh({"ready": not reasons, "reasons": reasons, "warnings": warnings}, 503 if reasons else 200)

    async def version(self) -> Response:
        return _fresh(
            {
                "name": "claude-openai",
                "version": __version__,
                "backend": self.runs.backend.name,
                "claude_agent_sdk": self.sdk_version,
                "python": platform.python_version(),
            }
        )

    async def metrics(self) -> Response:
        # Imported here, because listening does not need the library (see `preload`).
        from claude_openai.web.prometheus import exposition

        body, content_type = exposition(self.runs, request.headers.get("Accept", ""))
        return TrioResponse(body, headers={"content-type": content_type})

    async def openapi(self) -> Response:
        has_control = has_control_routes(self.config)
        return _fresh(openapi_document(has_key=self.config.api_key is not None, has_control=has_control))

    def _reasons(self) -> Iterator[str]:
        if self.runs.admission.draining:
            yield "draining"
        claude = self.status().get("claude", {})
        if not claude.get("found", True):
            yield "no_cli"
        if claude.get("too_old"):
            yield "cli_too_old"
        if claude.get("login") == "missing":
            yield "login_missing"
        elif self.runs.login_refused:
            yield "not_logged_in"
        if self.runs.admission.full:
            yield "queue_full"
        if self.runs.ledger.refusal() is not None:
            yield "usage_limit"
        elif self.runs.ledger.is_plan_used_up(PLAN_DOUBT_S):
            yield "plan_used_up"

    def _warnings(self) -> Iterator[tuple[str, str]]:
        """Yield what does not refuse turns. It contains no paths and no amounts: the route needs no key."""
        claude = self.status().get("claude", {})
        if claude.get("outdated") and not claude["too_old"]:
            yield "cli_outdated", f"{claude['outdated']}."
        ledger = self.runs.ledger
        found = {"limit_high": bool(ledger.header), "log_not_written": self.log.problem}
        found["usage_not_saved"] = ledger.problem
        for reason, detail in found.items():
            if detail:
                yield reason, _WARNINGS[reason].format(detail)


def _fresh(value: object, status: int = 200) -> Response:
    response = json_response(value, status)
    response.headers["cache-control"] = "no-store"
    return response
